//! The storage of both workers, the same claims on PostgreSQL and on SQLite: what is decided is
//! found again, what another replica decided is not decided twice, and nothing is half committed.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod moved;
mod planned_empty;
mod unread;

use std::collections::HashMap;

use events::{
    Event, Message, MessageType, PurchaseAndRegister, Reason, RegistrationFailed, SagaId, TicketId,
    TicketPurchased, Timestamp, UserId, UserTicketId,
};
use regist_worker::decide::RegistDecider;
use saga::Tasks;
use saga::database::{Database, SchemaChange};
use saga::decision::{Changes, Decider, Moment, decide_batch};
use saga::failure::Failure;
use saga::participant::{Participant, Worker};
use saga::store::Store;
use system_tests::fresh_database::FreshDatabase;
use ticket_worker::decide::TicketDecider;

fn event(saga_id: SagaId, message: impl Into<Message>) -> Event {
    let message = message.into();
    Event {
        id: Event::id_of(saga_id, message.message_type()),
        source: "test".into(),
        time: Timestamp::now(),
        saga_id,
        causation_id: None,
        traceparent: None,
        reply_to: None,
        deadline: None,
        message,
    }
}

/// One saga of a user, for a ticket that it shares with others.
#[derive(Clone, Copy)]
struct Case {
    saga: SagaId,
    user: UserId,
    ticket: TicketId,
    user_ticket: UserTicketId,
}

impl Case {
    fn of(user: u64) -> Self {
        let (saga, user_ticket) = (SagaId::mint(), UserTicketId::mint());
        Self {
            saga,
            user: UserId(user),
            ticket: TicketId(u64::MAX),
            user_ticket,
        }
    }

    fn purchase(self) -> Event {
        let Self {
            user: user_id,
            ticket: ticket_id,
            user_ticket: user_ticket_id,
            ..
        } = self;
        event(
            self.saga,
            PurchaseAndRegister {
                user_id,
                ticket_id,
                user_ticket_id,
            },
        )
    }

    fn purchased(self) -> Event {
        let Self {
            user: user_id,
            ticket: ticket_id,
            user_ticket: user_ticket_id,
            ..
        } = self;
        event(
            self.saga,
            TicketPurchased {
                user_id,
                ticket_id,
                user_ticket_id,
            },
        )
    }

    fn failed(self) -> Event {
        let Self {
            user: user_id,
            ticket: ticket_id,
            user_ticket: user_ticket_id,
            ..
        } = self;
        let reason = Reason::ALREADY_REGISTERED;
        event(
            self.saga,
            RegistrationFailed {
                user_id,
                ticket_id,
                user_ticket_id,
                reason,
            },
        )
    }
}

/// Runs the claim on a fresh database of each kind.
async fn on_both(schema: &[SchemaChange], claim: impl AsyncFn(&Database)) {
    for fresh in [FreshDatabase::sqlite(), FreshDatabase::postgres().await] {
        let database = Database::open(fresh.url(), "stores-test").unwrap();
        database
            .prepare("stores-test", schema, &Tasks::new())
            .await
            .unwrap();
        claim(&database).await;
        database.close().await;
    }
}

fn ticket_worker(database: &Database) -> impl Participant {
    Worker {
        decider: TicketDecider,
        store: ticket_worker::store(database),
        clock: Moment::now,
    }
}

fn regist_worker(database: &Database) -> impl Participant {
    Worker {
        decider: RegistDecider,
        store: regist_worker::store(database),
        clock: Moment::now,
    }
}

async fn count(database: &Database, sql: &'static str) -> i64 {
    match database {
        Database::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
        Database::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
    }
}

const LIVE_TICKETS: &str = "SELECT count(*) FROM user_ticket WHERE deleted_at IS NULL";
const TICKETS: &str = "SELECT count(*) FROM user_ticket";
const REGISTRATIONS: &str = "SELECT count(*) FROM regist WHERE deleted_at IS NULL";
const DECISIONS: &str = "SELECT count(*) FROM decision";

fn types(replies: &[Event]) -> Vec<MessageType> {
    replies.iter().map(Event::message_type).collect()
}

#[tokio::test]
async fn a_redelivered_purchase_is_answered_to_the_letter_and_writes_nothing() {
    on_both(&ticket_worker::SCHEMA, async |database| {
        let (worker, cases) = (ticket_worker(database), [Case::of(1), Case::of(2)]);
        let batch = cases.map(Case::purchase);
        let first = worker.react(&batch).await.unwrap();
        let again = ticket_worker(database).react(&batch).await.unwrap();
        assert_eq!(first, again, "times and ids included");
        assert_eq!(count(database, TICKETS).await, 2);
    })
    .await;
}

#[tokio::test]
async fn an_undo_deletes_the_ticket_and_survives_redelivery_in_any_order() {
    on_both(&ticket_worker::SCHEMA, async |database| {
        let (worker, case) = (ticket_worker(database), Case::of(1));
        worker.react(&[case.purchase()]).await.unwrap();
        assert_eq!(count(database, LIVE_TICKETS).await, 1);
        let undone = worker.react(&[case.failed()]).await.unwrap();
        assert_eq!(types(&undone), [MessageType::TicketDeleted]);
        for event in [case.purchase(), case.failed(), case.purchase()] {
            worker.react(&[event]).await.unwrap();
        }
        assert_eq!(worker.react(&[case.failed()]).await.unwrap(), undone);
        assert_eq!(
            (
                count(database, LIVE_TICKETS).await,
                count(database, TICKETS).await
            ),
            (0, 1)
        );
    })
    .await;
}

#[tokio::test]
async fn a_tombstone_keeps_a_late_purchase_from_starting() {
    on_both(&ticket_worker::SCHEMA, async |database| {
        let (worker, case) = (ticket_worker(database), Case::of(1));
        worker.react(&[case.failed()]).await.unwrap();
        let late = worker.react(&[case.purchase()]).await.unwrap();
        assert_eq!(types(&late), [MessageType::TicketDeleted]);
        assert_eq!(
            (
                count(database, TICKETS).await,
                count(database, DECISIONS).await
            ),
            (0, 1)
        );
    })
    .await;
}

#[tokio::test]
async fn of_two_sagas_of_one_user_and_ticket_the_first_wins_in_one_batch_or_in_two() {
    on_both(&regist_worker::SCHEMA, async |database| {
        let worker = regist_worker(database);
        let batch = [Case::of(1), Case::of(1)].map(Case::purchased);
        let replies = worker.react(&batch).await.unwrap();
        let won_and_lost = [
            MessageType::RegistrationCompleted,
            MessageType::RegistrationFailed,
        ];
        assert_eq!(types(&replies), won_and_lost);
        let third = worker.react(&[Case::of(1).purchased()]).await.unwrap();
        assert_eq!(types(&third), [MessageType::RegistrationFailed]);
        assert_eq!(worker.react(&batch).await.unwrap(), replies);
        let counts = (
            count(database, REGISTRATIONS).await,
            count(database, DECISIONS).await,
        );
        assert_eq!(counts, (1, 3));
    })
    .await;
}

/// Decides without committing, as a replica does that is about to lose a race.
async fn decided<D: Decider>(
    decider: &D,
    store: &dyn Store<D>,
    events: &[Event],
) -> Changes<D::Effect> {
    let snapshot = store.load(events).await.unwrap();
    decide_batch(decider, snapshot, events, Moment::now)
        .unwrap()
        .0
}

#[tokio::test]
async fn a_replica_that_loses_the_race_for_a_saga_conflicts_and_writes_nothing() {
    on_both(&ticket_worker::SCHEMA, async |database| {
        let store = ticket_worker::store(database);
        let shared = Case::of(1).purchase();
        let slow = [Case::of(2).purchase(), shared.clone()];
        let slow = decided(&TicketDecider, &*store, &slow).await;
        ticket_worker(database).react(&[shared]).await.unwrap();
        let lost = store.commit(&slow).await.unwrap_err();
        assert!(matches!(lost, Failure::Conflict), "{lost:?}");
        assert_eq!(
            (
                count(database, TICKETS).await,
                count(database, DECISIONS).await
            ),
            (1, 1)
        );
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_loses_the_race_for_a_user_and_ticket_conflicts_and_then_refuses() {
    on_both(&regist_worker::SCHEMA, async |database| {
        let store = regist_worker::store(database);
        let (winner, loser) = (Case::of(1).purchased(), Case::of(1).purchased());
        let slow = decided(&RegistDecider, &*store, std::slice::from_ref(&loser)).await;
        regist_worker(database).react(&[winner]).await.unwrap();
        let lost = store.commit(&slow).await.unwrap_err();
        assert!(matches!(lost, Failure::Conflict), "{lost:?}");
        let replies = regist_worker(database).react(&[loser]).await.unwrap();
        assert_eq!(types(&replies), [MessageType::RegistrationFailed]);
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_loses_the_race_for_an_undo_conflicts() {
    on_both(&ticket_worker::SCHEMA, async |database| {
        let (store, case) = (ticket_worker::store(database), Case::of(1));
        let worker = ticket_worker(database);
        worker.react(&[case.purchase()]).await.unwrap();
        let slow = decided(&TicketDecider, &*store, &[case.failed()]).await;
        worker.react(&[case.failed()]).await.unwrap();
        assert!(matches!(
            store.commit(&slow).await.unwrap_err(),
            Failure::Conflict
        ));
    })
    .await;
}

#[tokio::test]
async fn a_ticket_id_that_another_saga_used_fails_that_event_and_is_no_race() {
    on_both(&ticket_worker::SCHEMA, async |database| {
        let worker = ticket_worker(database);
        let first = Case::of(1);
        let forged = Case {
            user_ticket: first.user_ticket,
            ..Case::of(2)
        };
        worker.react(&[first.purchase()]).await.unwrap();
        let failure = worker.react(&[forged.purchase()]).await.unwrap_err();
        assert!(matches!(failure, Failure::Handling(_)), "{failure:?}");
        assert_eq!(
            count(database, DECISIONS).await,
            1,
            "nothing half committed"
        );
    })
    .await;
}

#[tokio::test]
async fn replicas_that_race_for_the_same_keys_agree_on_one_winner_each() {
    const USERS: u64 = 500;
    on_both(&regist_worker::SCHEMA, async |database| {
        let mut replicas = tokio::task::JoinSet::new();
        for replica in 0..4 {
            let worker = regist_worker(database);
            // Each replica meets the users in an order of its own.
            let order = (0..USERS).map(move |n| (n * 7 + replica * 13) % USERS);
            replicas.spawn(async move {
                let batch: Vec<_> = order.map(|user| Case::of(user).purchased()).collect();
                loop {
                    match worker.react(&batch).await {
                        Err(Failure::Conflict) => {}
                        replies => break replies.unwrap(),
                    }
                }
            });
        }
        let mut wins: HashMap<UserId, usize> = HashMap::new();
        for reply in replicas.join_all().await.into_iter().flatten() {
            if let Message::RegistrationCompleted(completed) = reply.message {
                *wins.entry(completed.user_id).or_default() += 1;
            }
        }
        assert_eq!(wins.len() as u64, USERS);
        assert!(wins.values().all(|wins| *wins == 1), "{wins:?}");
    })
    .await;
}
