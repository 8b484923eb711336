//! How much a consumer has in hand at a time, and how that changes on its channel
//! (docs/decisions/0015-one-in-hand-beside-a-suspect.md).

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;

use super::connection::{Trouble, short, shortened};

/// How much a consumer has in hand at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// As much as it is configured for.
    Full,
    /// One message, so that whatever becomes of it becomes of it alone.
    Single,
}

/// How any queue is consumed.
#[derive(Clone, Debug)]
pub(super) struct Consuming {
    pub(super) queue: String,
    pub(super) consumer_tag: String,
    pub(super) prefetch: u16,
}

/// A consumer that holds its tag.
pub(super) struct Opened {
    pub(super) pace: Pace,
    pub(super) channel: Channel,
    /// None while a suspect is out that came to the consumer before.
    deliveries: Option<lapin::Consumer>,
    /// Delivered to the consumer before; comes first.
    left_over: Option<Delivery>,
    /// How many consumers the channel has had before.
    before: u32,
    consuming: Consuming,
}

/// A consumer that is about to go on differently.
pub(super) type Turning = BoxFuture<'static, Result<Opened, Trouble>>;

impl Opened {
    /// The next message; none ever while it rests. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<lapin::Result<Delivery>> {
        match (self.left_over.take(), &mut self.deliveries) {
            (Some(delivery), _) => Some(Ok(delivery)),
            (None, Some(deliveries)) => deliveries.next().await,
            (None, None) => std::future::pending().await,
        }
    }

    /// Whether it takes one message at a time and could take more.
    pub(super) fn could_take_more(&self) -> bool {
        self.pace == Pace::Single && self.consuming.prefetch > 1
    }

    /// Whether nothing comes until it is told to [consume again](Self::consume_again).
    pub(super) fn is_resting(&self) -> bool {
        self.left_over.is_none() && self.deliveries.is_none()
    }

    /// Goes on at another pace, this message first. On the same channel: what is in hand stays there,
    /// and can be settled.
    pub(super) fn turn(self, pace: Pace, first: Delivery) -> Turning {
        let queue = self.consuming.queue.clone();
        let turned = async move {
            match pace {
                Pace::Full => self.take_more(first).await,
                Pace::Single => self.take_one(first).await,
            }
        };
        told_of(queue, turned)
    }

    /// Takes one message at a time again, after the one that it had alone is settled.
    pub(super) fn consume_again(self) -> Turning {
        let queue = self.consuming.queue.clone();
        told_of(queue, self.consume(Pace::Single, None))
    }

    /// Takes as many as there may be. The broker hands out no other one while this one is in hand.
    async fn take_more(mut self, first: Delivery) -> lapin::Result<Self> {
        self.end_consumer().await?;
        self.consume(Pace::Full, Some(first)).await
    }

    /// Keeps this one and gives all others back that are not taken yet.
    async fn take_one(mut self, first: Delivery) -> lapin::Result<Self> {
        let untaken = self.end_consumer().await?;
        let options = BasicNackOptions {
            requeue: true,
            ..BasicNackOptions::default()
        };
        for message in untaken {
            let back = self.channel.basic_nack(message.delivery_tag, options);
            back.await?;
        }
        Ok(Self {
            pace: Pace::Single,
            left_over: Some(first),
            ..self
        })
    }

    /// What it was given that nobody took.
    async fn end_consumer(&mut self) -> lapin::Result<Vec<Delivery>> {
        let mut untaken = Vec::new();
        if let Some(mut deliveries) = self.deliveries.take() {
            let (tag, options) = (deliveries.tag(), BasicCancelOptions::default());
            self.channel.basic_cancel(tag, options).await?;
            while let Some(Some(delivered)) = deliveries.next().now_or_never() {
                untaken.push(delivered?);
            }
        }
        Ok(untaken)
    }

    async fn consume(self, pace: Pace, left_over: Option<Delivery>) -> lapin::Result<Self> {
        let before = self.before + 1;
        // A tag that was used before may still have a message in hand.
        let tag = format!("{before}.{}", self.consuming.consumer_tag);
        let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
        let started = self
            .consuming
            .start(&self.channel, pace, tag, options, none);
        let deliveries = Some(started.await?);
        Ok(Self {
            pace,
            deliveries,
            left_over,
            before,
            ..self
        })
    }
}

fn told_of(
    queue: String,
    turned: impl Future<Output = lapin::Result<Opened>> + Send + 'static,
) -> Turning {
    let turned =
        turned.map(move |turned| turned.map_err(|error| Trouble::of_consuming(&queue, error)));
    turned.boxed()
}

impl Consuming {
    /// Starts consuming, as the first on its channel.
    pub(super) async fn open(
        self,
        channel: Channel,
        pace: Pace,
        options: BasicConsumeOptions,
        arguments: FieldTable,
    ) -> lapin::Result<Opened> {
        let tag = self.consumer_tag.clone();
        let started = self.start(&channel, pace, tag, options, arguments);
        let deliveries = Some(started.await?);
        Ok(Opened {
            pace,
            channel,
            deliveries,
            left_over: None,
            before: 0,
            consuming: self,
        })
    }

    async fn start(
        &self,
        channel: &Channel,
        pace: Pace,
        tag: String,
        options: BasicConsumeOptions,
        arguments: FieldTable,
    ) -> lapin::Result<lapin::Consumer> {
        let prefetch = match pace {
            Pace::Full => self.prefetch,
            Pace::Single => 1,
        };
        let bounded = BasicQosOptions::default();
        channel.basic_qos(prefetch, bounded).await?;
        let (queue, tag) = (short(&self.queue)?, shortened(&tag));
        channel.basic_consume(queue, tag, options, arguments).await
    }
}
