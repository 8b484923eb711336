//! The books of the broker: every copy of a message that ever entered a queue, by how it came, and
//! how many left, by how they went. They must balance with what is found in the queues, so that a
//! message that got lost cannot pass for one that was handled.

use std::fmt;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// By a publisher, the first time or again.
    pub published: u64,
    pub duplicated: u64,
    pub redelivered: u64,
    pub garbled: u64,
    /// To a retry tier or a dead-letter queue.
    pub copied: u64,
    /// From a dead-letter queue.
    pub requeued: u64,
    pub acknowledged: u64,
    /// In a dead-letter queue for good, or until it was requeued.
    pub parked: u64,
}

impl Ledger {
    pub fn entered(&self) -> u64 {
        self.published
            + self.duplicated
            + self.redelivered
            + self.garbled
            + self.copied
            + self.requeued
    }

    pub fn left(&self) -> u64 {
        self.acknowledged + self.parked
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.published += other.published;
        self.duplicated += other.duplicated;
        self.redelivered += other.redelivered;
        self.garbled += other.garbled;
        self.copied += other.copied;
        self.requeued += other.requeued;
        self.acknowledged += other.acknowledged;
        self.parked += other.parked;
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            published,
            duplicated,
            redelivered,
            garbled,
            copied,
            requeued,
            acknowledged,
            parked,
        } = self;
        write!(
            f,
            "{published} published + {duplicated} duplicated + {redelivered} redelivered + \
             {garbled} garbled + {copied} copied + {requeued} requeued = {}; \
             {acknowledged} acknowledged + {parked} parked = {}",
            self.entered(),
            self.left()
        )
    }
}
