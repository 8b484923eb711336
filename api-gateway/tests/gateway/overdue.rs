//! Sagas that wait longer at a step than the table allows, at times of our own making.

use std::sync::Arc;
use std::time::Duration;

use api_gateway::ledger::overdue::OverdueWatch;
use api_gateway::ledger::{AtStep, Lease, Ledger, Projection, Row, Saved, fold};
use events::choreography::{PURCHASE_AND_REGISTER, Step, steps};
use events::{Event, Timestamp};
use saga::bus::JournalPosition;
use serde_json::Value;

use crate::databases::on_both_stores;
use crate::fake_bus::FakeBus;
use crate::running::Running;
use crate::stories::{command, completed};

on_both_stores! {
    a_saga_is_counted_at_the_step_it_waits_for_and_overdue_after_its_limit
    a_saga_that_goes_on_waits_elsewhere_and_one_that_ended_nowhere
    with_no_saga_nothing_waits
}

const PURCHASE: &Step = &PURCHASE_AND_REGISTER.steps[0];
const REGISTRATION: &Step = &PURCHASE_AND_REGISTER.steps[1];

fn at(second: u64) -> Timestamp {
    Timestamp::EPOCH + Duration::from_secs(second)
}

/// The first messages of a saga, one a second from `second` on.
fn begun(second: u64, messages: usize) -> Vec<Event> {
    let first = command();
    let rest = completed(&first);
    let mut events = [vec![first], rest].concat();
    events.truncate(messages);
    for (place, event) in (0..).zip(&mut events) {
        event.time = at(second + place);
    }
    events
}

async fn save(ledger: &Arc<dyn Ledger>, sagas: &[Vec<Event>], from: Option<i64>) {
    let row = |events: &Vec<Event>| {
        let folded = events
            .iter()
            .fold(None, |row, event| Some(fold(row, event)));
        folded.unwrap()
    };
    let rows: Vec<Row> = sagas.iter().map(row).collect();
    let to = Some(JournalPosition(from.map_or(0, |at| at + 1)));
    let page = Projection {
        new: &rows,
        known: &[],
        from: from.map(JournalPosition),
        to,
        seen: to,
        lease: Lease {
            owner: "one",
            now: Timestamp::now(),
        },
    };
    assert_eq!(ledger.save(&page).await.unwrap(), Saved::Yes);
}

/// How many wait and are overdue at a step.
async fn seen(watch: &mut OverdueWatch, step: &Step, now: Timestamp) -> AtStep {
    let seen = watch.look(now).await.unwrap();
    let place = steps().position(|known| known.queue() == step.queue());
    seen[place.unwrap()]
}

async fn a_saga_is_counted_at_the_step_it_waits_for_and_overdue_after_its_limit(
    ledger: &Arc<dyn Ledger>,
) {
    // Two wait for the registration since second 101 and 104, one for the purchase since 100.
    save(ledger, &[begun(100, 2), begun(103, 2), begun(100, 1)], None).await;
    let mut watch = OverdueWatch::new(ledger);
    for (now, overdue) in [(101, 0), (106, 0), (107, 1), (109, 1), (110, 2)] {
        let seen = seen(&mut watch, REGISTRATION, at(now)).await;
        let oldest = Some(at(101));
        let expected = AtStep {
            waiting: 2,
            overdue,
            oldest,
        };
        assert_eq!(seen, expected, "at second {now}");
    }
    assert_eq!(seen(&mut watch, PURCHASE, at(106)).await.overdue, 1);
}

async fn a_saga_that_goes_on_waits_elsewhere_and_one_that_ended_nowhere(ledger: &Arc<dyn Ledger>) {
    let story = begun(100, 3);
    let mut watch = OverdueWatch::new(ledger);
    let mut at_steps = Vec::new();
    for (from, messages) in [None, Some(0), Some(1)].into_iter().zip(1..) {
        save(ledger, &[story[..messages].to_vec()], from).await;
        let purchase = seen(&mut watch, PURCHASE, at(200)).await.overdue;
        let registration = seen(&mut watch, REGISTRATION, at(200)).await.overdue;
        at_steps.push((purchase, registration));
    }
    assert_eq!(at_steps, [(1, 0), (0, 1), (0, 0)]);
}

async fn with_no_saga_nothing_waits(ledger: &Arc<dyn Ledger>) {
    let seen = OverdueWatch::new(ledger).look(at(100)).await.unwrap();
    assert_eq!(seen, vec![AtStep::default(); steps().count()]);
}

#[tokio::test]
async fn overdue_sagas_are_listed_and_shown_with_the_step_they_wait_for() {
    let gateway = Running::with(FakeBus::without_workers()).await;
    let (old, young) = (begun(100, 2), command());
    gateway.bus.record(&old);
    gateway.bus.record([&young]);
    gateway.projected(2).await;
    let list: Value = gateway
        .get("/sagas?status=overdue")
        .await
        .json()
        .await
        .unwrap();
    let list = list["data"]["list"].as_array().unwrap();
    let [saga] = list.as_slice() else {
        panic!("{list:?}")
    };
    assert_eq!(saga["sagaId"], old[0].saga_id.to_string());
    assert_eq!(saga["status"], "running");
    let waiting = serde_json::json!({
        "service": "regist-worker",
        "message": "TicketPurchased",
        "since": at(101),
        "overdue": true,
    });
    assert_eq!(saga["waitingFor"], waiting);
    let found: Value = (gateway.get(&format!("/sagas/{}", old[0].saga_id)).await)
        .json()
        .await
        .unwrap();
    assert_eq!(found["data"]["waitingFor"], waiting);
}
