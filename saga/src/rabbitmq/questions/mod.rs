//! Questions and answers over RabbitMQ: [`asker`] on the gateway's side, [`answerer`] on the
//! owner's.
//!
//! Each has a connection of its own, so that reading disturbs no event and waits for none: a broker
//! that blocks whoever publishes must not stop acknowledgements, nor a consumer of events. A question
//! is a plain message that expires when nobody waits for its answer any more; answers come over the
//! broker's direct reply-to, which needs no queue.

mod answerer;
mod asker;

use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use tokio::time::timeout;

use super::connection::{Link, Settings, Trouble, short, shortened};
use super::declare::declare_queue;
use super::topology::QueueDefinition;

pub(super) use answerer::answer;
pub(super) use asker::{Asker, asker};

/// A broker that blocks this connection is as good as away; a frame is handed over in microseconds.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(1);

/// Not kept on the broker's disk.
const TRANSIENT: u8 = 1;

/// A connection that takes messages from one place and sends others.
struct Line {
    channel: Channel,
    deliveries: lapin::Consumer,
    queue: String,
    link: Link,
}

impl Line {
    /// Connects under `<client>.<purpose>` and consumes the queue, which is declared or checked
    /// first if it is one of ours.
    async fn open(
        settings: &Settings,
        purpose: &str,
        queue: &str,
        ours: Option<&QueueDefinition>,
    ) -> Result<Self, Trouble> {
        let link = Link::connect(settings, purpose).await?;
        let channel = link.connection.create_channel().await?;
        if let Some(definition) = ours {
            let declared = declare_queue(&channel, definition, settings.checks_only()).await;
            declared.map_err(|error| Trouble::with(format!("queue {queue}"), error))?;
        }
        let tag = shortened(&format!("{}.{queue}", settings.client_name));
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let none = FieldTable::default();
        let consuming = channel.basic_consume(short(queue)?, tag, options, none);
        let deliveries = consuming
            .await
            .map_err(|error| Trouble::of_consuming(queue, error))?;
        Ok(Self {
            deliveries,
            queue: queue.to_owned(),
            channel,
            link,
        })
    }

    /// The next message. Dropping the future loses nothing.
    async fn next(&mut self) -> Result<Delivery, Trouble> {
        loop {
            tokio::select! {
                biased;
                event = self.link.events.next() => {
                    if event.is_none() || !self.link.is_alive() {
                        return Err(Trouble::Lost);
                    }
                }
                delivery = self.deliveries.next() => {
                    let queue = || self.queue.clone();
                    return Ok(delivery.ok_or_else(|| Trouble::Cancelled { queue: queue() })??);
                }
            }
        }
    }

    /// Sends a text straight to a queue, and does not wait for a confirm.
    async fn send(
        &mut self,
        queue: &str,
        text: &str,
        properties: BasicProperties,
    ) -> Result<(), Trouble> {
        let properties = properties
            .with_content_type("application/json".into())
            .with_delivery_mode(TRANSIENT);
        let options = BasicPublishOptions::default();
        let queue = short(queue)?;
        let sending =
            self.channel
                .basic_publish("".into(), queue, options, text.as_bytes(), properties);
        match timeout(HAND_OVER_LIMIT, sending).await {
            Ok(sent) => Ok(sent.map(drop)?),
            Err(_) => Err(Trouble::Stalled),
        }
    }
}
