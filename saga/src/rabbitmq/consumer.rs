//! The consumers: of a work queue, which settles, and of a gateway's replies, which need not.
//!
//! Failures never go back to the queue by a `nack`, which newer brokers do not count: the worker
//! publishes a copy of the one event to a retry tier or to the dead-letter queue, waits for the
//! confirm, and only then acknowledges.
//!
//! What came back twice may be what takes the process down, and a message in hand then uses up one
//! of its deliveries, guilty or not. So such a pack is not handled but taken apart, and such an event
//! is handed out while nothing else of its queue is in hand here, if whoever consumes settles before it
//! receives again. A session begins with one message in hand and takes more when it has seen one that
//! is above suspicion: or else whatever stands beside a suspect would lose a delivery with every
//! process that the suspect takes down.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use events::Timestamp;
use tracing::warn;

use super::connection::Settings;
use super::copy::{Failed, attempts, comebacks, split};
use super::in_hand::InHand;
use super::pace::Pace;
use super::pack::{Address, Parcel, decode, take_apart};
use super::publisher::Publisher;
use super::returns::Returns;
use super::subscription::Subscription;
use crate::bus::{Consumer, Delivery, DeliveryTag, Settlement};
use crate::failure::chain;
use crate::retry::Backoff;

/// The first comeback is what any lost connection causes, and is handled at full speed.
const COMEBACKS_OF_A_SUSPECT: i64 = 2;

pub(super) struct WorkConsumer {
    service: &'static str,
    subscription: Subscription,
    publisher: Publisher,
    settings: Arc<Settings>,
    in_hand: InHand,
    /// The session that delivered what is in hand.
    epoch: u64,
    /// A suspect pack, to be taken apart before another message is taken.
    suspect: Option<DeliveryTag>,
}

impl WorkConsumer {
    pub(super) fn new(
        service: &'static str,
        subscription: Subscription,
        publisher: Publisher,
        settings: &Arc<Settings>,
    ) -> Self {
        Self {
            service,
            subscription,
            publisher,
            settings: Arc::clone(settings),
            in_hand: InHand::default(),
            epoch: 0,
            suspect: None,
        }
    }

    /// Tags of an earlier session mean other messages by now, or none.
    fn forget_what_was_taken_back(&mut self) {
        if self.subscription.epoch() != self.epoch {
            self.epoch = self.subscription.epoch();
            self.in_hand.forget();
            self.suspect = None;
        }
    }

    fn accept(&mut self, message: lapin::message::Delivery, into: &mut Vec<Delivery>) {
        self.forget_what_was_taken_back();
        let is_suspect = comebacks(&message.properties) >= COMEBACKS_OF_A_SUSPECT;
        if is_suspect && take_apart(&message.data).len() > 1 {
            self.suspect = Some(self.in_hand.take(message, 1));
            return;
        }
        if is_suspect && self.subscription.pace() == Some(Pace::Full) {
            let queue = self.subscription.queue();
            warn!(queue, "an event came back twice; it is handed out alone");
            self.subscription.turn(Pace::Single, message);
            return;
        }
        // What was returned comes before all else, so suspects are through; one that comes late turns it
        // back.
        if !is_suspect && self.subscription.could_take_more() {
            self.subscription.turn(Pace::Full, message);
            return;
        }
        let attempts = attempts(&message.properties);
        let events = decode(&message.data);
        let DeliveryTag(first) = self.in_hand.take(message, events.len());
        into.extend((first..).zip(events).map(|(tag, event)| Delivery {
            tag: DeliveryTag(tag),
            event,
            attempts,
        }));
    }

    /// Publishes each event of the suspect alone to the queue, then acknowledges the pack.
    async fn take_suspect_apart(&mut self) {
        self.forget_what_was_taken_back();
        let Some(tag) = self.suspect else {
            return;
        };
        if let Some(pack) = self.in_hand.message(tag) {
            let queue = self.subscription.queue();
            let copies = split(pack, queue);
            let events = copies.len();
            warn!(
                queue,
                events, "a pack came back twice; its events are tried one by one"
            );
            self.publish_then_settle(&[tag], copies).await;
        }
        self.suspect = None;
    }

    /// Publishes copies until they are confirmed, or until the broker has taken the originals back.
    async fn publish_then_settle(&mut self, originals: &[DeliveryTag], copies: Vec<Parcel>) {
        let mut backoff = Backoff::new();
        while self.subscription.is_alive() {
            match self.publisher.publish(copies.clone()).await {
                Ok(()) => {
                    originals.iter().for_each(|tag| self.in_hand.settle(*tag));
                    self.acknowledge();
                    return;
                }
                Err(error) => {
                    let (queue, failure) = (self.subscription.queue(), chain(&error));
                    warn!(queue, failure, "copies are not published yet; trying again");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    fn acknowledge(&mut self) {
        let acknowledgements = self.in_hand.acknowledgements();
        self.subscription.acknowledge(acknowledgements);
    }

    fn tier(&self, after: Duration) -> Address {
        match self.settings.retry.tier(after) {
            Some(delay) => self.waiting_in(self.settings.names.tier(delay)),
            None => self.parking(),
        }
    }

    fn parking(&self) -> Address {
        self.waiting_in(self.settings.names.dead_letter())
    }

    /// What waits there belongs to this queue.
    fn waiting_in(&self, exchange: String) -> Address {
        Address::Queue {
            exchange,
            key: self.subscription.queue().to_owned(),
        }
    }

    /// The events that are still in hand, and a copy of each.
    fn copies(&self, failed: Vec<Unhandled>) -> (Vec<DeliveryTag>, Vec<Parcel>) {
        let tags: Vec<_> = failed.iter().map(|event| event.tag).collect();
        let events = self.in_hand.events(tags.into_iter());
        let copies = failed.into_iter().zip(events).filter_map(|(of, event)| {
            let (delivery, json) = event?;
            let failed = Failed {
                delivery,
                json,
                service: self.service,
                failure: &of.failure,
                at: Timestamp::now(),
            };
            Some((of.tag, failed.copy_to(of.to)))
        });
        copies.unzip()
    }
}

/// An event that goes to a retry tier or a dead-letter queue.
struct Unhandled {
    tag: DeliveryTag,
    to: Address,
    failure: String,
}

#[async_trait]
impl Consumer for WorkConsumer {
    async fn receive(&mut self, max: usize) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        while deliveries.is_empty() {
            self.take_suspect_apart().await;
            let message = self.subscription.next().await;
            self.accept(message, &mut deliveries);
            while self.suspect.is_none() && deliveries.len() < max {
                let Some(message) = self.subscription.next_ready() else {
                    break;
                };
                self.accept(message, &mut deliveries);
            }
            // A pack of nothing is settled as it comes.
            self.acknowledge();
        }
        deliveries
    }

    async fn settle(&mut self, settlements: Vec<(DeliveryTag, Settlement)>) {
        self.forget_what_was_taken_back();
        let mut failed = Vec::new();
        for (tag, settlement) in settlements {
            let (to, failure) = match settlement {
                Settlement::Done => {
                    self.in_hand.settle(tag);
                    continue;
                }
                Settlement::Retry { after, failure } => (self.tier(after), failure),
                Settlement::DeadLetter { failure } => (self.parking(), failure),
            };
            failed.push(Unhandled { tag, to, failure });
        }
        self.acknowledge();
        let (originals, copies) = self.copies(failed);
        if !originals.is_empty() {
            self.publish_then_settle(&originals, copies).await;
        }
    }
}

/// The end events for one gateway instance. They are acknowledged as they are sent: the queue dies
/// with the connection anyway, and who misses one asks the ledger.
pub(super) struct ReplyConsumer {
    subscription: Subscription,
    replies: Replies,
}

/// What is taken of them so far.
struct Replies {
    returns: Arc<Returns>,
    next_tag: u64,
}

impl ReplyConsumer {
    pub(super) fn new(subscription: Subscription, returns: &Arc<Returns>) -> Self {
        Self {
            subscription,
            replies: Replies::new(returns),
        }
    }
}

impl Replies {
    fn new(returns: &Arc<Returns>) -> Self {
        Self {
            returns: Arc::clone(returns),
            next_tag: 0,
        }
    }

    fn accept(&mut self, message: &lapin::message::Delivery, into: &mut Vec<Delivery>) {
        let events = decode(&message.data);
        let sagas = events.iter().flatten().map(|event| event.saga_id);
        self.returns.ended(sagas);
        for event in events {
            into.push(Delivery {
                tag: DeliveryTag(self.next_tag),
                event,
                attempts: 0,
            });
            self.next_tag += 1;
        }
    }
}

#[async_trait]
impl Consumer for ReplyConsumer {
    async fn receive(&mut self, max: usize) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        while deliveries.is_empty() {
            let message = self.subscription.next().await;
            self.replies.accept(&message, &mut deliveries);
            while deliveries.len() < max {
                let Some(message) = self.subscription.next_ready() else {
                    break;
                };
                self.replies.accept(&message, &mut deliveries);
            }
        }
        deliveries
    }

    async fn settle(&mut self, _settlements: Vec<(DeliveryTag, Settlement)>) {}
}

#[cfg(test)]
mod tests {
    use events::Event;
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_saga_is_back_when_its_reply_is_there() {
        let golden = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../events/tests/golden/TicketAdded.v1.json"
        );
        let reply = std::fs::read(golden).unwrap();
        let saga = Event::from_json(&reply).unwrap().saga_id;
        let returns = Arc::new(Returns::default());
        let mut replies = Replies::new(&returns);
        returns.left([saga].into_iter());
        assert!(returns.are_back(1).now_or_never().is_none());
        let reply = lapin::message::Delivery::mock(1, "".into(), "".into(), false, reply);
        replies.accept(&reply, &mut Vec::new());
        assert!(returns.are_back(1).now_or_never().is_some());
    }
}
