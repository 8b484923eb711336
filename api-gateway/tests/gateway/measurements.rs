//! How fast the ledger projects into PostgreSQL, and what a request costs in the gateway alone. Run
//! by hand, with optimisation:
//! `cargo test --release -p api-gateway --test gateway -- --ignored --nocapture measurements`.

use std::time::{Duration, Instant};

use api_gateway::ledger::desk::{Desk, Hold, Known};
use api_gateway::ledger::{Claim, Lease, Saved};
use events::{Event, Reason, Timestamp};
use saga::bus::JournalPosition;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::databases::{OnPostgres, cpu_of};
use crate::fake_bus::FakeBus;
use crate::running::{GOOD, Running};
use crate::stories::{command, compensated, completed};

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
        let (start, mut desk) = (Instant::now(), Desk::at(None));
        let cpu = (own_cpu(), database.cpu().await);
        for (to, events) in (0..).zip(journal.chunks(page)) {
            let known = Known::of(ledger.load(&desk.wants(events)).await.unwrap());
            desk.fold(events, known, JournalPosition(to), Hold::Young)
                .await;
            let saved = ledger.save(&desk.projection(lease())).await;
            assert_eq!(saved.unwrap(), Saved::Yes);
            desk.saved();
        }
        let took = start.elapsed();
        let rate = journal.len() as f64 / took.as_secs_f64();
        println!(
            "pages of {page}: {rate:.0} events/s, {:.1} µs/saga; CPU {:.1} µs here, {:.1} µs PostgreSQL",
            micros_each(took, SAGAS),
            micros_each(own_cpu() - cpu.0, SAGAS),
            micros_each(database.cpu().await - cpu.1, SAGAS),
        );
    }
}

/// One caller on one connection, and workers that answer at once.
#[tokio::test]
#[ignore = "a measurement, not a claim"]
async fn request_cost() {
    const REQUESTS: usize = 20_000;
    let gateway = Running::with(FakeBus::new(completed)).await;
    let address = gateway.url.trim_start_matches("http://");
    let mut connection = TcpStream::connect(address).await.unwrap();
    let length = GOOD.len();
    let request =
        format!("POST /regist/trans HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{GOOD}");
    let (start, cpu) = (Instant::now(), own_cpu());
    let mut answer = [0; 4096];
    for _ in 0..REQUESTS {
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut read = 0;
        while !answer[..read].ends_with(b"}}") {
            read += connection.read(&mut answer[read..]).await.unwrap();
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
    println!(
        "a request: {:.1} µs, CPU {:.1} µs with its caller",
        micros_each(start.elapsed(), REQUESTS),
        micros_each(own_cpu() - cpu, REQUESTS),
    );
}

fn micros_each(took: Duration, count: usize) -> f64 {
    took.as_secs_f64() * 1e6 / count as f64
}

fn own_cpu() -> Duration {
    cpu_of(std::process::id())
}
