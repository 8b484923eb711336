//! Retry tiers and dead-letter queues.

use std::time::{Duration, Instant};

use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::AMQPValue;
use saga::bus::{Bus, Settlement};

use crate::broker::{PURCHASE, commands, drain, purchases, with_broker, within};

const DELAY: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_failed_event_comes_back_alone_after_the_delay_with_its_attempt_counted() {
    with_broker(async |broker| {
        a_failed_event_is_tried_again(&*broker.bus().await).await;
        assert_eq!(broker.depth(PURCHASE).await, 0);
    })
    .await;
}

pub(crate) async fn a_failed_event_is_tried_again(bus: &impl Bus) {
    let events = commands(3);
    bus.publish(&events).await.unwrap();
    let mut consumer = purchases(bus).await;
    let pack = consumer.receive(10).await;
    assert_eq!(pack.len(), 3);
    let failed_at = Instant::now();
    let retry = Settlement::Retry {
        after: DELAY,
        failure: "on purpose".to_owned(),
    };
    let settlements = [Settlement::Done, retry, Settlement::Done];
    let tags = pack.iter().map(|delivery| delivery.tag);
    consumer.settle(tags.zip(settlements).collect()).await;
    let again = within("the retry", consumer.receive(10)).await;
    assert!(failed_at.elapsed() >= DELAY, "it waited in no retry tier");
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].event.as_ref().unwrap(), &events[1]);
    assert_eq!(again[0].attempts, 1);
    consumer
        .settle(vec![(again[0].tag, Settlement::Done)])
        .await;
}

#[tokio::test]
async fn a_parked_event_is_in_the_dead_letter_queue_with_its_story() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        let events = commands(2);
        bus.publish(&events).await.unwrap();
        let mut consumer = purchases(&*bus).await;
        let pack = consumer.receive(10).await;
        let retry = Settlement::Retry {
            after: DELAY,
            failure: "first".to_owned(),
        };
        let settlements = [(pack[0].tag, Settlement::Done), (pack[1].tag, retry)];
        consumer.settle(settlements.into()).await;
        let again = within("the retry", consumer.receive(10)).await;
        let park = Settlement::DeadLetter {
            failure: "second".to_owned(),
        };
        consumer.settle(vec![(again[0].tag, park)]).await;
        let parked = broker.get(&format!("{PURCHASE}.dlq")).await;
        assert_eq!(parked.data, events[1].to_json());
        assert_eq!(header(&parked, "x-saga-attempts"), "2");
        assert_eq!(header(&parked, "x-saga-failure"), "second");
        assert_eq!(header(&parked, "x-saga-service"), "ticket-worker");
        let front = broker.name("saga.commands");
        assert_eq!(header(&parked, "x-saga-original-exchange"), front);
        let key = header(&parked, "x-saga-original-routing-key");
        assert_eq!(key, "PurchaseAndRegister");
        let (first, last) = ("x-saga-first-failure", "x-saga-last-failure");
        assert!(header(&parked, first) < header(&parked, last));
        let id = parked.properties.correlation_id().as_ref().unwrap();
        assert_eq!(id.as_str(), events[1].saga_id.to_string());
    })
    .await;
}

#[tokio::test]
async fn bytes_that_are_no_event_are_parked_to_the_letter() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        // There before the message is, which does not wait for long.
        let mut consumer = purchases(&*bus).await;
        let body = b"{\"specversion\" : \"9.9\"}\n";
        // Kept, it would be gone from the dead-letter queue by the time anyone looks.
        let came_with = BasicProperties::default()
            .with_app_id("someone".into())
            .with_expiration("500".into());
        broker.publish_raw(PURCHASE, body, came_with).await;
        let received = consumer.receive(1).await;
        let failure = received[0].event.as_ref().unwrap_err().to_string();
        consumer
            .settle(vec![(received[0].tag, Settlement::DeadLetter { failure })])
            .await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        let parked = broker.get(&format!("{PURCHASE}.dlq")).await;
        assert_eq!(parked.data, body);
        let app_id = parked.properties.app_id().as_ref().unwrap();
        assert_eq!(app_id.as_str(), "someone");
    })
    .await;
}

#[tokio::test]
async fn an_event_that_came_back_once_is_still_handled_in_its_pack() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        let events = commands(4);
        bus.publish(&events).await.unwrap();
        let mut consumer = purchases(&*bus).await;
        assert_eq!(consumer.receive(10).await.len(), 4);
        drop(consumer);
        let mut consumer = purchases(&*bus).await;
        let again = within("the pack", consumer.receive(1)).await;
        assert_eq!(again.len(), 4, "one message");
        assert!(again.iter().all(|delivery| delivery.attempts == 0));
        drop(consumer);
        let mut consumer = purchases(&*bus).await;
        drain(&mut *consumer, 4).await;
    })
    .await;
}

fn header(message: &Delivery, name: &str) -> String {
    let headers = message.properties.headers().as_ref().unwrap();
    match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        Some(AMQPValue::LongInt(number)) => number.to_string(),
        other => panic!("{name}: {other:?}"),
    }
}
