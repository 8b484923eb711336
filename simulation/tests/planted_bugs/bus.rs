//! Mistakes around the bus: what is acknowledged when, and what counts as published.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use events::Event;
use saga::bus::{
    Bus, Consumer, Delivery, DeliveryTag, Health, JournalReader, JournalStart, PublishError, Queue,
    Settlement, TopologyError,
};
use simulation::assembly::Assembly;
use simulation::check::Violation;
use tokio::sync::watch;

use crate::is_caught;

/// What a message that was lost on the way leaves behind.
fn something_was_lost(violation: &Violation) -> bool {
    matches!(violation, Violation::NoEnd(_))
}

/// Which mistake a wrapped bus makes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum BusBug {
    AcknowledgesBeforeCommit,
    AcknowledgesBeforeConfirm,
    AcknowledgesAllWhenOneFailed,
    TakesALostPublishForDone,
}

impl Assembly for BusBug {
    fn bus(&self, inner: Arc<dyn Bus>) -> Arc<dyn Bus> {
        Arc::new(WrongBus {
            bug: *self,
            inner,
            unpublished: Arc::default(),
        })
    }
}

struct WrongBus {
    bug: BusBug,
    inner: Arc<dyn Bus>,
    /// Replies whose publishing was put off.
    unpublished: Arc<Mutex<Vec<Event>>>,
}

struct WrongConsumer {
    bug: BusBug,
    inner: Box<dyn Consumer>,
    bus: Arc<dyn Bus>,
    unpublished: Arc<Mutex<Vec<Event>>>,
}

#[async_trait]
impl Bus for WrongBus {
    async fn publish(&self, events: &[Event]) -> Result<(), PublishError> {
        match self.bug {
            BusBug::AcknowledgesBeforeConfirm => {
                self.unpublished.lock().unwrap().extend_from_slice(events);
                Ok(())
            }
            BusBug::TakesALostPublishForDone => {
                let _ = self.inner.publish(events).await;
                Ok(())
            }
            _ => self.inner.publish(events).await,
        }
    }

    async fn consume(&self, queue: Queue) -> Result<Box<dyn Consumer>, TopologyError> {
        Ok(Box::new(WrongConsumer {
            bug: self.bug,
            inner: self.inner.consume(queue).await?,
            bus: Arc::clone(&self.inner),
            unpublished: Arc::clone(&self.unpublished),
        }))
    }

    async fn read_journal(
        &self,
        from: JournalStart,
    ) -> Result<Box<dyn JournalReader>, TopologyError> {
        self.inner.read_journal(from).await
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.inner.health()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl Consumer for WrongConsumer {
    async fn receive(&mut self, max: usize) -> Vec<Delivery> {
        let deliveries = self.inner.receive(max).await;
        if self.bug == BusBug::AcknowledgesBeforeCommit {
            let readable = deliveries.iter().filter(|delivery| delivery.event.is_ok());
            let done = readable.map(|delivery| (delivery.tag, Settlement::Done));
            self.inner.settle(done.collect()).await;
        }
        deliveries
    }

    async fn settle(&mut self, settlements: Vec<(DeliveryTag, Settlement)>) {
        match self.bug {
            BusBug::AcknowledgesAllWhenOneFailed => {
                let tags = settlements.into_iter().map(|(tag, _)| tag);
                let done = tags.map(|tag| (tag, Settlement::Done));
                self.inner.settle(done.collect()).await;
            }
            BusBug::AcknowledgesBeforeConfirm => {
                self.inner.settle(settlements).await;
                let replies = std::mem::take(&mut *self.unpublished.lock().unwrap());
                while self.bus.publish(&replies).await.is_err() {}
            }
            _ => self.inner.settle(settlements).await,
        }
    }
}

#[test]
fn an_acknowledgement_before_the_commit_is_caught() {
    is_caught(BusBug::AcknowledgesBeforeCommit, something_was_lost);
}

#[test]
fn an_acknowledgement_before_the_confirm_is_caught() {
    is_caught(BusBug::AcknowledgesBeforeConfirm, something_was_lost);
}

#[test]
fn a_batch_that_is_acknowledged_although_one_of_it_failed_is_caught() {
    is_caught(BusBug::AcknowledgesAllWhenOneFailed, something_was_lost);
}

#[test]
fn a_lost_publish_that_is_taken_for_done_is_caught() {
    is_caught(BusBug::TakesALostPublishForDone, something_was_lost);
}
