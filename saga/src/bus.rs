//! The port every participant stands on: publish events, receive events, settle each event, read
//! the journal. Adapters: [`crate::rabbitmq`] and [`crate::embedded`].
//!
//! The port speaks of *events*. That an adapter packs several into one broker message is its own
//! matter. Delivery is at least once: until an event is settled, it may be delivered again, to this
//! consumer or to another one.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use events::choreography::{Service, Step};
use events::{DecodeError, Event, Timestamp};
use tokio::sync::watch;

use crate::dead_letters::{DeadLetterError, DeadLetters};

/// A message broker as the saga sees it.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Publishes the events and resolves once the broker has confirmed every one of them as stored
    /// and routed. After an error some of them may have been published and some not: publish all of
    /// them again, which is safe because an event keeps its id.
    async fn publish(&self, events: &[Event]) -> Result<(), PublishError>;

    /// Starts consuming. The consumer outlives a lost broker: it reconnects by itself and goes on.
    async fn consume(&self, queue: Queue) -> Result<Box<dyn Consumer>, TopologyError>;

    /// Reads the journal from the given place on. Like a consumer, the reader outlives a lost
    /// broker and goes on where it was.
    async fn read_journal(
        &self,
        from: JournalStart,
    ) -> Result<Box<dyn JournalReader>, TopologyError>;

    /// The position of the last entry of the journal by now; none if it is empty. Whatever was
    /// confirmed before this was asked is not behind it.
    async fn journal_end(&self) -> Result<Option<JournalPosition>, TopologyError> {
        Err(TopologyError {
            what: "the journal".into(),
            reason: "this bus does not tell its end".into(),
        })
    }

    /// What this bus gave up on, to be operated, over a connection of its own.
    async fn dead_letters(&self) -> Result<Box<dyn DeadLetters>, DeadLetterError> {
        Err(DeadLetterError::away("this bus does not show them"))
    }

    /// Asks a service about what it owns, and waits for its answer, no longer than the limit. A
    /// question is handed on in memory and past every queue of events: it may get lost, and then
    /// nobody answers.
    async fn ask(
        &self,
        service: Service,
        question: String,
        limit: Duration,
    ) -> Result<String, AskError> {
        let _ = (service, question, limit);
        Err(AskError::Unavailable {
            reason: "this bus carries no questions".into(),
        })
    }

    /// Takes questions to this service from now on; replicas share them. Like a consumer, it
    /// outlives a lost broker.
    async fn questions(&self, service: Service) -> Result<Box<dyn Questions>, TopologyError> {
        Err(TopologyError {
            what: service.queries(),
            reason: "this bus carries no questions".into(),
        })
    }

    /// Whether the bus can publish and every consumer is consuming, and if not, what it waits for.
    fn health(&self) -> watch::Receiver<Health>;

    /// Says goodbye to the broker. What is not settled by now is delivered again.
    async fn close(&self);
}

/// Where a consumer takes its events from.
#[derive(Clone, Debug)]
pub enum Queue {
    /// The durable queue of one step of the choreography; competing consumers share it.
    Work(&'static Step),
    /// The events that end a saga whose `reply_to` is this gateway instance. Exclusive to the
    /// instance, and not durable: whoever misses one asks the ledger. Settling is a no-op.
    Replies { instance: String },
}

/// A running consumer of one queue.
#[async_trait]
pub trait Consumer: Send {
    /// Waits until something is there, then returns what is already there: at least one event, and
    /// no further broker message once `max` events are gathered. Dropping the future loses nothing.
    async fn receive(&mut self, max: usize) -> Vec<Delivery>;

    /// Settles deliveries. A delivery that the broker has taken back meanwhile (its connection
    /// died) is passed over: it comes again. Returns when the settlement is on its way for `Done`,
    /// and confirmed for copies to a retry tier or a dead-letter queue.
    async fn settle(&mut self, settlements: Vec<(DeliveryTag, Settlement)>);
}

/// Names one delivered event until it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryTag(pub u64);

/// One event handed to a consumer.
#[derive(Debug)]
pub struct Delivery {
    pub tag: DeliveryTag,
    pub event: Result<Event, DecodeError>,
    /// How often handling this event has *failed* before: 0 at first.
    pub attempts: u32,
}

/// What becomes of a delivered event.
#[derive(Clone, Debug)]
pub enum Settlement {
    /// Its effects are committed and what it led to is confirmed.
    Done,
    /// Deliver it again to the same queue after this delay (one of the configured retry delays),
    /// with `attempts` one higher.
    Retry { after: Duration, failure: String },
    /// Park it in the queue's dead-letter queue, with the reason.
    DeadLetter { failure: String },
}

/// The questions put to one service.
#[async_trait]
pub trait Questions: Send {
    /// Waits for the next question. Dropping the future loses nothing.
    async fn next(&mut self) -> Question;
}

/// A question, and the way back to who asks. Dropped, it is left unanswered.
pub struct Question {
    pub text: String,
    reply: Box<dyn FnOnce(String) + Send>,
}

impl Question {
    pub(crate) fn new(text: String, reply: impl FnOnce(String) + Send + 'static) -> Self {
        let reply = Box::new(reply);
        Self { text, reply }
    }

    /// Sends the answer on its way. Whoever has stopped waiting does not get it.
    pub fn answer(self, text: String) {
        (self.reply)(text);
    }
}

/// Reads every event ever published, in order.
#[async_trait]
pub trait JournalReader: Send {
    /// Waits until something is there, then returns what is already there, about `max` events.
    /// Dropping the future loses nothing.
    async fn read(&mut self, max: usize) -> JournalPage;

    /// Tells that its reader will not ask for what is up to here again, so that a journal which knows
    /// its readers may let it go when it is old. One that does not know them keeps its own limits.
    fn keep_after(&mut self, position: JournalPosition) {
        let _ = position;
    }
}

/// Some events of the journal, in order.
#[derive(Debug)]
pub struct JournalPage {
    pub entries: Vec<Result<Event, DecodeError>>,
    /// Where each of them is. Those that were published in one message may share a position.
    pub positions: Vec<JournalPosition>,
    /// Reading on from [`JournalStart::After`] this position continues behind this page.
    pub position: JournalPosition,
}

/// A place in the journal. Grows with time; what it counts is the adapter's own matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalPosition(pub i64);

/// Where to start reading the journal.
#[derive(Clone, Copy, Debug)]
pub enum JournalStart {
    First,
    After(JournalPosition),
    /// With what the broker took at this time or later, or with the last entry if there is nothing of
    /// the kind. Somewhat earlier entries may come first, later ones are not missed: who wants it
    /// exactly looks at each event's own time.
    Time(Timestamp),
    /// With the last entry.
    Last,
}

/// What an operator wants to know of a dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Up,
    /// Not usable now; it is being tried again. The text says what is waited for, and why.
    Down {
        waiting_for: String,
    },
}

impl Health {
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.write_str("up"),
            Self::Down { waiting_for } => write!(f, "waiting for {waiting_for}"),
        }
    }
}

/// The events are not known to be published. Publishing them again is safe.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The broker is away, blocked, or did not confirm in time.
    #[error("the broker is not taking messages: {reason}")]
    Unavailable { reason: String },
    /// The broker took the message but no queue wanted it.
    #[error("no queue is bound for {what}; it is kept in the unrouted queue if there is one")]
    Unroutable { what: String },
}

/// There is no answer to a question. Asking again is safe.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The broker is away, or has no room for questions.
    #[error("the question cannot be put: {reason}")]
    Unavailable { reason: String },
    /// The service is away, or slow.
    #[error("{service} did not answer within {limit:?}")]
    NoAnswer {
        service: &'static str,
        limit: Duration,
    },
}

/// The broker has a queue or exchange of this name that is not what the choreography needs, or the
/// caller may not use it. Final until an operator acts.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct TopologyError {
    pub what: String,
    pub reason: String,
}
