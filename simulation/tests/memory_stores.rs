//! What is simulated in memory holds in a database only if both mean the same. So batches at random
//! go to the store in memory and to the one in SQLite, and both must say and keep the same. (That
//! SQLite and PostgreSQL mean the same is the claim of `system-tests/tests/stores`.)
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::VecDeque;

use events::{
    AddTicket, CancelRegistration, ChangeRegistration, ChangeTicket, Event, Freed, Message,
    MessageType, NewTicketHeld, NotRegistered, PurchaseAndRegister, Reason, RegistId, Register,
    RegistrationCancelled, RegistrationFailed, RegistrationsClosed, RemoveTicket, SagaId,
    TicketHeld, TicketId, TicketPurchased, Timestamp, UserId, UserTicketId,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use regist_worker::decide::{Regist, RegistDecider};
use saga::Tasks;
use saga::database::{Database, SchemaChange};
use saga::decision::{Changes, Decider, Moment, decide_batch};
use saga::failure::Failure;
use saga::store::Store;
use ticket_worker::decide::TicketDecider;
use uuid::Uuid;

/// Few enough that batches meet each other's rows.
const SAGAS: u128 = 500;
/// More where a saga is one change of what others made: each is decided once.
const CHANGES: u128 = 3_000;
/// A registration is changed soon after something was decided about it, or it is gone.
const LATELY: usize = 12;
const BATCHES: usize = 1_500;
/// The tickets that the plain routes are about: few, and some that nobody has.
const TICKETS: u128 = 60;
/// So many batches are decided and not committed yet, as by so many replicas.
const REPLICAS: usize = 6;

/// Draws a message of the saga with this number.
type Draw = fn(&mut Dice, u128) -> Message;

struct Dice {
    random: SmallRng,
    sagas: u128,
    /// What was decided of registrations lately: which ticket each has, or was to get.
    lately: VecDeque<(RegistId, UserTicketId)>,
}

impl Dice {
    fn new(sagas: u128) -> Self {
        Self {
            random: SmallRng::seed_from_u64(1),
            sagas,
            lately: VecDeque::new(),
        }
    }

    fn below(&mut self, limit: u128) -> u128 {
        self.random.random_range(0..limit)
    }

    fn learn(&mut self, replies: &[Event]) {
        for reply in replies {
            let told = reply.message.particulars();
            self.lately.extend(told.regist_id.zip(told.user_ticket_id));
        }
        let old = self.lately.len().saturating_sub(LATELY);
        self.lately.drain(..old);
    }

    fn some_regist(&mut self) -> Option<(RegistId, UserTicketId)> {
        let index = self.below(LATELY as u128) as usize;
        self.lately.get(index).copied()
    }

    /// A batch of one kind of message.
    fn batch(&mut self, message: impl Fn(&mut Self, u128) -> Message) -> Vec<Event> {
        let count = 1 + self.below(6);
        let event = |_| {
            let saga = self.below(self.sagas);
            let message = message(self, saga);
            let saga_id = SagaId(Uuid::from_u128(saga));
            Event {
                id: Event::id_of(saga_id, message.message_type()),
                source: "test".into(),
                time: Timestamp::from_micros(0),
                saga_id,
                causation_id: None,
                traceparent: None,
                reply_to: None,
                deadline: Some(Timestamp::from_micros(1_000)),
                message,
            }
        };
        (0..count).map(event).collect()
    }

    fn moment(&mut self) -> Moment {
        Moment {
            // One in five is late.
            now: Timestamp::from_micros(self.random.random_range(0..1_250)),
            fresh_id: Uuid::from_u128(self.random.random()),
        }
    }
}

fn keys(saga: u128) -> (UserId, TicketId) {
    (UserId((saga % 70) as u64), TicketId((saga % 3) as u64))
}

fn purchase(dice: &mut Dice, saga: u128) -> Message {
    let (user_id, ticket_id) = keys(saga);
    // Some sagas claim another one's ticket id.
    let user_ticket = if dice.below(20) == 0 { 0 } else { saga };
    PurchaseAndRegister {
        user_id,
        ticket_id,
        user_ticket_id: UserTicketId(Uuid::from_u128(user_ticket)),
    }
    .into()
}

fn purchased(_: &mut Dice, saga: u128) -> Message {
    let (user_id, ticket_id) = keys(saga);
    TicketPurchased {
        user_id,
        ticket_id,
        user_ticket_id: UserTicketId(Uuid::from_u128(saga)),
    }
    .into()
}

fn refused(_: &mut Dice, saga: u128) -> Message {
    let (user_id, ticket_id) = keys(saga);
    RegistrationFailed {
        user_id,
        ticket_id,
        user_ticket_id: UserTicketId(Uuid::from_u128(saga)),
        reason: Reason::ALREADY_REGISTERED,
    }
    .into()
}

/// A ticket that some saga may have, or one that nobody has.
fn some_ticket(dice: &mut Dice) -> UserTicketId {
    UserTicketId(Uuid::from_u128(dice.below(TICKETS)))
}

fn some_user(dice: &mut Dice) -> UserId {
    keys(dice.below(TICKETS)).0
}

fn change_ticket(dice: &mut Dice, _: u128) -> Message {
    ChangeTicket {
        user_id: Some(some_user(dice)),
        ticket_id: None,
        user_ticket_id: some_ticket(dice),
    }
    .into()
}

fn closed(dice: &mut Dice, _: u128) -> Message {
    RegistrationsClosed {
        user_ticket_id: some_ticket(dice),
        cancelled: None,
    }
    .into()
}

fn register(dice: &mut Dice, _: u128) -> Message {
    let user_ticket_id = some_ticket(dice);
    Register {
        user_id: keys(user_ticket_id.0.as_u128()).0,
        user_ticket_id,
    }
    .into()
}

fn not_registered(dice: &mut Dice, saga: u128) -> Message {
    let (user_id, ticket_id) = keys(saga);
    NotRegistered {
        user_id,
        ticket_id,
        user_ticket_id: some_ticket(dice),
        reason: Reason::ALREADY_REGISTERED,
    }
    .into()
}

/// Whoever bought a ticket holds it at first.
fn cancelled(dice: &mut Dice, _: u128) -> Message {
    let ticket = some_ticket(dice);
    let held_by = SagaId(ticket.0);
    RegistrationCancelled {
        regist_id: None,
        freed: Some(Freed { ticket, held_by }),
    }
    .into()
}

fn change_registration(dice: &mut Dice, _: u128) -> Message {
    let (ticket, from) = (some_ticket(dice), some_ticket(dice));
    ChangeRegistration {
        regist_id: RegistId(from.0),
        user_id: keys(ticket.0.as_u128()).0,
        user_ticket_id: ticket,
        from,
    }
    .into()
}

fn add(dice: &mut Dice, saga: u128) -> Message {
    let (user_id, ticket_id) = keys(saga);
    AddTicket {
        user_id,
        ticket_id,
        user_ticket_id: UserTicketId(Uuid::from_u128(dice.random.random())),
    }
    .into()
}

fn remove(dice: &mut Dice, _: u128) -> Message {
    let user_ticket_id = some_ticket(dice);
    RemoveTicket {
        user_ticket_id,
        user_id: None,
    }
    .into()
}

fn cancel(dice: &mut Dice, _: u128) -> Message {
    CancelRegistration {
        regist_id: None,
        user_id: None,
        user_ticket_id: Some(some_ticket(dice)),
    }
    .into()
}

/// To a ticket that is free, most of the time; sometimes it stays where it is, or comes back.
fn moved(dice: &mut Dice, saga: u128) -> Message {
    let (regist_id, from) = dice
        .some_regist()
        .unwrap_or_else(|| (RegistId(Uuid::nil()), some_ticket(dice)));
    let (user_id, ticket_id) = keys(saga);
    let user_ticket_id = match dice.below(4) {
        0 => from,
        1 => dice.some_regist().map_or(from, |(_, ticket)| ticket),
        _ => UserTicketId(Uuid::from_u128(CHANGES + saga)),
    };
    NewTicketHeld {
        regist_id,
        user_id,
        ticket_id,
        user_ticket_id,
        from,
    }
    .into()
}

fn cancel_one(dice: &mut Dice, _: u128) -> Message {
    CancelRegistration {
        regist_id: dice.some_regist().map(|(id, _)| id),
        user_id: None,
        user_ticket_id: None,
    }
    .into()
}

fn remove_one(dice: &mut Dice, _: u128) -> Message {
    let ticket = dice.some_regist().map(|(_, ticket)| ticket);
    let user_ticket_id = ticket.unwrap_or_else(|| some_ticket(dice));
    RemoveTicket {
        user_ticket_id,
        user_id: None,
    }
    .into()
}

fn held(dice: &mut Dice, saga: u128) -> Message {
    let (user_id, ticket_id) = keys(saga);
    TicketHeld {
        user_id,
        ticket_id,
        user_ticket_id: some_ticket(dice),
    }
    .into()
}

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
