//! The two things a saga cannot be faster than, measured bare: one commit, and one hop over the
//! broker. Each is timed one at a time, as at one saga in flight.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::try_join;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Consumer};
use sqlx::{Connection, PgConnection};

use crate::failure::BenchError;
use crate::meter::median;
use crate::relay;
use crate::sample;

/// Enough for a steady median, little enough to take a second.
const TIMES: usize = 400;
/// Connections warm up, plans are cached, a new queue elects its leader.
const WARM_UP: usize = 50;

/// The medians.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bare {
    pub(crate) commit: Duration,
    pub(crate) hop: Duration,
}

pub(crate) async fn measure(
    amqp_url: &str,
    queue: &str,
    database_url: &str,
) -> Result<Bare, BenchError> {
    Ok(Bare {
        commit: commit(database_url).await?,
        hop: hop(amqp_url, queue).await?,
    })
}

/// Inserts single rows, one transaction each.
async fn commit(database_url: &str) -> Result<Duration, BenchError> {
    let mut connection = PgConnection::connect(database_url).await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS bare (id uuid PRIMARY KEY, event text NOT NULL)")
        .execute(&mut connection)
        .await?;
    let event = sample::one_event();
    let event = String::from_utf8_lossy(&event);
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..WARM_UP + TIMES {
        let began = Instant::now();
        sqlx::query("INSERT INTO bare VALUES ($1, $2)")
            .bind(uuid::Uuid::now_v7())
            .bind(event.as_ref())
            .execute(&mut connection)
            .await?;
        times.push(began.elapsed().as_secs_f64());
    }
    connection.close().await?;
    Ok(Duration::from_secs_f64(median(times.split_off(WARM_UP))))
}

/// Publishes to a quorum queue, and waits until the message is both confirmed and delivered.
async fn hop(amqp_url: &str, queue: &str) -> Result<Duration, BenchError> {
    let publishing = relay::connect(amqp_url, "bench hop, publishing").await?;
    let consuming = relay::connect(amqp_url, "bench hop, consuming").await?;
    let publisher = relay::confirming(&publishing).await?;
    let acker = consuming.create_channel().await?;
    let queue = ShortString::from(queue);
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    let durable = QueueDeclareOptions::durable();
    acker
        .queue_declare(queue.clone(), durable, arguments)
        .await?;
    let options = BasicConsumeOptions::default();
    let mut deliveries = acker
        .basic_consume(
            queue.clone(),
            "bench".into(),
            options,
            FieldTable::default(),
        )
        .await?;
    let event = sample::one_event();
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..WARM_UP + TIMES {
        let began = Instant::now();
        let sent = publish(&publisher, &queue, &event);
        let (_, tag) = try_join(sent, next(&mut deliveries, &queue)).await?;
        times.push(began.elapsed().as_secs_f64());
        acker.basic_ack(tag, BasicAckOptions::default()).await?;
    }
    let gone = QueueDeleteOptions::default();
    acker.queue_delete(queue, gone).await?;
    for connection in [publishing, consuming] {
        connection.close(200, "measured".into()).await?;
    }
    Ok(Duration::from_secs_f64(median(times.split_off(WARM_UP))))
}

async fn publish(channel: &Channel, queue: &ShortString, event: &[u8]) -> Result<(), BenchError> {
    let properties = BasicProperties::default().with_delivery_mode(relay::PERSISTENT);
    let options = BasicPublishOptions::default();
    let confirm = channel
        .basic_publish("".into(), queue.clone(), options, event, properties)
        .await?;
    match confirm.await? {
        Confirmation::Ack(None) => Ok(()),
        other => Err(BenchError::NotConfirmed {
            answer: format!("{other:?}"),
        }),
    }
}

async fn next(deliveries: &mut Consumer, queue: &ShortString) -> Result<u64, BenchError> {
    match deliveries.next().await.transpose()? {
        Some(delivery) => Ok(delivery.delivery_tag),
        None => Err(BenchError::Cancelled {
            queue: queue.to_string(),
        }),
    }
}

/// Removes the queue, if a measurement was cut short.
pub(crate) async fn clean_up(amqp_url: &str, queue: &str) -> Result<(), BenchError> {
    let connection = relay::connect(amqp_url, "bench clean-up").await?;
    let channel = connection.create_channel().await?;
    let options = QueueDeleteOptions::default();
    channel.queue_delete(queue.into(), options).await?;
    Ok(connection.close(200, "cleaned up".into()).await?)
}
