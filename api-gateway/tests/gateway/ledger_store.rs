//! What both stores of the ledger must do. Each claim runs on each.

mod leases;
mod pages;

use std::sync::Arc;

use api_gateway::ledger::desk::{Desk, Hold};
use api_gateway::ledger::{Claim, Lease, Ledger, Mark, Projection, Row, Saved, Which, fold};
use events::choreography::Outcome;
use events::{Event, EventId, Reason, SagaId, TicketId, Timestamp, UserId};
use saga::bus::JournalPosition;

use self::leases::{
    a_lease_that_is_given_back_is_free_at_once,
    one_owner_projects_and_another_follows_after_the_lease,
};
use self::pages::{
    a_crash_after_any_page_loses_and_doubles_nothing,
    a_new_row_that_is_there_by_now_is_written_over, a_page_without_events_moves_the_cursor,
    an_end_is_counted_in_the_page_that_brings_it_and_not_again,
    pages_in_any_cut_and_with_repetitions_give_the_same_rows, step,
};
use crate::databases::{OnPostgres, OnSqlite, on_both_stores};
use crate::stories::{command, compensated, completed, rejected, whole};

on_both_stores! {
    a_row_is_found_as_it_was_saved
    what_text_cannot_hold_does_not_stop_the_ledger
    a_row_is_replaced_by_what_follows
    an_unknown_saga_is_not_found
    nothing_is_written_when_the_cursor_is_elsewhere
    a_page_that_is_written_again_changes_nothing
    a_page_without_events_moves_the_cursor
    one_owner_projects_and_another_follows_after_the_lease
    a_lease_that_is_given_back_is_free_at_once
    pages_in_any_cut_and_with_repetitions_give_the_same_rows
    an_end_is_counted_in_the_page_that_brings_it_and_not_again
    a_crash_after_any_page_loses_and_doubles_nothing
    a_new_row_that_is_there_by_now_is_written_over
    a_large_page_is_written_whole
    sagas_are_listed_newest_first_from_a_mark_on
    unfinished_sagas_come_oldest_first_with_the_command_that_nobody_answered
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

fn lease(owner: &str, second: i64) -> Lease<'_> {
    Lease {
        owner,
        now: at(second),
    }
}

fn row(events: &[Event]) -> Row {
    let folded = events
        .iter()
        .fold(None, |row, event| Some(fold(row, event)));
    folded.expect("there are events")
}

/// Saves as the first owner there is.
async fn save(ledger: &Arc<dyn Ledger>, rows: &[Row], from: Option<i64>, to: i64) -> Saved {
    let page = Projection {
        new: rows,
        known: &[],
        from: from.map(JournalPosition),
        to: Some(JournalPosition(to)),
        seen: Some(JournalPosition(to)),
        lease: lease("one", 1),
    };
    ledger.save(&page).await.unwrap()
}

async fn cursor(ledger: &Arc<dyn Ledger>) -> Claim {
    ledger.claim(&lease("one", 1)).await.unwrap()
}

fn held(position: i64) -> Claim {
    Claim::Held {
        cursor: Some(JournalPosition(position)),
    }
}

async fn a_row_is_found_as_it_was_saved(ledger: &Arc<dyn Ledger>) {
    let mut extreme = command();
    if let events::Message::PurchaseAndRegister(data) = &mut extreme.message {
        data.user_id = UserId(u64::MAX);
        data.ticket_id = TicketId(1 << 63);
    }
    extreme.causation_id = Some(EventId(SagaId::mint().0));
    extreme.source = "一个\"陌生\"来源".into();
    let ended = command();
    let rows = [
        row(&[extreme]),
        row(&[vec![ended.clone()], completed(&ended)].concat()),
    ];
    assert_eq!(save(ledger, &rows, None, 0).await, Saved::Yes);
    for row in rows {
        let found = ledger.find(row.saga_id).await.unwrap().unwrap();
        assert_eq!(found, row);
    }
}

async fn sagas_are_listed_newest_first_from_a_mark_on(ledger: &Arc<dyn Ledger>) {
    let rows: Vec<Row> = (1..=6)
        .map(|second| {
            let mut begun = command();
            begun.time = at(second);
            if let events::Message::PurchaseAndRegister(data) = &mut begun.message {
                data.user_id = UserId(u64::MAX - u64::try_from(second % 2).unwrap());
            }
            let rest = if second > 4 {
                Vec::new()
            } else {
                completed(&begun)
            };
            row(&[vec![begun], rest].concat())
        })
        .collect();
    assert_eq!(save(ledger, &rows, None, 0).await, Saved::Yes);
    let list = async |which, before, limit| {
        let listed = ledger.list(which, before, limit).await.unwrap();
        let seconds = listed
            .rows
            .iter()
            .map(|row| row.started_at().unwrap().as_micros() / 1_000_000);
        seconds.collect::<Vec<_>>()
    };
    let third = Mark::of(&rows[2]);
    assert_eq!(list(Which::All, Mark::NEWEST, 4).await, [6, 5, 4, 3]);
    assert_eq!(list(Which::All, third, 4).await, [2, 1]);
    assert_eq!(list(Which::Unfinished, Mark::NEWEST, 4).await, [6, 5]);
    let user = Which::OfUser(UserId(u64::MAX - 1));
    assert_eq!(list(user, Mark::NEWEST, 2).await, [5, 3]);
    assert_eq!(list(user, third, 2).await, [1]);
}

async fn what_text_cannot_hold_does_not_stop_the_ledger(ledger: &Arc<dyn Ledger>) {
    let mut start = command();
    start.source = "a\0b".into();
    let reason = Reason::from("no\0reason".to_owned());
    let row = row(&[vec![start.clone()], rejected(&start, reason)].concat());
    assert_eq!(
        save(ledger, std::slice::from_ref(&row), None, 0).await,
        Saved::Yes
    );
    let found = ledger.find(row.saga_id).await.unwrap().unwrap();
    assert_eq!(found.timeline, row.timeline);
    assert_eq!(found.reason.unwrap().as_str(), "no\u{fffd}reason");
}

async fn a_row_is_replaced_by_what_follows(ledger: &Arc<dyn Ledger>) {
    let start = command();
    let running = row(std::slice::from_ref(&start));
    save(ledger, std::slice::from_ref(&running), None, 0).await;
    let story = [
        vec![start.clone()],
        compensated(&start, Reason::ALREADY_REGISTERED),
    ]
    .concat();
    let ended = row(&story);
    save(ledger, std::slice::from_ref(&ended), Some(0), 4).await;
    let found = ledger.find(start.saga_id).await.unwrap().unwrap();
    assert_eq!(found, ended);
    assert_eq!(cursor(ledger).await, held(4));
}

async fn an_unknown_saga_is_not_found(ledger: &Arc<dyn Ledger>) {
    assert!(ledger.find(SagaId::mint()).await.unwrap().is_none());
    assert!(ledger.load(&[]).await.unwrap().is_empty());
    assert!(ledger.load(&[SagaId::mint()]).await.unwrap().is_empty());
}

async fn nothing_is_written_when_the_cursor_is_elsewhere(ledger: &Arc<dyn Ledger>) {
    save(ledger, &[], None, 7).await;
    let row = row(&whole());
    for elsewhere in [None, Some(6), Some(8)] {
        let rows = std::slice::from_ref(&row);
        assert_eq!(save(ledger, rows, elsewhere, 9).await, Saved::NotOurs);
    }
    assert!(ledger.find(row.saga_id).await.unwrap().is_none());
    assert_eq!(cursor(ledger).await, held(7));
}

async fn a_page_that_is_written_again_changes_nothing(ledger: &Arc<dyn Ledger>) {
    let row = row(&whole());
    let rows = std::slice::from_ref(&row);
    assert_eq!(save(ledger, rows, None, 3).await, Saved::Yes);
    assert_eq!(save(ledger, rows, None, 3).await, Saved::NotOurs);
    assert_eq!(cursor(ledger).await, held(3));
}

async fn a_large_page_is_written_whole(ledger: &Arc<dyn Ledger>) {
    let rows: Vec<Row> = (0..3_000).map(|_| row(&whole())).collect();
    assert_eq!(save(ledger, &rows, None, 12_000).await, Saved::Yes);
    let ids: Vec<SagaId> = rows.iter().map(|row| row.saga_id).collect();
    let mut found: Vec<Row> = Vec::new();
    for loaded in ledger.load(&ids).await.unwrap() {
        found.push(loaded.unwrap());
    }
    found.sort_by_key(|row| row.saga_id);
    let mut rows = rows;
    rows.sort_by_key(|row| row.saga_id);
    assert_eq!(found, rows);
}

const SHOWN: &str =
    "SELECT status || ' ' || coalesce(waits_for, '-') || ' ' || coalesce(reason, '-')
    FROM saga ORDER BY status";

fn three_sagas() -> Vec<Row> {
    let (running, refused) = (command(), command());
    vec![
        row(&[running]),
        row(&[
            vec![refused.clone()],
            rejected(&refused, Reason::DEADLINE_EXCEEDED),
        ]
        .concat()),
        row(&whole()),
    ]
}

fn as_shown() -> Vec<Option<String>> {
    let shown = [
        "completed - -",
        "rejected - deadline_exceeded",
        "running ticket-worker.PurchaseAndRegister -",
    ];
    shown.map(|text| Some(text.to_owned())).to_vec()
}

const RUIN: &str = "UPDATE saga SET timeline = 'ruined'";

/// One ruined row must not stop all others.
async fn ruined_row_is_left_alone(ledger: &Arc<dyn Ledger>, start: &Event) {
    let other = whole();
    let events = [completed(start), other.clone()].concat();
    let mut desk = Desk::at(Some(JournalPosition(0)));
    let done = step(ledger, &mut desk, &events, 1, Hold::Nothing).await;
    assert_eq!(done, [Outcome::Completed]);
    assert!(ledger.find(start.saga_id).await.is_err());
    assert!(ledger.find(other[0].saga_id).await.unwrap().is_some());
}

#[tokio::test]
async fn an_operator_sees_in_sql_where_a_saga_stands() {
    let (sqlite, postgres) = (OnSqlite::new().await, OnPostgres::new().await);
    let rows = three_sagas();
    save(&sqlite.ledger(), &rows, None, 0).await;
    save(&postgres.ledger(), &rows, None, 0).await;
    assert_eq!(sqlite.texts(SHOWN).await, as_shown());
    assert_eq!(postgres.texts(SHOWN).await, as_shown());
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_left_alone_and_stops_no_other() {
    let (sqlite, postgres) = (OnSqlite::new().await, OnPostgres::new().await);
    let start = command();
    for ledger in [sqlite.ledger(), postgres.ledger()] {
        save(&ledger, &[row(std::slice::from_ref(&start))], None, 0).await;
    }
    sqlite.execute(RUIN).await;
    postgres.execute(RUIN).await;
    ruined_row_is_left_alone(&sqlite.ledger(), &start).await;
    ruined_row_is_left_alone(&postgres.ledger(), &start).await;
}

async fn unfinished_sagas_come_oldest_first_with_the_command_that_nobody_answered(
    ledger: &Arc<dyn Ledger>,
) {
    let begun = |second| {
        let mut command = command();
        command.time = at(second);
        command
    };
    let (first, second, late) = (begun(10), begun(20), begun(31));
    let purchased = whole()[1].clone();
    let answered = Event {
        saga_id: second.saga_id,
        ..purchased
    };
    let rows = [
        row(&whole()),
        row(std::slice::from_ref(&first)),
        row(&[second, answered]),
        row(&[late]),
    ];
    save(ledger, &rows, None, 1).await;

    let found = ledger.unfinished(Mark::OLDEST, at(31), 10).await.unwrap();
    let unanswered: Vec<_> = found
        .rows
        .iter()
        .map(|row| row.unanswered.clone())
        .collect();
    assert_eq!(unanswered, [Some(Box::new(first)), None]);
    let after = Mark::of(&found.rows[0]);
    let rest = ledger.unfinished(after, at(31), 10).await.unwrap();
    assert_eq!(rest.rows, found.rows[1..]);
    assert_eq!(
        ledger
            .unfinished(Mark::OLDEST, at(31), 1)
            .await
            .unwrap()
            .rows,
        found.rows[..1]
    );
}
