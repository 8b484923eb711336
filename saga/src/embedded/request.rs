//! What is said to the engine, and what it makes of it: work that one transaction carries out for
//! many requests at once.

use events::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::topology::{Outgoing, QueueName};
use crate::bus::{DeliveryTag, PublishError, Settlement, TopologyError};

/// Names a consumer for as long as the process lives.
pub(super) type ConsumerId = u64;

pub(super) enum Request {
    Publish(Publish),
    Subscribe(Subscribe),
    Settle {
        consumer: ConsumerId,
        queue: QueueName,
        settlements: Vec<(DeliveryTag, Settlement)>,
        /// Answered once they are committed.
        done: oneshot::Sender<()>,
    },
    /// The consumer is dropped; what it had in hand goes back.
    Gone {
        consumer: ConsumerId,
        source: Source,
    },
    Close(oneshot::Sender<()>),
}

/// Answered once the events are committed, journal and queues together.
pub(super) struct Publish {
    pub(super) events: Vec<Outgoing>,
    pub(super) done: oneshot::Sender<Result<(), PublishError>>,
}

pub(super) struct Subscribe {
    pub(super) consumer: ConsumerId,
    pub(super) source: Source,
    /// Its capacity is how much the consumer may have in hand.
    pub(super) arrivals: mpsc::Sender<Arrival>,
    pub(super) answer: oneshot::Sender<Result<(), TopologyError>>,
}

/// Where a consumer's events come from.
#[derive(Clone)]
pub(super) enum Source {
    Work(QueueName),
    /// The replies to this gateway instance.
    Replies(String),
}

/// An event handed to a consumer, not decoded yet.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) tag: DeliveryTag,
    pub(super) attempts: u32,
    pub(super) json: Vec<u8>,
}

/// What the engine still has to write.
pub(super) enum Work {
    Publish(Publish),
    Settle(Settle),
}

/// Settlements of events of one queue.
pub(super) struct Settle {
    pub(super) queue: QueueName,
    pub(super) settled: Settled,
    pub(super) done: Option<oneshot::Sender<()>>,
}

/// What becomes of events of one queue, by their positions in the journal.
#[derive(Default)]
pub(super) struct Settled {
    pub(super) returned: Vec<i64>,
    pub(super) done: Vec<i64>,
    pub(super) retried: Vec<Retried>,
    pub(super) parked: Vec<Parked>,
}

#[derive(Clone)]
pub(super) struct Retried {
    pub(super) position: i64,
    pub(super) due_at: Timestamp,
    pub(super) failure: String,
}

#[derive(Clone)]
pub(super) struct Parked {
    pub(super) position: i64,
    pub(super) failure: String,
}

impl Request {
    /// How much it adds to a transaction.
    pub(super) fn events(&self) -> usize {
        match self {
            Self::Publish(publish) => publish.events.len(),
            Self::Settle { settlements, .. } => settlements.len(),
            Self::Subscribe(_) | Self::Gone { .. } | Self::Close(_) => 0,
        }
    }
}

impl Settled {
    /// Whether all it does is to forget what is done.
    pub(super) fn is_plain(&self) -> bool {
        self.returned.is_empty() && self.retried.is_empty() && self.parked.is_empty()
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.returned.extend(&other.returned);
        self.done.extend(&other.done);
        self.retried.extend(other.retried.iter().cloned());
        self.parked.extend(other.parked.iter().cloned());
    }
}
