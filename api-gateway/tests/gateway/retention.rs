//! What the ledger no longer keeps, at times of our own making.

use std::sync::Arc;
use std::time::Duration;

use api_gateway::ledger::retention::Retention;
use api_gateway::ledger::{Lease, Ledger, Mark, Projection, Removed, Row, Saved, Which, fold};
use events::{Event, Reason, Timestamp};
use saga::bus::JournalPosition;

use crate::databases::on_both_stores;
use crate::stories::{command, compensated, completed, rejected};

on_both_stores! {
    a_saga_is_removed_when_it_ended_longer_ago_than_it_is_kept_and_no_other
    many_are_removed_batch_by_batch_past_those_that_have_not_ended
    a_batch_looks_at_no_more_than_it_is_told_to
}

const KEEP: Duration = Duration::from_secs(1_000);

fn at(second: u64) -> Timestamp {
    Timestamp::EPOCH + Duration::from_secs(second)
}

/// A saga whose messages come one a second from `second` on.
fn saga(second: u64, begin: Event, rest: Vec<Event>) -> Row {
    let mut events = [vec![begin], rest].concat();
    for (place, event) in (0..).zip(&mut events) {
        event.time = at(second + place);
    }
    let folded = events
        .iter()
        .fold(None, |row, event| Some(fold(row, event)));
    folded.unwrap()
}

/// Ends two seconds later.
fn ended(second: u64) -> Row {
    let begin = command();
    let rest = completed(&begin);
    saga(second, begin, rest)
}

fn running(second: u64) -> Row {
    saga(second, command(), Vec::new())
}

async fn save(ledger: &Arc<dyn Ledger>, rows: &[Row]) {
    let to = Some(JournalPosition(0));
    let page = Projection {
        new: rows,
        known: &[],
        from: None,
        to,
        seen: to,
        lease: Lease {
            owner: "one",
            now: Timestamp::now(),
        },
    };
    assert_eq!(ledger.save(&page).await.unwrap(), Saved::Yes);
}

async fn left(ledger: &Arc<dyn Ledger>) -> Vec<Row> {
    let listed = ledger.list(Which::All, Mark::NEWEST, 100).await.unwrap();
    listed.rows
}

async fn a_saga_is_removed_when_it_ended_longer_ago_than_it_is_kept_and_no_other(
    ledger: &Arc<dyn Ledger>,
) {
    let (refused, undone) = (command(), command());
    let refusal = rejected(&refused, Reason::DEADLINE_EXCEEDED);
    let undo = compensated(&undone, Reason::ALREADY_REGISTERED);
    // In the order of their start, newest first. The third began early enough, but ended later.
    let rows = [
        ended(150),
        running(100),
        ended(99),
        ended(90),
        saga(10, refused, refusal),
        saga(5, undone, undo),
        running(1),
    ];
    save(ledger, &rows).await;
    let retention = Retention::new(ledger, KEEP);
    assert_eq!(retention.sweep(at(1_006)).await.unwrap(), 0);
    assert_eq!(retention.sweep(at(1_101)).await.unwrap(), 3);
    let kept = [&rows[..3], &rows[6..]].concat();
    assert_eq!(left(ledger).await, kept);
    assert_eq!(retention.sweep(at(1_101)).await.unwrap(), 0);
}

async fn many_are_removed_batch_by_batch_past_those_that_have_not_ended(ledger: &Arc<dyn Ledger>) {
    let rows: Vec<Row> = (0..2_500).map(|_| ended(100)).collect();
    let stuck: Vec<Row> = (0..50).map(running).collect();
    save(ledger, &[rows, stuck].concat()).await;
    let retention = Retention::new(ledger, KEEP);
    assert_eq!(retention.sweep(at(2_000)).await.unwrap(), 2_500);
    assert_eq!(left(ledger).await.len(), 50);
}

async fn a_batch_looks_at_no_more_than_it_is_told_to(ledger: &Arc<dyn Ledger>) {
    let rows = [running(1), ended(2), ended(3), ended(4)];
    save(ledger, &rows).await;
    let remove = async |after| ledger.remove_ended(at(1_000), after, 2).await.unwrap();
    let removed = |count, row: Option<&Row>| Removed {
        count,
        reached: row.map(Mark::of),
    };
    assert_eq!(remove(Mark::OLDEST).await, removed(1, Some(&rows[1])));
    let next = remove(Mark::of(&rows[1])).await;
    assert_eq!(next, removed(2, Some(&rows[3])));
    assert_eq!(remove(Mark::of(&rows[3])).await, removed(0, None));
}
