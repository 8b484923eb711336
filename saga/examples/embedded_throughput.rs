//! How fast the embedded bus is on this machine: publish, consume, settle, at a number in flight.
//!
//! `cargo run --release -p saga --example embedded_throughput`

use std::sync::Arc;
use std::time::{Duration, Instant};

use events::choreography::PURCHASE_AND_REGISTER;
use events::{
    Event, MessageType, PurchaseAndRegister, SagaId, TicketId, Timestamp, UserId, UserTicketId,
};
use futures_util::future::join_all;
use saga::Tasks;
use saga::bus::{Bus, Consumer, Queue, Settlement};
use saga::embedded::{EmbeddedBus, EmbeddedConfig};
use saga::retry::RetryPolicy;
use tokio::sync::Semaphore;

type Failed = Box<dyn std::error::Error>;

fn event() -> Event {
    let saga_id = SagaId::mint();
    Event {
        id: Event::id_of(saga_id, MessageType::PurchaseAndRegister),
        source: "throughput".into(),
        time: Timestamp::now(),
        saga_id,
        causation_id: None,
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        reply_to: Some("gateway-1".into()),
        deadline: Some(Timestamp::now()),
        message: PurchaseAndRegister {
            user_id: UserId(7),
            ticket_id: TicketId(7),
            user_ticket_id: UserTicketId::mint(),
        }
        .into(),
    }
}

/// Consumes and settles this many, letting one more in for each.
async fn consume(consumer: &mut dyn Consumer, count: usize, room: &Semaphore) {
    let mut seen = 0;
    while seen < count {
        let batch = consumer.receive(1024).await;
        seen += batch.len();
        let settled = batch.iter().map(|d| (d.tag, Settlement::Done)).collect();
        consumer.settle(settled).await;
        room.add_permits(batch.len());
    }
}

/// Publishes this many, each in a call of its own, so many in flight.
async fn publish(bus: &Arc<dyn Bus>, count: usize, publishers: usize, room: &Semaphore) {
    let publisher = async || {
        for _ in 0..count / publishers {
            if let Ok(permit) = room.acquire().await {
                permit.forget();
            }
            if let Err(error) = bus.publish(&[event()]).await {
                panic!("{error}");
            }
        }
    };
    join_all((0..publishers).map(|_| publisher())).await;
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
    let config = EmbeddedConfig {
        path: folder.path().join("bus.db"),
        retry: RetryPolicy::default(),
        prefetch: 2_048,
    };
    let tasks = Tasks::new();
    let bus: Arc<dyn Bus> = EmbeddedBus::open(config, &tasks).await?;
    let queue = || Queue::Work(&PURCHASE_AND_REGISTER.steps[0]);
    for (in_flight, count) in [(1, 500), (64, 12_800), (1_000, 40_000)] {
        let mut consumer = bus.consume(queue()).await?;
        let room = Semaphore::new(in_flight);
        let begun = Instant::now();
        tokio::join!(
            consume(consumer.as_mut(), count, &room),
            publish(&bus, count, in_flight, &room)
        );
        report(&format!("{in_flight} in flight"), count, begun.elapsed());
    }
    for backlog in [20_000, 200_000] {
        let events: Vec<_> = (0..1_000).map(|_| event()).collect();
        for _ in 0..backlog / 1_000 {
            bus.publish(&events).await?;
        }
        let (mut consumer, room) = (bus.consume(queue()).await?, Semaphore::new(0));
        let begun = Instant::now();
        consume(consumer.as_mut(), backlog, &room).await;
        report(
            &format!("drain a backlog of {backlog}"),
            backlog,
            begun.elapsed(),
        );
    }
    bus.close().await;
    Ok(())
}

fn report(what: &str, count: usize, elapsed: Duration) {
    let rate = count as f64 / elapsed.as_secs_f64();
    println!("{what}: {rate:.0} events/s");
}
