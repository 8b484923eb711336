//! A worker whose database is away holds what it has in hand, and the broker allows that for a while
//! only (30 minutes by default): then 3.10 to 4.2 close its channel, and 4.3 ends its consumer.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use events::choreography::PURCHASE_AND_REGISTER;
use saga::bus::{Bus, Consumer, Delivery, Health, Queue, Settlement};
use saga::rabbitmq::{RabbitMqBus, RabbitMqConfig};
use saga::{SHUTDOWN_LIMIT, Tasks};
use system_tests::private_rabbitmq::PrivateRabbitMq;
use system_tests::purchase::purchase;
use tokio::time::timeout;

/// The broker looks once a minute, unless told to look more often.
const SOON: &str = "application:set_env(rabbit, consumer_timeout, 2000), \
    application:set_env(rabbit, channel_tick_interval, 500).";
/// A test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_past_the_brokers_limit_comes_again_and_the_consumer_goes_on() {
    let broker = PrivateRabbitMq::start_new();
    broker.control(&["eval", SOON]);
    let tasks = Tasks::new();
    let config = RabbitMqConfig::new(broker.url(), "timeout-test");
    let bus = RabbitMqBus::start(config, &tasks).unwrap();
    let step = &PURCHASE_AND_REGISTER.steps[0];
    let mut consumer = bus.consume(Queue::Work(step)).await.unwrap();
    let mut health = bus.health();
    let up = timeout(PATIENCE, health.wait_for(Health::is_up)).await;
    up.unwrap().unwrap();

    let events = [purchase(1), purchase(2)];
    bus.publish(&events[..1]).await.unwrap();
    assert_eq!(received(&mut *consumer).await.event.unwrap(), events[0]);
    let again = received(&mut *consumer).await;
    assert_eq!(again.event.unwrap(), events[0]);
    assert_eq!(again.attempts, 0, "nothing has failed");
    consumer.settle(vec![(again.tag, Settlement::Done)]).await;

    bus.publish(&events[1..]).await.unwrap();
    let next = received(&mut *consumer).await;
    assert_eq!(next.event.unwrap(), events[1]);
    consumer.settle(vec![(next.tag, Settlement::Done)]).await;
    drop(consumer);
    bus.close().await;
    tasks.stop();
    tasks.join(SHUTDOWN_LIMIT).await.unwrap();
}

async fn received(consumer: &mut dyn Consumer) -> Delivery {
    let received = timeout(PATIENCE, consumer.receive(1)).await;
    received.unwrap().remove(0)
}
