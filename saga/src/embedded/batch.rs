//! What one transaction of the engine is to do, and what it did. Pure.

use std::collections::BTreeMap;

use events::Timestamp;

use super::request::{Settled, Work};
use super::topology::QueueName;

/// What one transaction does.
pub(super) struct Batch {
    pub(super) now: Timestamp,
    /// The published events, a JSON array.
    pub(super) events: String,
    pub(super) count: usize,
    /// For each queue, which of the published events it gets, by their index.
    pub(super) arrivals: BTreeMap<QueueName, Vec<usize>>,
    pub(super) settled: BTreeMap<QueueName, Settled>,
    /// Whether the waiting events that are due become ready.
    pub(super) wake_due: bool,
    pub(super) claims: Vec<Claim>,
}

/// What consumers of one queue have room for.
pub(super) struct Claim {
    pub(super) queue: QueueName,
    pub(super) room: usize,
    /// Whether there may be ready ones.
    pub(super) ready: bool,
    /// Whether there may be suspects, and one may be handed out.
    pub(super) suspect: bool,
}

/// What a committed transaction did.
pub(super) struct Committed {
    /// What each claim got, in the order of the claims.
    pub(super) claimed: Vec<Claimed>,
    /// The JSON of events that were handed out too often and are parked now.
    pub(super) exhausted: Vec<String>,
    /// When the next waiting event is due, if that was looked up.
    pub(super) next_due: Option<Option<Timestamp>>,
}

/// In journal order.
#[derive(Default)]
pub(super) struct Claimed {
    pub(super) ready: Vec<Row>,
    pub(super) suspect: Vec<Row>,
}

pub(super) struct Row {
    pub(super) position: i64,
    pub(super) attempts: u32,
    pub(super) event: Vec<u8>,
}

impl Batch {
    pub(super) fn new(work: &[Work], now: Timestamp) -> Self {
        let mut batch = Self {
            now,
            events: String::from("["),
            count: 0,
            arrivals: BTreeMap::new(),
            settled: BTreeMap::new(),
            wake_due: false,
            claims: Vec::new(),
        };
        for item in work {
            batch.add(item);
        }
        batch.events.push(']');
        batch
    }

    fn add(&mut self, item: &Work) {
        match item {
            Work::Publish(publish) => {
                for event in &publish.events {
                    if self.count > 0 {
                        self.events.push(',');
                    }
                    self.events.push_str(&event.json);
                    for queue in &event.queues {
                        let arrivals = self.arrivals.entry(queue.clone()).or_default();
                        arrivals.push(self.count);
                    }
                    self.count += 1;
                }
            }
            Work::Settle(settle) => {
                let settled = self.settled.entry(settle.queue.clone()).or_default();
                settled.extend(&settle.settled);
            }
        }
    }

    /// The queues that get new events.
    pub(super) fn filled(&self) -> impl Iterator<Item = &QueueName> {
        self.arrivals.keys()
    }

    /// The queues that get events back which were in hand.
    pub(super) fn refilled(&self) -> impl Iterator<Item = &QueueName> {
        let returned = |settled: &Settled| !settled.returned.is_empty();
        let queues = self.settled.iter();
        queues.filter_map(move |(queue, settled)| returned(settled).then_some(queue))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0 && self.settled.is_empty() && !self.wake_due && self.claims.is_empty()
    }

    pub(super) fn changes_what_waits(&self) -> bool {
        self.wake_due || self.settled.values().any(|s| !s.retried.is_empty())
    }
}
