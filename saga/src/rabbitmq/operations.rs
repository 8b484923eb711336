//! The record of operators' actions: a stream beside the journal. A stream is append only, is not
//! emptied by who reads it, and needs nothing but the broker that the dead letters are on.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tracing::warn;

use super::connection::{Settings, Trouble, short};
use super::copy::text;
use super::declare::{TopologyMode, declare_queue};
use super::topology;
use crate::dead_letters::Recorded;

/// How many entries are on their way to us at a time; a stream insists on a bound.
const PREFETCH: u16 = 256;
/// Nothing came for so long: that was the end. Longer while the broker says there is more.
const END: Duration = Duration::from_millis(300);
const MORE: Duration = Duration::from_secs(5);

/// Makes sure that the stream is there.
pub(super) async fn declare(channel: &Channel, settings: &Settings) -> Result<(), Trouble> {
    let queue = topology::operations(&settings.names);
    let passive = settings.mode == TopologyMode::Check;
    let declared = declare_queue(channel, &queue, passive).await;
    declared.map_err(|error| Trouble::with(format!("queue {}", queue.name), error))
}

/// Shows every entry; none if nobody ever did anything.
pub(super) async fn read(
    connection: &Connection,
    settings: &Settings,
    visit: Recorded<'_>,
) -> Result<(), Trouble> {
    let queue = settings.names.operations();
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let found = channel.queue_declare(short(&queue)?, passive, FieldTable::default());
    let count = match found.await {
        Ok(found) => found.message_count(),
        Err(error) => match Trouble::with(queue, error) {
            Trouble::Missing { .. } => return Ok(()),
            trouble => return Err(trouble),
        },
    };
    read_all(&channel, &queue, count, visit).await?;
    channel.close(200, "read".into()).await?;
    Ok(())
}

async fn read_all(
    channel: &Channel,
    queue: &str,
    count: u32,
    visit: Recorded<'_>,
) -> Result<(), Trouble> {
    let bounded = BasicQosOptions::default();
    channel.basic_qos(PREFETCH, bounded).await?;
    let mut from_the_start = FieldTable::default();
    from_the_start.insert("x-stream-offset".into(), text("first"));
    let options = BasicConsumeOptions::default();
    let mut deliveries = channel
        .basic_consume(short(queue)?, "".into(), options, from_the_start)
        .await?;
    let mut read = 0;
    loop {
        let patience = if read < count { MORE } else { END };
        let Ok(next) = tokio::time::timeout(patience, deliveries.next()).await else {
            return Ok(());
        };
        let delivery = next.ok_or(Trouble::Lost)??;
        read += 1;
        delivery.ack(BasicAckOptions::default()).await?;
        match serde_json::from_slice(&delivery.data) {
            Ok(entry) => visit(entry),
            Err(error) => warn!(%error, queue, "an entry is not readable by this build"),
        }
    }
}
