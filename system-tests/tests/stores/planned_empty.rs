//! PostgreSQL plans a statement once, and a service plans all of its own on empty tables. What it
//! looks up for one event afterwards must not grow with what the tables hold by then.

use std::time::Duration;

use events::{CancelRegistration, Event, SagaId};
use saga::Tasks;
use saga::database::{Database, SchemaChange};
use saga::participant::Participant;
use system_tests::fresh_database::FreshDatabase;

use crate::{Case, event, regist_worker, ticket_worker};

/// So many rows that reading all of them for one event would show.
const ROWS: u64 = 2_000;
const UNDONE: usize = 50;
/// Rows and index entries read for one event: a few lookups.
const FEW: i64 = 20;

const READ: &str = "
    SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables)::bigint
         + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)::bigint";
/// A session reports what it read when it ends.
const SESSIONS: &str = "
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

async fn prepared(fresh: &FreshDatabase, schema: &[SchemaChange]) -> Database {
    let database = Database::open(fresh.url(), "stores-test").unwrap();
    let tasks = Tasks::new();
    let prepared = database.prepare("stores-test", schema, &tasks).await;
    prepared.unwrap();
    database
}

/// What the sessions that have ended by then read.
async fn tuples_read(fresh: &FreshDatabase) -> i64 {
    let mut watcher = sqlx::PgPool::connect(fresh.url())
        .await
        .unwrap()
        .acquire()
        .await
        .unwrap();
    while sqlx::query_scalar::<_, i64>(SESSIONS)
        .fetch_one(&mut *watcher)
        .await
        .unwrap()
        > 0
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let read = sqlx::query_scalar(READ).fetch_one(&mut *watcher).await;
    read.unwrap()
}

/// Plans with the first of them, fills the table with the rest, and undoes one after the other.
async fn read_per_undo(
    schema: &[SchemaChange],
    worker: impl AsyncFn(&Database, &[Event]) -> Vec<Event>,
    step: fn(Case) -> Event,
    undo: fn(Case, &Event) -> Event,
) -> i64 {
    let fresh = FreshDatabase::postgres().await;
    let database = prepared(&fresh, schema).await;
    let planning = Case::of(0);
    let reply = worker(&database, &[step(planning)]).await;
    worker(&database, &[undo(planning, &reply[0])]).await;

    let cases: Vec<Case> = (1..=ROWS).map(Case::of).collect();
    let steps: Vec<Event> = cases.iter().map(|case| step(*case)).collect();
    let replies = worker(&database, &steps).await;
    let undos = cases.iter().zip(&replies).take(UNDONE);
    for (case, reply) in undos {
        worker(&database, &[undo(*case, reply)]).await;
    }
    database.close().await;
    tuples_read(&fresh).await / i64::try_from(ROWS + UNDONE as u64).unwrap()
}

#[tokio::test]
async fn a_ticket_is_deleted_by_a_lookup_however_many_there_are() {
    let read = read_per_undo(
        &ticket_worker::SCHEMA,
        async |database, batch| ticket_worker(database).react(batch).await.unwrap(),
        Case::purchase,
        |case, _| case.failed(),
    );
    let read = read.await;
    assert!(read <= FEW, "{read} rows for one event");
}

#[tokio::test]
async fn a_registration_is_cancelled_by_a_lookup_however_many_there_are() {
    let read = read_per_undo(
        &regist_worker::SCHEMA,
        async |database, batch| regist_worker(database).react(batch).await.unwrap(),
        Case::purchased,
        |_, registered| {
            let regist_id = registered.message.particulars().regist_id;
            let cancel = CancelRegistration {
                regist_id,
                user_id: None,
                user_ticket_id: None,
            };
            event(SagaId::mint(), cancel)
        },
    );
    let read = read.await;
    assert!(read <= FEW, "{read} rows for one event");
}
