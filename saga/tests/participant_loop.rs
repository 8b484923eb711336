//! The participant loop against a scripted store, bus and queue: what is settled, what is
//! published, and in which order, whatever fails.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use events::choreography::{self, REGIST_WORKER, Service};
use events::{
    DecodeError, Event, Message, MessageType, SagaId, TicketDeleted, TicketId, TicketPurchased,
    Timestamp, UserId, UserTicketId,
};
use saga::Tasks;
use saga::bus::{
    Bus, Consumer, Delivery, DeliveryTag, Health, JournalReader, JournalStart, PublishError, Queue,
    Settlement, TopologyError,
};
use saga::decision::{Changes, Decider, Moment, Snapshot, Unexpected, Verdict};
use saga::failure::Failure;
use saga::participant::{self, LoopOptions, Worker};
use saga::retry::RetryPolicy;
use saga::store::Store;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use uuid::Uuid;

/// What happened, in order: the claim of most tests is an order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Committed(Vec<u128>),
    Published(Vec<u128>),
    Settled(Vec<(u64, &'static str)>),
}

type Log = Arc<Mutex<Vec<Step>>>;

/// The store refuses this user's row.
const POISON: u64 = 1_000;
/// The rules panic over this user.
const PANIC: u64 = 1_001;
/// A commit with this user's row never ends.
const HANG: u64 = 1_002;

struct Rules;

impl Decider for Rules {
    const SERVICE: Service = REGIST_WORKER;
    type Facts = ();
    type Effect = UserId;

    fn decide(&self, event: &Event, (): &mut (), _: Moment) -> Result<Verdict<UserId>, Unexpected> {
        let Message::TicketPurchased(ticket) = &event.message else {
            return Err(Unexpected::of::<Self>(&event.message));
        };
        assert!(ticket.user_id != UserId(PANIC), "a bug in the rules");
        let user_ticket_id = ticket.user_ticket_id;
        let reply = TicketDeleted {
            user_ticket_id,
            cause: "test".to_owned().into(),
        }
        .into();
        Ok(Verdict {
            reply,
            effect: Some(ticket.user_id),
        })
    }

    fn undo(
        &self,
        event: &Event,
        _: Option<&Message>,
        (): &mut (),
        _: Moment,
    ) -> Result<Verdict<UserId>, Unexpected> {
        Err(Unexpected::of::<Self>(&event.message))
    }
}

struct ScriptedStore {
    log: Log,
    /// Failures of the next commits.
    failures: Mutex<VecDeque<Failure>>,
    /// Until when the database says nothing at all.
    silent_until: Instant,
}

#[async_trait]
impl Store<Rules> for ScriptedStore {
    async fn load(&self, _: &[Event]) -> Result<Snapshot<()>, Failure> {
        tokio::time::sleep_until(self.silent_until).await;
        Ok(Snapshot {
            decisions: HashMap::new(),
            facts: (),
        })
    }

    async fn commit(&self, changes: &Changes<UserId>) -> Result<(), Failure> {
        if let Some(failure) = self.failures.lock().unwrap().pop_front() {
            return Err(failure);
        }
        if changes.effects.contains(&UserId(HANG)) {
            std::future::pending::<()>().await;
        }
        if changes.effects.contains(&UserId(POISON)) {
            return Err(Failure::handling("value out of range"));
        }
        let sagas = changes
            .decided
            .iter()
            .map(|decision| decision.saga_id.0.as_u128());
        self.log
            .lock()
            .unwrap()
            .push(Step::Committed(sagas.collect()));
        Ok(())
    }
}

struct ScriptedBus {
    log: Log,
    deliveries: Mutex<Option<mpsc::UnboundedReceiver<Vec<Delivery>>>>,
    settled: mpsc::UnboundedSender<()>,
    settles_for_ever: bool,
    refusals: Mutex<u32>,
}

#[async_trait]
impl Bus for ScriptedBus {
    async fn publish(&self, events: &[Event]) -> Result<(), PublishError> {
        let mut refusals = self.refusals.lock().unwrap();
        if *refusals > 0 {
            *refusals -= 1;
            return Err(PublishError::Unavailable {
                reason: "on purpose".to_owned(),
            });
        }
        let sagas = events.iter().map(|event| event.saga_id.0.as_u128());
        self.log
            .lock()
            .unwrap()
            .push(Step::Published(sagas.collect()));
        Ok(())
    }

    async fn consume(&self, _: Queue) -> Result<Box<dyn Consumer>, TopologyError> {
        let deliveries = self.deliveries.lock().unwrap().take();
        let Some(deliveries) = deliveries else {
            // The broker is not there yet.
            return std::future::pending().await;
        };
        let (log, settled) = (Arc::clone(&self.log), self.settled.clone());
        Ok(Box::new(ScriptedConsumer {
            log,
            deliveries,
            settled,
            settles_for_ever: self.settles_for_ever,
        }))
    }

    async fn read_journal(&self, _: JournalStart) -> Result<Box<dyn JournalReader>, TopologyError> {
        unreachable!("a participant reads no journal")
    }

    fn health(&self) -> watch::Receiver<Health> {
        watch::channel(Health::Up).1
    }

    async fn close(&self) {}
}

struct ScriptedConsumer {
    log: Log,
    deliveries: mpsc::UnboundedReceiver<Vec<Delivery>>,
    settled: mpsc::UnboundedSender<()>,
    settles_for_ever: bool,
}

#[async_trait]
impl Consumer for ScriptedConsumer {
    async fn receive(&mut self, _: usize) -> Vec<Delivery> {
        match self.deliveries.recv().await {
            Some(deliveries) => deliveries,
            None => std::future::pending().await,
        }
    }

    async fn settle(&mut self, settlements: Vec<(DeliveryTag, Settlement)>) {
        let name = |settlement: Settlement| match settlement {
            Settlement::Done => "done",
            Settlement::Retry { .. } => "retry",
            Settlement::DeadLetter { .. } => "dead-letter",
        };
        let mut settled: Vec<_> = settlements
            .into_iter()
            .map(|(tag, s)| (tag.0, name(s)))
            .collect();
        settled.sort_unstable();
        self.log.lock().unwrap().push(Step::Settled(settled));
        self.settled.send(()).unwrap();
        if self.settles_for_ever {
            std::future::pending::<()>().await;
        }
    }
}

fn delivery(tag: u64, user: u64, attempts: u32) -> Delivery {
    let saga_id = SagaId(Uuid::from_u128(tag.into()));
    let message = TicketPurchased {
        user_id: UserId(user),
        ticket_id: TicketId(1),
        user_ticket_id: UserTicketId(saga_id.0),
    };
    let event = Event {
        id: Event::id_of(saga_id, MessageType::TicketPurchased),
        source: "test".into(),
        time: Timestamp::from_micros(0),
        saga_id,
        causation_id: None,
        traceparent: None,
        reply_to: None,
        deadline: None,
        message: message.into(),
    };
    Delivery {
        tag: DeliveryTag(tag),
        event: Ok(event),
        attempts,
    }
}

/// What goes wrong, and how large a transaction may be.
#[derive(Default)]
struct Script {
    failures: Vec<Failure>,
    publish_refusals: u32,
    silence: Duration,
    batch_limit: Option<usize>,
}

/// Hands one batch to a loop and returns all that happened until it was settled.
async fn when(batch: Vec<Delivery>, failures: Vec<Failure>, publish_refusals: u32) -> Vec<Step> {
    let script = Script {
        failures,
        publish_refusals,
        ..Script::default()
    };
    when_all(batch, script).await
}

async fn when_all(batch: Vec<Delivery>, script: Script) -> Vec<Step> {
    let (log, tasks): (Log, _) = (Log::default(), Tasks::new());
    let (bus, deliver, mut was_settled) = bus(&log, false, script.publish_refusals);
    let options = options(script.batch_limit);
    participant::start(worker(store(&log, script)), &bus, &options, &tasks)
        .await
        .unwrap();
    deliver.send(batch).unwrap();
    was_settled.recv().await.unwrap();
    tasks.stop();
    tasks.join(saga::SHUTDOWN_LIMIT).await.unwrap();
    log.lock().unwrap().clone()
}

type Batches = mpsc::UnboundedSender<Vec<Delivery>>;

/// A bus, what gives its one consumer a batch, and what tells that one was settled.
fn bus(
    log: &Log,
    settles_for_ever: bool,
    refusals: u32,
) -> (Arc<dyn Bus>, Batches, mpsc::UnboundedReceiver<()>) {
    let (deliver, deliveries) = mpsc::unbounded_channel();
    let (settled, was_settled) = mpsc::unbounded_channel();
    let bus = ScriptedBus {
        log: Arc::clone(log),
        deliveries: Mutex::new(Some(deliveries)),
        settled,
        settles_for_ever,
        refusals: Mutex::new(refusals),
    };
    (Arc::new(bus), deliver, was_settled)
}

fn store(log: &Log, script: Script) -> ScriptedStore {
    ScriptedStore {
        log: Arc::clone(log),
        failures: Mutex::new(script.failures.into()),
        silent_until: Instant::now() + script.silence,
    }
}

fn worker(store: ScriptedStore) -> Worker<Rules, ScriptedStore> {
    Worker {
        decider: Rules,
        store,
        clock: Moment::now,
    }
}

fn options(batch_limit: Option<usize>) -> LoopOptions {
    let unlimited = LoopOptions::default();
    LoopOptions {
        batch_limit: batch_limit.unwrap_or(unlimited.batch_limit),
        retry: RetryPolicy {
            delays: vec![Duration::from_secs(1)],
        },
        ..unlimited
    }
}

fn away() -> Failure {
    Failure::from(sqlx::Error::PoolTimedOut)
}

#[tokio::test]
async fn a_batch_is_committed_then_published_then_settled() {
    let steps = when(vec![delivery(1, 1, 0), delivery(2, 2, 0)], vec![], 0).await;
    let settled = Step::Settled(vec![(1, "done"), (2, "done")]);
    assert_eq!(
        steps,
        [
            Step::Committed(vec![1, 2]),
            Step::Published(vec![1, 2]),
            settled
        ]
    );
}

#[tokio::test]
async fn a_poison_event_is_found_by_halving_and_its_neighbours_are_done() {
    let batch = (1..=8)
        .map(|tag| delivery(tag, if tag == 5 { POISON } else { tag }, 0))
        .collect();
    let steps = when(batch, vec![], 0).await;
    assert_eq!(steps[0], Step::Committed(vec![1, 2, 3, 4]));
    assert_eq!(
        steps[1..3],
        [Step::Committed(vec![6]), Step::Committed(vec![7, 8])]
    );
    assert_eq!(
        steps[3],
        Step::Published(vec![1, 2, 3, 4, 6, 7, 8]),
        "the others', in order"
    );
    let result = |tag| (tag, if tag == 5 { "retry" } else { "done" });
    assert_eq!(steps[4], Step::Settled((1..=8).map(result).collect()));
}

#[tokio::test]
async fn a_panic_is_the_failure_of_its_event_alone() {
    let steps = when(vec![delivery(1, 1, 0), delivery(2, PANIC, 0)], vec![], 0).await;
    assert_eq!(
        steps.last().unwrap(),
        &Step::Settled(vec![(1, "done"), (2, "retry")])
    );
}

#[tokio::test]
async fn an_event_that_has_used_up_its_attempts_is_dead_lettered() {
    let steps = when(vec![delivery(1, POISON, 1)], vec![], 0).await;
    assert_eq!(steps, [Step::Settled(vec![(1, "dead-letter")])]);
}

#[tokio::test]
async fn an_event_that_cannot_be_decoded_is_dead_lettered_at_once() {
    let error = DecodeError::UnknownType {
        found: "CouponIssued.v1".to_owned(),
    };
    let garbled = Delivery {
        tag: DeliveryTag(1),
        event: Err(error),
        attempts: 0,
    };
    let steps = when(vec![garbled, delivery(2, 2, 0)], vec![], 0).await;
    let settled = Step::Settled(vec![(1, "dead-letter"), (2, "done")]);
    assert_eq!(
        steps,
        [Step::Committed(vec![2]), Step::Published(vec![2]), settled]
    );
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_for_and_uses_up_no_attempt() {
    let failures = (0..3).map(|_| away()).collect();
    let steps = when(vec![delivery(1, 1, 1), delivery(2, 2, 1)], failures, 0).await;
    assert_eq!(
        steps[0],
        Step::Committed(vec![1, 2]),
        "whole, not in halves"
    );
    assert_eq!(steps[2], Step::Settled(vec![(1, "done"), (2, "done")]));
}

#[tokio::test]
async fn a_broker_that_is_away_is_waited_for_before_anything_is_settled() {
    let steps = when(vec![delivery(1, 1, 0)], vec![], 3).await;
    let settled = Step::Settled(vec![(1, "done")]);
    assert_eq!(
        steps,
        [Step::Committed(vec![1]), Step::Published(vec![1]), settled]
    );
}

#[tokio::test]
async fn a_lost_race_is_decided_again_at_once() {
    let steps = when(
        vec![delivery(1, 1, 0)],
        vec![Failure::Conflict, Failure::Conflict],
        0,
    )
    .await;
    assert_eq!(steps[0], Step::Committed(vec![1]));
}

#[tokio::test]
async fn a_clash_that_is_no_race_is_found_by_halving() {
    let failures = (0..11).map(|_| Failure::Conflict).collect();
    let steps = when(vec![delivery(1, 1, 0), delivery(2, 2, 0)], failures, 0).await;
    assert_eq!(
        steps[..2],
        [Step::Committed(vec![1]), Step::Committed(vec![2])]
    );
}

#[tokio::test]
async fn a_transaction_holds_no_more_events_than_the_limit() {
    let batch = (1..=10).map(|tag| delivery(tag, tag, 0)).collect();
    let script = Script {
        batch_limit: Some(4),
        ..Script::default()
    };
    let steps = when_all(batch, script).await;
    let committed = [vec![1, 2, 3, 4], vec![5, 6, 7, 8], vec![9, 10]].map(Step::Committed);
    assert_eq!(steps[..3], committed);
    assert_eq!(steps[3], Step::Published((1..=10).collect()));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_hangs_is_found_by_halving_and_its_neighbours_are_done() {
    let batch = (1..=4)
        .map(|tag| delivery(tag, if tag == 3 { HANG } else { tag }, 0))
        .collect();
    let steps = when(batch, vec![], 0).await;
    let committed = [vec![1, 2], vec![4]].map(Step::Committed);
    assert_eq!(steps[..2], committed);
    let result = |tag| (tag, if tag == 3 { "retry" } else { "done" });
    assert_eq!(steps[3], Step::Settled((1..=4).map(result).collect()));
}

#[tokio::test(start_paused = true)]
async fn a_database_that_hangs_is_waited_for_and_uses_up_no_attempt() {
    let script = Script {
        silence: Duration::from_secs(100),
        ..Script::default()
    };
    let steps = when_all(vec![delivery(1, 1, 1), delivery(2, 2, 1)], script).await;
    assert_eq!(
        steps[0],
        Step::Committed(vec![1, 2]),
        "whole, not in halves"
    );
    assert_eq!(steps[2], Step::Settled(vec![(1, "done"), (2, "done")]));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_start_that_waits_for_the_broker() {
    let tasks = Tasks::new();
    let (bus, ..) = bus(&Log::default(), false, 0);
    let _taken = bus
        .consume(Queue::Work(choreography::steps().next().unwrap()))
        .await;
    let (worker, options) = (
        worker(store(&Log::default(), Script::default())),
        options(None),
    );
    let starting = participant::start(worker, &bus, &options, &tasks);
    let (started, ()) = tokio::join!(starting, async { tasks.stop() });
    assert!(started.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_settlement_that_the_broker_does_not_confirm() {
    let (log, tasks) = (Log::default(), Tasks::new());
    let (bus, deliver, mut was_settled) = bus(&log, true, 0);
    let worker = worker(store(&log, Script::default()));
    participant::start(worker, &bus, &options(None), &tasks)
        .await
        .unwrap();
    deliver.send(vec![delivery(1, 1, 0)]).unwrap();
    was_settled.recv().await.unwrap();
    tasks.stop();
    tasks.join(saga::SHUTDOWN_LIMIT).await.unwrap();
}
