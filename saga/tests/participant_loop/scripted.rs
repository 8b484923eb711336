//! A store, a bus and a queue that do as they are told, and a log of what is asked of them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use events::choreography::{REGIST_WORKER, Service};
use events::{
    Event, Message, MessageType, SagaId, TicketDeleted, TicketId, TicketPurchased, Timestamp,
    UserId, UserTicketId,
};
use saga::bus::{
    Bus, Consumer, Delivery, DeliveryTag, Health, JournalReader, JournalStart, PublishError, Queue,
    Settlement, TopologyError,
};
use saga::decision::{Changes, Decider, Moment, Snapshot, Unexpected, Verdict};
use saga::failure::Failure;
use saga::store::Store;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use uuid::Uuid;

/// What happened, in order: the claim of most tests is an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Committed(Vec<u128>),
    Published(Vec<u128>),
    Settled(Vec<(u64, &'static str)>),
}

pub(crate) type Log = Arc<Mutex<Vec<Step>>>;

/// The store refuses this user's row.
pub(crate) const POISON: u64 = 1_000;
/// The rules panic over this user.
pub(crate) const PANIC: u64 = 1_001;
/// A commit with this user's row never ends.
pub(crate) const HANG: u64 = 1_002;

pub(crate) struct Rules;

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

pub(crate) struct ScriptedStore {
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

    async fn consume(&self, queue: Queue) -> Result<Box<dyn Consumer>, TopologyError> {
        let deliveries = match queue {
            // The other steps of the service have nothing to do.
            Queue::Work(step) if step.on != MessageType::TicketPurchased => {
                Some(mpsc::unbounded_channel().1)
            }
            _ => self.deliveries.lock().unwrap().take(),
        };
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

pub(crate) fn delivery(tag: u64, user: u64, attempts: u32) -> Delivery {
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
pub(crate) struct Script {
    pub(crate) failures: Vec<Failure>,
    pub(crate) publish_refusals: u32,
    pub(crate) silence: Duration,
    pub(crate) batch_limit: Option<usize>,
}

pub(crate) type Batches = mpsc::UnboundedSender<Vec<Delivery>>;

/// A bus, what gives its one consumer a batch, and what tells that one was settled.
pub(crate) fn bus(
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

pub(crate) fn store(log: &Log, script: Script) -> ScriptedStore {
    ScriptedStore {
        log: Arc::clone(log),
        failures: Mutex::new(script.failures.into()),
        silent_until: Instant::now() + script.silence,
    }
}
