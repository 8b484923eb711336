//! Reads the journal: a stream queue over plain AMQP.
//!
//! A position is the stream offset of a *message*, packed or not, so a page always ends with a whole
//! message. Each session asks for the last message that was read before, once more, as the proof that
//! this is the journal which the position belongs to; then it is passed over, with any earlier one.
//! A journal that was made anew ends before it, and would otherwise be passed over for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lapin::message::Delivery;
use tokio::time::{Instant, timeout_at};
use tracing::error;

use super::copy::{header, integer};
use super::in_hand::Acknowledgement;
use super::pack::decode;
use super::subscription::Subscription;
use crate::bus::{JournalPage, JournalPosition, JournalReader};

/// Where a message stands in the stream; set by the broker.
const OFFSET: &str = "x-stream-offset";

/// A broker sends what is asked for and there within milliseconds. AMQP has no other way to tell the
/// end of a stream. Should it be slower, the journal is read again, which is safe.
const PROOF_WITHIN: Duration = Duration::from_secs(5);

/// A session that says nothing for so long is opened again, because nothing tells an idle journal
/// from a consumer that a restarting broker forgot. It costs an idle system one message each time.
const SILENCE: Duration = Duration::from_secs(10);

pub(super) struct StreamReader {
    subscription: Subscription,
    /// The offset to go on with, shared with the subscription that reopens the stream there.
    next: Arc<AtomicI64>,
    /// The session that messages come from.
    session: u64,
    /// By when it has to show that the journal reaches as far as was read; none once it has.
    proof_due: Option<Instant>,
    /// When the session last said something, or began.
    heard: Instant,
}

/// The offset of a message; the broker sets it.
pub(super) fn offset_of(message: &Delivery) -> Option<i64> {
    header(&message.properties, OFFSET).and_then(integer)
}

impl StreamReader {
    pub(super) fn new(subscription: Subscription, next: Arc<AtomicI64>) -> Self {
        Self {
            subscription,
            next,
            session: 0,
            proof_due: None,
            heard: Instant::now(),
        }
    }

    /// The next message, over as many sessions as it takes.
    async fn next(&mut self) -> Delivery {
        loop {
            self.subscription.connected().await;
            if self.session != self.subscription.epoch() {
                self.session = self.subscription.epoch();
                let is_going_on = self.next.load(Ordering::Relaxed) > 0;
                self.heard = Instant::now();
                self.proof_due = is_going_on.then(|| self.heard + PROOF_WITHIN);
            }
            let due = self.proof_due.unwrap_or(self.heard + SILENCE);
            match timeout_at(due, self.subscription.next_of_session()).await {
                Ok(Some(message)) => {
                    self.heard = Instant::now();
                    return message;
                }
                // The session has ended; there will be another.
                Ok(None) => {}
                Err(_) if self.proof_due.is_some() => self.start_over(),
                Err(_) => self.subscription.reopen(),
            }
        }
    }

    /// The journal ends before the place to go on from.
    fn start_over(&mut self) {
        error!(
            queue = self.subscription.queue(),
            offset = self.next.load(Ordering::Relaxed),
            "the journal ends before the offset to go on from, so it was made anew; \
             it is read from its start"
        );
        self.next.store(0, Ordering::Relaxed);
        self.subscription.reopen();
    }

    fn accept(&mut self, message: &Delivery, page: &mut JournalPage) {
        let Some(offset) = offset_of(message) else {
            let queue = self.subscription.queue();
            error!(
                queue,
                "a message without an offset is passed over: the journal is no stream"
            );
            return;
        };
        let next = self.next.load(Ordering::Relaxed);
        if self.proof_due.is_some() && offset >= next - 1 {
            self.proof_due = None;
            if offset > next {
                let queue = self.subscription.queue();
                error!(
                    queue,
                    expected = next,
                    found = offset,
                    "the journal no longer has what was to be read next; it is missing from here on"
                );
            }
        }
        if offset >= next {
            page.entries.extend(decode(&message.data));
            page.position = JournalPosition(offset);
            page.positions.resize(page.entries.len(), page.position);
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
            positions: Vec::new(),
            position: before,
        };
        while page.entries.is_empty() {
            let mut message = self.next().await;
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
