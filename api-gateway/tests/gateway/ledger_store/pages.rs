//! The journal page by page: cut anywhere, told twice, with a crash in between.

use std::sync::Arc;

use api_gateway::ledger::desk::{Desk, Hold, Known};
use api_gateway::ledger::{Claim, Ledger, Saved};
use events::choreography::Outcome;
use events::{Event, Reason};
use saga::bus::JournalPosition;

use super::{cursor, held, lease, row, save};
use crate::stories::{command, compensated, completed, whole};

/// One step of the projector, as its first owner.
pub(super) async fn step(
    ledger: &Arc<dyn Ledger>,
    desk: &mut Desk,
    events: &[Event],
    to: i64,
    hold: Hold,
) -> Vec<Outcome> {
    let loaded = ledger.load(&desk.wants(events)).await.unwrap();
    desk.fold(events, Known::of(loaded), JournalPosition(to), hold)
        .await;
    let saved = ledger.save(&desk.projection(lease("one", 1))).await;
    assert_eq!(saved.unwrap(), Saved::Yes);
    desk.saved()
}

pub(super) async fn a_page_without_events_moves_the_cursor(ledger: &Arc<dyn Ledger>) {
    let ended = step(ledger, &mut Desk::at(None), &[], 5, Hold::Nothing).await;
    assert_eq!(ended, []);
    assert_eq!(cursor(ledger).await, held(5));
}

/// Every message of five sagas twice, each saga's last message first.
fn backwards_and_twice() -> (Vec<Event>, Vec<Event>) {
    let starts: Vec<Event> = (0..5).map(|_| command()).collect();
    let mut events: Vec<Event> = starts[..4].iter().flat_map(completed).collect();
    events.extend(compensated(&starts[4], Reason::ALREADY_REGISTERED));
    events.extend(starts.iter().cloned());
    events.reverse();
    let twice = [events.clone(), events].concat();
    (starts, twice)
}

async fn are_as_told(ledger: &Arc<dyn Ledger>, starts: &[Event], events: &[Event]) {
    for start in starts {
        let of_saga = |event: &&Event| event.saga_id == start.saga_id;
        let expected: Vec<Event> = events.iter().filter(of_saga).cloned().collect();
        let found = ledger.find(start.saga_id).await.unwrap();
        assert_eq!(found, Some(row(&expected)));
    }
}

pub(super) async fn pages_in_any_cut_and_with_repetitions_give_the_same_rows(
    ledger: &Arc<dyn Ledger>,
) {
    let (starts, events) = backwards_and_twice();
    let mut desk = Desk::at(None);
    for (to, page) in (0..).zip(events.chunks(3)) {
        step(ledger, &mut desk, page, to, Hold::Nothing).await;
    }
    are_as_told(ledger, &starts, &events).await;
}

/// What is held in memory is lost with each crash, and read again from where the cursor is.
pub(super) async fn a_crash_after_any_page_loses_and_doubles_nothing(ledger: &Arc<dyn Ledger>) {
    let (starts, events) = backwards_and_twice();
    let pages: Vec<&[Event]> = events.chunks(3).collect();
    let mut counted = Vec::new();
    for crash_after in 0..pages.len() {
        let Claim::Held { cursor: from } = cursor(ledger).await else {
            panic!("the lease is ours")
        };
        let mut desk = Desk::at(from);
        let first = from.map_or(0, |JournalPosition(at)| usize::try_from(at).unwrap() + 1);
        for (to, page) in pages.iter().enumerate().take(crash_after + 1).skip(first) {
            let to = i64::try_from(to).unwrap();
            counted.extend(step(ledger, &mut desk, page, to, Hold::Young).await);
        }
    }
    are_as_told(ledger, &starts, &events).await;
    counted.sort_by_key(|outcome| *outcome != Outcome::Completed);
    let expected = [[Outcome::Completed; 4].as_slice(), &[Outcome::Compensated]].concat();
    assert_eq!(counted, expected);
}

pub(super) async fn an_end_is_counted_in_the_page_that_brings_it_and_not_again(
    ledger: &Arc<dyn Ledger>,
) {
    let (events, mut desk) = ([whole(), whole()].concat(), Desk::at(None));
    let first = step(ledger, &mut desk, &events, 1, Hold::Nothing).await;
    assert_eq!(first, [Outcome::Completed; 2]);
    let again = step(ledger, &mut desk, &events, 2, Hold::Nothing).await;
    assert_eq!(again, []);
}

/// Its writing was given up when no answer came, and was carried out all the same.
pub(super) async fn a_new_row_that_is_there_by_now_is_written_over(ledger: &Arc<dyn Ledger>) {
    let (begun, to) = (command(), JournalPosition(1));
    let events = [vec![begun.clone()], completed(&begun)].concat();
    let mut desk = Desk::at(Some(JournalPosition(0)));
    desk.fold(&events, Known::default(), to, Hold::Nothing)
        .await;
    assert_eq!(save(ledger, &[row(&[begun])], None, 0).await, Saved::Yes);
    let saved = ledger.save(&desk.projection(lease("one", 1))).await;
    assert_eq!(saved.unwrap(), Saved::Yes);
    assert_eq!(cursor(ledger).await, held(1));
    let found = ledger.find(events[0].saga_id).await.unwrap();
    assert_eq!(found, Some(row(&events)));
}
