//! How fast the ledger projects into PostgreSQL. Run by hand, with optimisation:
//! `cargo test --release -p api-gateway -- --ignored --nocapture projection_rate`.

use std::time::{Duration, Instant};

use api_gateway::ledger::projector::project;
use api_gateway::ledger::{Claim, Lease};
use events::{Event, Reason, Timestamp};
use saga::bus::JournalPosition;

use crate::databases::OnPostgres;
use crate::stories::{command, compensated};

const SAGAS: usize = 40_000;
/// Sagas that run at the same moment, so that their messages are interleaved.
const IN_FLIGHT: usize = 2_000;

/// The journal of a busy system: each saga's four messages, a flight apart.
fn journal() -> Vec<Event> {
    let mut journal = Vec::with_capacity(SAGAS * 4);
    let flights = (0..SAGAS / IN_FLIGHT).map(|_| {
        let begin = (0..IN_FLIGHT).map(|_| {
            let command = command();
            let rest = compensated(&command, Reason::ALREADY_REGISTERED);
            [vec![command], rest].concat()
        });
        begin.collect::<Vec<_>>()
    });
    for flight in flights {
        // Four steps, each step of the whole flight before the next.
        (0..4).for_each(|step| journal.extend(flight.iter().map(|saga| saga[step].clone())));
    }
    journal
}

#[tokio::test]
#[ignore = "a measurement, not a claim"]
async fn projection_rate() {
    let journal = journal();
    for page in [1_000, 4_000, 8_192, 16_384] {
        let database = OnPostgres::new().await;
        let ledger = database.ledger();
        let lease = || Lease {
            owner: "one",
            now: Timestamp::now(),
        };
        let claim = ledger.claim(&lease()).await.unwrap();
        assert_eq!(claim, Claim::Held { cursor: None });
        let (start, mut from) = (Instant::now(), None);
        for events in journal.chunks(page) {
            let to = JournalPosition(from.map_or(0, |JournalPosition(at)| at + 1));
            project(ledger.as_ref(), events, from, to, lease())
                .await
                .unwrap();
            from = Some(to);
        }
        let took = start.elapsed();
        let rate = journal.len() as f64 / took.as_secs_f64();
        println!(
            "pages of {page}: {rate:.0} events/s, {:.1} µs/saga",
            micros_each(took)
        );
    }
}

fn micros_each(took: Duration) -> f64 {
    took.as_secs_f64() * 1e6 / SAGAS as f64
}
