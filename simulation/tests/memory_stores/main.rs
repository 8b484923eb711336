//! What is simulated in memory holds in a database only if both mean the same. So batches at random
//! go to the store in memory and to the one in SQLite, and both must say and keep the same. (That
//! SQLite and PostgreSQL mean the same is the claim of `system-tests/tests/stores`.)
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod dice;

use events::{Event, MessageType};
use regist_worker::decide::{Regist, RegistDecider};
use saga::Tasks;
use saga::database::{Database, SchemaChange};
use saga::decision::{Changes, Decider, Moment, decide_batch};
use saga::failure::Failure;
use saga::store::Store;
use ticket_worker::decide::TicketDecider;

use crate::dice::{
    CHANGES, Dice, Draw, add, cancel, cancel_one, cancelled, change_registration, change_ticket,
    closed, held, moved, not_registered, purchase, purchased, refused, register, remove,
    remove_one,
};

/// Few enough that batches meet each other's rows.
const SAGAS: u128 = 500;
const BATCHES: usize = 1_500;
/// So many batches are decided and not committed yet, as by so many replicas.
const REPLICAS: usize = 6;

async fn database(schema: &[SchemaChange], folder: &tempfile::TempDir) -> Database {
    let file = folder.path().join("store.db");
    let database = Database::open(&format!("sqlite:{}", file.display()), "test").unwrap();
    database
        .prepare("test", schema, &Tasks::new())
        .await
        .unwrap();
    database
}

/// What the store knows of a batch, as changes to commit now or later.
async fn decided<D: Decider>(
    decider: &D,
    store: &dyn Store<D>,
    events: &[Event],
    moments: &[Moment],
) -> Result<(Changes<D::Effect>, Vec<Event>), Failure> {
    let snapshot = store.load(events).await.unwrap();
    let mut moments = moments.iter();
    decide_batch(decider, snapshot, events, || *moments.next().unwrap())
}

fn kind(result: &Result<(), Failure>) -> &'static str {
    match result {
        Ok(()) => "committed",
        Err(Failure::Conflict) => "conflict",
        Err(Failure::Handling(_)) => "failed",
        Err(Failure::Unavailable(_)) => "away",
    }
}

/// Both stores decide every batch alike; each is committed at once, or later, when others were.
async fn both_mean_the_same<D: Decider>(
    decider: D,
    stores: [&dyn Store<D>; 2],
    (mut dice, messages): (Dice, &[Draw]),
) where
    D::Effect: std::fmt::Debug,
{
    let (mut held_up, mut seen) = (Vec::new(), [0, 0, 0]);
    for number in 0..BATCHES {
        let message = messages[dice.below(messages.len() as u128) as usize];
        let events = dice.batch(message);
        let moments: Vec<_> = events.iter().map(|_| dice.moment()).collect();
        let one = decided(&decider, stores[0], &events, &moments)
            .await
            .unwrap();
        let two = decided(&decider, stores[1], &events, &moments)
            .await
            .unwrap();
        assert_eq!(format!("{one:?}"), format!("{two:?}"), "batch {number}");
        dice.learn(&one.1);
        held_up.push(one.0);
        if held_up.len() == REPLICAS {
            let changes = held_up.swap_remove(dice.below(REPLICAS as u128) as usize);
            let results = [
                stores[0].commit(&changes).await,
                stores[1].commit(&changes).await,
            ];
            let [one, two] = results.each_ref().map(kind);
            assert_eq!(one, two, "{results:?} to {changes:?}");
            seen[["committed", "conflict", "failed"]
                .iter()
                .position(|k| *k == one)
                .unwrap()] += 1;
        }
    }
    println!("{seen:?} batches were committed, in conflict, failed");
    assert!(seen[0] > 10 && seen[1] > 10, "{seen:?}");
}

#[tokio::test]
async fn tickets_in_memory_are_kept_as_in_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&ticket_worker::SCHEMA, &folder).await;
    let memory = ticket_worker::memory::MemoryStore::default();
    let sql = ticket_worker::store(&database);
    both_mean_the_same(
        TicketDecider,
        [&memory, &*sql],
        (
            Dice::new(SAGAS),
            &[
                purchase,
                refused,
                add,
                change_ticket,
                register,
                not_registered,
                change_registration,
                cancelled,
                closed,
            ],
        ),
    )
    .await;
    let live = memory.tickets().into_iter();
    let live = live.filter(|row| row.ticket.deleted_at.is_none()).count() as i64;
    assert_eq!(live, count(&database, "user_ticket").await);
    database.close().await;
}

#[tokio::test]
async fn registrations_in_memory_are_kept_as_in_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&regist_worker::SCHEMA, &folder).await;
    let memory = regist_worker::memory::MemoryStore::default();
    let sql = regist_worker::store(&database);
    both_mean_the_same(
        RegistDecider,
        [&memory, &*sql],
        (Dice::new(SAGAS), &[purchased, held, cancel, remove]),
    )
    .await;
    assert_eq!(rows(&memory), rows_in(&database).await);
    database.close().await;
}

#[tokio::test]
async fn registrations_in_memory_are_moved_cancelled_and_closed_as_in_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&regist_worker::SCHEMA, &folder).await;
    let memory = regist_worker::memory::MemoryStore::default();
    let sql = regist_worker::store(&database);
    both_mean_the_same(
        RegistDecider,
        [&memory, &*sql],
        (
            Dice::new(CHANGES),
            &[purchased, purchased, moved, moved, cancel_one, remove_one],
        ),
    )
    .await;
    assert_eq!(rows(&memory), rows_in(&database).await);
    let decisions = memory.decisions().into_iter();
    let said = decisions.filter_map(|row| Some(row.step?.message.message_type()));
    let moves = said.filter(|said| *said == MessageType::RegistrationChanged);
    let moves = moves.count();
    println!("{moves} moves were committed");
    assert!(moves > 10, "{moves}");
    database.close().await;
}

/// The live registrations: id, ticket and saga of each.
fn rows(memory: &regist_worker::memory::MemoryStore) -> Vec<String> {
    let row = |regist: Regist| {
        let ticket = regist.user_ticket_id;
        format!("{} {ticket} {}", regist.id, regist.saga_id)
    };
    memory.regists().into_iter().map(row).collect()
}

async fn rows_in(database: &Database) -> Vec<String> {
    let sql = "SELECT id || ' ' || user_ticket_id || ' ' || saga_id FROM regist
               WHERE deleted_at IS NULL ORDER BY id";
    let Database::Sqlite(pool) = database else {
        unreachable!("it was opened as SQLite")
    };
    sqlx::query_scalar(sql).fetch_all(pool).await.unwrap()
}

async fn count(database: &Database, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table} WHERE deleted_at IS NULL");
    let Database::Sqlite(pool) = database else {
        unreachable!("it was opened as SQLite")
    };
    sqlx::query_scalar(&sql).fetch_one(pool).await.unwrap()
}
