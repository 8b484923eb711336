//! Finds a place in the journal's stream: its last message, or the first one of a point in time.
//!
//! AMQP has no question for either, so a consumer is attached there and shows what it is sent. The
//! channel's own process on the broker reads the stream and answers requests, one after the other:
//! what was there when a request was sent is delivered before its answer. So a round trip proves,
//! without a clock, that nothing more is there by now.

use std::time::Duration;

use events::Timestamp;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, Consumer};
use tracing::warn;

use super::connection::{Link, Settings, Trouble, short};
use super::copy::text;
use super::journal::offset_of;
use crate::bus::TopologyError;
use crate::retry::Backoff;

/// How many messages of the last chunk are on their way to us at a time.
const PREFETCH: u16 = 512;
/// A stream writes at most some four thousand messages as one chunk, which these round trips show
/// twice over. They end a look at a journal that grows as fast as it is looked at.
const ROUND_TRIPS: usize = 16;
/// A stream that holds something sends it within milliseconds; one that starts, within seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// The broker counts messages now and then, so a count of zero is not believed at once.
const EMPTY: Duration = Duration::from_secs(1);
/// How far apart the clocks of publishers and broker may be. As much more is read.
const CLOCKS: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Last,
    /// The first message the broker took at this time or later, or the last one if there is none.
    At(Timestamp),
}

/// The offset of the place; none if the journal is empty. Waits for a broker that is away.
pub(super) async fn find(settings: &Settings, place: Place) -> Result<Option<i64>, TopologyError> {
    let mut backoff = Backoff::new();
    loop {
        match try_find(settings, place).await {
            Ok(found) => return Ok(found),
            Err(Trouble::Topology(error)) => return Err(error),
            Err(trouble) => warn!(%trouble, "the journal cannot be looked at; it is tried again"),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

async fn try_find(settings: &Settings, place: Place) -> Result<Option<i64>, Trouble> {
    let link = Link::open(settings, "journal").await?;
    let found = look(&link.connection, &settings.names.journal(), place).await;
    link.close("found").await;
    found
}

async fn look(connection: &Connection, queue: &str, place: Place) -> Result<Option<i64>, Trouble> {
    let channel = connection.create_channel().await?;
    // Attached first, it is served first.
    let mut wanted = match place {
        Place::Last => None,
        Place::At(at) => Some(attach(&channel, queue, 1, seconds(at)).await?),
    };
    let mut last = attach(&channel, queue, PREFETCH, text("last")).await?;
    let patience = match count(&channel, queue).await? {
        0 => EMPTY,
        _ => PATIENCE,
    };
    let Ok(first) = tokio::time::timeout(patience, last.next()).await else {
        return if patience == EMPTY {
            Ok(None)
        } else {
            Err(Trouble::Stalled)
        };
    };
    let end = last_offset(&channel, queue, &mut last, first.ok_or(Trouble::Lost)??).await?;
    let found = wanted
        .as_mut()
        .and_then(|wanted| wanted.next().now_or_never());
    match found.flatten() {
        Some(message) => Ok(offset_of(&message?).or(end)),
        None => Ok(end),
    }
}

/// The offset of the last message that is there, of which the first one of its chunk has come.
async fn last_offset(
    channel: &Channel,
    queue: &str,
    last: &mut Consumer,
    first: Delivery,
) -> Result<Option<i64>, Trouble> {
    let mut newest = first;
    for _ in 0..ROUND_TRIPS {
        let options = BasicAckOptions { multiple: true };
        channel.basic_ack(newest.delivery_tag, options).await?;
        count(channel, queue).await?;
        let before = newest.delivery_tag;
        while let Some(next) = last.next().now_or_never() {
            newest = next.ok_or(Trouble::Lost)??;
        }
        if newest.delivery_tag == before {
            break;
        }
    }
    Ok(offset_of(&newest))
}

async fn attach(
    channel: &Channel,
    queue: &str,
    prefetch: u16,
    from: AMQPValue,
) -> Result<Consumer, Trouble> {
    let attached = try_attach(channel, queue, prefetch, from).await;
    attached.map_err(|error| Trouble::of_consuming(queue, error))
}

async fn try_attach(
    channel: &Channel,
    queue: &str,
    prefetch: u16,
    from: AMQPValue,
) -> lapin::Result<Consumer> {
    channel
        .basic_qos(prefetch, BasicQosOptions::default())
        .await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), from);
    let options = BasicConsumeOptions::default();
    channel
        .basic_consume(short(queue)?, "".into(), options, arguments)
        .await
}

/// Asks for the number of messages, which is also the round trip.
pub(super) async fn count(channel: &Channel, queue: &str) -> Result<u32, Trouble> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let found = channel
        .queue_declare(short(queue)?, passive, FieldTable::default())
        .await;
    let found = found.map_err(|error| Trouble::with(format!("queue {queue}"), error))?;
    Ok(found.message_count())
}

/// As AMQP writes a time, with room for the difference of clocks.
fn seconds(at: Timestamp) -> AMQPValue {
    let seconds = at.as_micros() / 1_000_000;
    let seconds = u64::try_from(seconds).unwrap_or(0);
    AMQPValue::Timestamp(seconds.saturating_sub(CLOCKS.as_secs()))
}
