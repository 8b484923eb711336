//! One hop of the bare relay, as a process of its own like the service it stands for: takes messages
//! from the service's work queues, publishes the next one, and acknowledges once that is confirmed.
//!
//! It is as fast as one message per event gets: publishing never waits for the message before, at
//! most [`WINDOW`] confirms are outstanding, and whatever is confirmed together is acknowledged
//! together, by one `multiple`.

use events::choreography::{PURCHASE_AND_REGISTER, Step};
use futures_util::future::try_join_all;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, ConnectionProperties};
use saga::rabbitmq::topology::Names;

use super::template::Answers;
use crate::failure::BenchError;

/// Outstanding confirms of one publisher, as in the real system with packing off.
pub(crate) const WINDOW: usize = 256;
/// Several windows, so that the next messages are here when the confirms of the last arrive;
/// 512 to 4096 measured alike, 128 slower.
const PREFETCH: u16 = 1024;

/// Relays for this service until the process is ended.
pub(crate) async fn run(url: &str, namespace: &str, service: &str) -> Result<(), BenchError> {
    let names = Names::new(namespace);
    let publishing = connect(url, &format!("{service} relay, publishing")).await?;
    let consuming = connect(url, &format!("{service} relay, consuming")).await?;
    let steps = PURCHASE_AND_REGISTER.steps.iter();
    let steps = steps.filter(|step| step.service.0 == service);
    try_join_all(steps.map(|step| relay(&publishing, &consuming, &names, step))).await?;
    Ok(())
}

pub(crate) async fn connect(url: &str, name: &str) -> lapin::Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    Connection::connect(url, properties).await
}

/// A channel whose publishes are confirmed.
pub(crate) async fn confirming(connection: &Connection) -> lapin::Result<Channel> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(channel)
}

async fn relay(
    publishing: &Connection,
    consuming: &Connection,
    names: &Names,
    step: &Step,
) -> Result<(), BenchError> {
    let (publisher, answers) = (confirming(publishing).await?, Answers::of(step, names));
    let (acker, queue) = (
        consuming.create_channel().await?,
        ShortString::from(names.work(step)),
    );
    acker
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await?;
    let (tag, options) = ("relay".into(), BasicConsumeOptions::default());
    let mut deliveries = acker
        .basic_consume(queue.clone(), tag, options, FieldTable::default())
        .await?;
    let mut unconfirmed = FuturesOrdered::new();
    loop {
        tokio::select! {
            biased;
            Some(confirmed) = unconfirmed.next() => {
                let mut last = confirmed?;
                while let Some(Some(next)) = unconfirmed.next().now_or_never() {
                    last = next?;
                }
                acker.basic_ack(last, BasicAckOptions { multiple: true }).await?;
            }
            delivery = deliveries.next(), if unconfirmed.len() < WINDOW => {
                let Some(delivery) = delivery.transpose()? else {
                    return Err(BenchError::Cancelled { queue: queue.to_string() });
                };
                let saga = delivery.properties.correlation_id().clone().unwrap_or_default();
                let answer = answers.to(&saga);
                unconfirmed.push_back(answer.publish(&publisher, saga, delivery.delivery_tag));
            }
        }
    }
}
