//! What a consumer needs on the broker: its queue, its bounds, and where to start. Opened anew on each
//! connection, replies queue included, because that queue dies with the connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection};

use super::connection::{Settings, Trouble, short, shortened};
use crate::bus::Queue;

/// What to consume, and how.
pub(super) struct Spec {
    consuming: Consuming,
    kind: Kind,
}

/// How any queue is consumed.
#[derive(Clone, Debug)]
struct Consuming {
    queue: String,
    consumer_tag: String,
    prefetch: u16,
}

/// How much a consumer has in hand at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// As much as it is configured for.
    Full,
    /// One message, so that whatever becomes of it becomes of it alone.
    Single,
}

enum Kind {
    Work,
    /// Ours alone, declared with each connection.
    Replies {
        exchange: String,
        pattern: String,
    },
    /// From the message before the offset that is next by then.
    Journal {
        next: Arc<AtomicI64>,
    },
}

/// A consumer that holds its tag.
pub(super) struct Opened {
    pub(super) pace: Pace,
    pub(super) channel: Channel,
    deliveries: lapin::Consumer,
    /// What was delivered at the pace before and comes first.
    left_over: VecDeque<Delivery>,
    consuming: Consuming,
}

/// A consumer that is about to have another pace.
pub(super) type Turning = BoxFuture<'static, Result<Opened, Trouble>>;

impl Opened {
    /// The next message. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<lapin::Result<Delivery>> {
        match self.left_over.pop_front() {
            Some(delivery) => Some(Ok(delivery)),
            None => self.deliveries.next().await,
        }
    }

    /// Consumes at another pace, on the same channel: what is in hand stays there, and can be settled.
    /// With one message at a time, all others, `untaken` first, are back in their queue before the
    /// broker hands out anything, because it works a channel's requests off in order. A new channel
    /// could overtake the end of the old one, and be given what comes behind the messages that go back.
    pub(super) fn turn(self, pace: Pace, untaken: Option<Delivery>) -> Turning {
        let queue = self.consuming.queue.clone();
        let turned = self.try_turn(pace, untaken);
        async move {
            turned
                .await
                .map_err(|error| Trouble::of_consuming(&queue, error))
        }
        .boxed()
    }

    async fn try_turn(mut self, pace: Pace, untaken: Option<Delivery>) -> lapin::Result<Self> {
        let tag = self.consuming.tag(self.pace);
        let options = BasicCancelOptions::default();
        self.channel.basic_cancel(tag, options).await?;
        let mut untaken = VecDeque::from_iter(untaken);
        untaken.append(&mut self.left_over);
        // All that was ever delivered is there by now.
        while let Some(Some(delivered)) = self.deliveries.next().now_or_never() {
            untaken.push_back(delivered?);
        }
        if pace == Pace::Single {
            for back in untaken.drain(..) {
                give_back(&self.channel, back.delivery_tag).await?;
            }
        }
        let options = BasicConsumeOptions::default();
        let consuming = self.consuming;
        let turned = consuming.start(self.channel, pace, options, FieldTable::default());
        Ok(Self {
            left_over: untaken,
            ..turned.await?
        })
    }
}

async fn give_back(channel: &Channel, delivery_tag: u64) -> lapin::Result<()> {
    let options = BasicNackOptions {
        requeue: true,
        ..BasicNackOptions::default()
    };
    channel.basic_nack(delivery_tag, options).await
}

impl Consuming {
    fn tag(&self, pace: Pace) -> ShortString {
        match pace {
            Pace::Full => shortened(&self.consumer_tag),
            Pace::Single => shortened(&format!("{}.one-by-one", self.consumer_tag)),
        }
    }

    async fn start(
        self,
        channel: Channel,
        pace: Pace,
        options: BasicConsumeOptions,
        arguments: FieldTable,
    ) -> lapin::Result<Opened> {
        let prefetch = match pace {
            Pace::Single => 1,
            Pace::Full => self.prefetch,
        };
        let bounded = BasicQosOptions::default();
        channel.basic_qos(prefetch, bounded).await?;
        let deliveries = channel
            .basic_consume(short(&self.queue)?, self.tag(pace), options, arguments)
            .await?;
        Ok(Opened {
            pace,
            channel,
            deliveries,
            left_over: VecDeque::new(),
            consuming: self,
        })
    }
}

impl Spec {
    pub(super) fn consuming(settings: &Settings, queue: &Queue) -> Self {
        let names = &settings.names;
        let (queue, kind) = match queue {
            Queue::Work(step) => (names.work(step), Kind::Work),
            Queue::Replies { instance } => {
                let replies = Kind::Replies {
                    exchange: names.router(events::Class::Event),
                    pattern: format!("*.{instance}"),
                };
                (names.replies(instance), replies)
            }
        };
        Self::new(settings, queue, kind)
    }

    pub(super) fn journal(settings: &Settings, next: Arc<AtomicI64>) -> Self {
        Self::new(settings, settings.names.journal(), Kind::Journal { next })
    }

    fn new(settings: &Settings, queue: String, kind: Kind) -> Self {
        // The one that came alone may still be in hand.
        let alone = u16::from(matches!(kind, Kind::Work));
        let consuming = Consuming {
            consumer_tag: format!("{}.{queue}", settings.client_name),
            prefetch: settings.prefetch.saturating_sub(alone).max(1),
            queue,
        };
        Self { consuming, kind }
    }

    pub(super) fn queue(&self) -> &str {
        &self.consuming.queue
    }

    pub(super) fn is_work(&self) -> bool {
        matches!(self.kind, Kind::Work)
    }

    /// Starts consuming, on a channel of its own.
    pub(super) async fn open(&self, connection: &Connection) -> Result<Opened, Trouble> {
        self.try_open(connection)
            .await
            .map_err(|error| Trouble::of_consuming(self.queue(), error))
    }

    async fn try_open(&self, connection: &Connection) -> lapin::Result<Opened> {
        let channel = connection.create_channel().await?;
        let mut arguments = FieldTable::default();
        let mut options = BasicConsumeOptions::default();
        let mut pace = Pace::Full;
        match &self.kind {
            // What took the process before down may be the first that comes.
            Kind::Work => pace = Pace::Single,
            Kind::Replies { exchange, pattern } => {
                self.declare_replies(&channel, exchange, pattern).await?;
                options.no_ack = true;
                options.exclusive = true;
            }
            Kind::Journal { next } => {
                let last_read = next.load(Ordering::Relaxed).saturating_sub(1).max(0);
                let from = AMQPValue::LongLongInt(last_read);
                arguments.insert("x-stream-offset".into(), from);
            }
        }
        let consuming = self.consuming.clone();
        consuming.start(channel, pace, options, arguments).await
    }

    async fn declare_replies(
        &self,
        channel: &Channel,
        exchange: &str,
        pattern: &str,
    ) -> lapin::Result<()> {
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        let (queue, none) = (short(self.queue())?, FieldTable::default);
        channel
            .queue_declare(queue.clone(), options, none())
            .await?;
        let (exchange, pattern) = (short(exchange)?, short(pattern)?);
        let bind = QueueBindOptions::default();
        channel
            .queue_bind(queue, exchange, pattern, bind, none())
            .await
    }
}
