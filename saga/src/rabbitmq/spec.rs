//! What a consumer needs on the broker: its queue, its bounds, and where to start. Opened anew on each
//! connection, replies queue included, because that queue dies with the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection};

use super::connection::{Settings, Trouble, short};
use super::pace::{Consuming, Opened, Pace};
use crate::bus::Queue;

/// What to consume, and how.
pub(super) struct Spec {
    consuming: Consuming,
    kind: Kind,
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
        // The one that a consumer began with may still be in hand.
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
        consuming.open(channel, pace, options, arguments).await
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
