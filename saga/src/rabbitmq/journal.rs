//! Reads the journal: a stream queue over plain AMQP.
//!
//! A position is the stream offset of a *message*, packed or not, so a page always ends with a whole
//! message. The broker may start with an earlier message than was asked for; what was read before
//! is passed over.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use lapin::message::Delivery;
use tracing::error;

use super::copy::{header, integer};
use super::in_hand::Acknowledgement;
use super::pack::decode;
use super::subscription::Subscription;
use crate::bus::{JournalPage, JournalPosition, JournalReader, JournalStart};

/// Where a message stands in the stream; set by the broker.
const OFFSET: &str = "x-stream-offset";

pub(super) struct StreamReader {
    subscription: Subscription,
    /// The offset to go on with, shared with the subscription that reopens the stream there.
    next: Arc<AtomicI64>,
}

/// The offset of the first message to read.
pub(super) fn first_offset(from: JournalStart) -> Arc<AtomicI64> {
    let first = match from {
        JournalStart::First => 0,
        JournalStart::After(JournalPosition(last)) => last.saturating_add(1),
    };
    Arc::new(AtomicI64::new(first))
}

impl StreamReader {
    pub(super) fn new(subscription: Subscription, next: Arc<AtomicI64>) -> Self {
        Self { subscription, next }
    }

    fn accept(&self, message: &Delivery, page: &mut JournalPage) {
        let Some(offset) = header(&message.properties, OFFSET).and_then(integer) else {
            let queue = self.subscription.queue();
            error!(
                queue,
                "a message without an offset is passed over: the journal is no stream"
            );
            return;
        };
        if offset >= self.next.load(Ordering::Relaxed) {
            page.entries.extend(decode(&message.data));
            page.position = JournalPosition(offset);
            self.next.store(offset.saturating_add(1), Ordering::Relaxed);
        }
    }

    /// The broker sends on when it hears that these were taken.
    fn acknowledge_up_to(&self, delivery_tag: u64) {
        self.subscription.acknowledge(vec![Acknowledgement {
            delivery_tag,
            multiple: true,
        }]);
    }
}

#[async_trait]
impl JournalReader for StreamReader {
    async fn read(&mut self, max: usize) -> JournalPage {
        let before = JournalPosition(self.next.load(Ordering::Relaxed) - 1);
        let mut page = JournalPage {
            entries: Vec::new(),
            position: before,
        };
        while page.entries.is_empty() {
            let mut message = self.subscription.next().await;
            self.accept(&message, &mut page);
            while page.entries.len() < max {
                let Some(next) = self.subscription.next_ready() else {
                    break;
                };
                message = next;
                self.accept(&message, &mut page);
            }
            self.acknowledge_up_to(message.delivery_tag);
        }
        page
    }
}
