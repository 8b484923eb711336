//! The tests of this adapter have teeth: each mistake, planted with a wrapper around the bus, makes a
//! claim fail that holds as shipped.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use events::Event;
use futures_util::FutureExt;
use saga::bus::{
    Bus, Consumer, Delivery, DeliveryTag, Health, JournalReader, JournalStart, PublishError, Queue,
    Settlement, TopologyError,
};
use saga::rabbitmq::RabbitMqBus;
use tokio::sync::watch;

use crate::broker::with_broker;
use crate::failures::a_failed_event_is_tried_again;
use crate::topology::unroutable_events_are_told_apart;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bug {
    /// What failed goes back to its queue, as by `basic.nack` with `requeue`: at once, with all that
    /// travelled with it, and without an attempt counted.
    RequeuesWithNack,
    /// A message that the broker returned counts as published.
    DropsReturns,
}

struct WrongBus {
    bug: Bug,
    inner: Arc<RabbitMqBus>,
}

struct WrongConsumer {
    inner: Box<dyn Consumer>,
    bus: Arc<RabbitMqBus>,
    queue: Queue,
}

#[async_trait]
impl Bus for WrongBus {
    async fn publish(&self, events: &[Event]) -> Result<(), PublishError> {
        match self.inner.publish(events).await {
            Err(PublishError::Unroutable { .. }) if self.bug == Bug::DropsReturns => Ok(()),
            published => published,
        }
    }

    async fn consume(&self, queue: Queue) -> Result<Box<dyn Consumer>, TopologyError> {
        let inner = self.inner.consume(queue.clone()).await?;
        Ok(match self.bug {
            Bug::RequeuesWithNack => Box::new(WrongConsumer {
                inner,
                bus: Arc::clone(&self.inner),
                queue,
            }),
            Bug::DropsReturns => inner,
        })
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
        self.inner.receive(max).await
    }

    async fn settle(&mut self, settlements: Vec<(DeliveryTag, Settlement)>) {
        let is_done = |(_, settlement): &(_, Settlement)| matches!(settlement, Settlement::Done);
        let (done, failed): (Vec<_>, Vec<_>) = settlements.into_iter().partition(is_done);
        self.inner.settle(done).await;
        if !failed.is_empty() {
            // The broker puts back what is left unsettled.
            self.inner = self.bus.consume(self.queue.clone()).await.unwrap();
        }
    }
}

/// Panics unless the claim fails on the bus with the bug.
async fn is_caught(bug: Bug, claim: impl AsyncFnOnce(&WrongBus, &crate::broker::Broker)) {
    with_broker(async |broker| {
        let inner = broker.bus().await;
        let wrong = WrongBus { bug, inner };
        let claimed = AssertUnwindSafe(claim(&wrong, broker)).catch_unwind().await;
        claimed.expect_err("not caught");
    })
    .await;
}

#[tokio::test]
async fn a_requeue_with_nack_is_caught() {
    is_caught(Bug::RequeuesWithNack, async |bus, _| {
        a_failed_event_is_tried_again(bus).await;
    })
    .await;
}

#[tokio::test]
async fn a_dropped_return_is_caught() {
    is_caught(Bug::DropsReturns, async |bus, broker| {
        unroutable_events_are_told_apart(bus, broker).await;
    })
    .await;
}
