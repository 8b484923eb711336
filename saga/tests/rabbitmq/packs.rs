//! Many events, few messages, and packs that keep coming back.

use std::collections::HashSet;
use std::time::Duration;

use events::{BATCH_CONTENT_TYPE, Event, PurchaseAndRegister, TicketId, UserId, UserTicketId};
use futures_util::StreamExt;
use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::AMQPValue;
use saga::bus::{Bus, Settlement};
use saga::rabbitmq::Packing;
use serde_json::{Value, json};

use crate::broker::{
    Broker, PURCHASE, command, commands, drain, none, purchases, with_broker, within,
};

#[tokio::test]
async fn events_published_together_travel_in_few_messages() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        let events = commands(1_200);
        bus.publish(&events).await.unwrap();
        let messages = broker.depth(PURCHASE).await;
        assert!((3..=6).contains(&messages), "{messages} messages");
        let first = broker.get(PURCHASE).await;
        let properties = first.properties;
        let content_type = properties.content_type().as_ref().unwrap();
        assert_eq!(content_type.as_str(), BATCH_CONTENT_TYPE);
        let encoding = properties.content_encoding().as_ref().unwrap();
        assert_eq!(encoding.as_str(), "lz4");
        let count = properties
            .headers()
            .as_ref()
            .unwrap()
            .inner()
            .get("x-events");
        let Some(AMQPValue::LongInt(count)) = count else {
            panic!("x-events is a number: {count:?}")
        };
        let mut consumer = purchases(&*bus).await;
        let drained = drain(&mut *consumer, 1_200 - usize::try_from(*count).unwrap()).await;
        assert_eq!(drained, events[events.len() - drained.len()..]);
    })
    .await;
}

#[tokio::test]
async fn with_packing_off_each_event_is_a_message() {
    with_broker(async |broker| {
        let mut config = broker.config.clone();
        config.packing = Packing::of(1);
        let bus = broker.bus_with(config).await;
        let events = commands(50);
        bus.publish(&events).await.unwrap();
        assert_eq!(broker.depth(PURCHASE).await, 50);
        let mut consumer = purchases(&*bus).await;
        assert_eq!(drain(&mut *consumer, 50).await, events);
    })
    .await;
}

#[tokio::test]
async fn receiving_stops_at_the_message_that_fills_the_batch() {
    with_broker(async |broker| {
        let mut config = broker.config.clone();
        config.packing = Packing::of(10);
        let bus = broker.bus_with(config).await;
        let mut consumer = purchases(&*bus).await;
        // It begins with one message, and takes more when it has seen one.
        bus.publish(&commands(1)).await.unwrap();
        within("the first", consumer.receive(1)).await;
        bus.publish(&commands(100)).await.unwrap();
        // All of it is on its way before anything is taken.
        broker.until_purchases_wait(0).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let two_messages = within("a batch", consumer.receive(15)).await;
        assert_eq!(two_messages.len(), 20);
        let one_message = within("the next", consumer.receive(1)).await;
        assert_eq!(one_message.len(), 10);
    })
    .await;
}

#[tokio::test]
async fn what_is_settled_is_gone_and_what_is_not_comes_again() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        let events = commands(3);
        bus.publish(&events).await.unwrap();
        let mut consumer = purchases(&*bus).await;
        let pack = consumer.receive(10).await;
        assert_eq!(pack.len(), 3);
        let done = pack[..2]
            .iter()
            .map(|delivery| (delivery.tag, Settlement::Done));
        consumer.settle(done.collect()).await;
        drop(consumer);
        let mut consumer = purchases(&*bus).await;
        assert_eq!(
            drain(&mut *consumer, 3).await,
            events,
            "the pack as a whole"
        );
        drop(consumer);
        let last = command();
        bus.publish(std::slice::from_ref(&last)).await.unwrap();
        let mut consumer = purchases(&*bus).await;
        assert_eq!(drain(&mut *consumer, 1).await, [last]);
    })
    .await;
}

#[tokio::test]
async fn a_pack_that_came_back_twice_is_tried_event_by_event() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        // Enough to be compressed.
        let events = commands(20);
        bus.publish(&events).await.unwrap();
        for _ in 0..2 {
            die_with_a_message(broker).await;
        }
        let mut consumer = purchases(&*bus).await;
        let mut seen = HashSet::new();
        while seen.len() < events.len() {
            let alone = within("an event alone", consumer.receive(1)).await;
            assert_eq!(alone.len(), 1);
            seen.insert(alone[0].event.as_ref().unwrap().id);
            consumer
                .settle(vec![(alone[0].tag, Settlement::Done)])
                .await;
        }
        assert_eq!(seen, events.iter().map(|event: &Event| event.id).collect());
        drop(consumer);
        assert_eq!(broker.depth(PURCHASE).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_damaged_pack_is_parked_as_it_is() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        bus.publish(&commands(20)).await.unwrap();
        let pack = broker.get(PURCHASE).await;
        assert!(pack.properties.content_encoding().is_some(), "compressed");
        let damaged = &pack.data[..pack.data.len() / 2];
        let mut consumer = purchases(&*bus).await;
        let properties = pack.properties.clone();
        broker.publish_raw(PURCHASE, damaged, properties).await;
        let received = within("the pack", consumer.receive(1)).await;
        let failure = received[0].event.as_ref().unwrap_err().to_string();
        let park = Settlement::DeadLetter { failure };
        consumer.settle(vec![(received[0].tag, park)]).await;
        let parked = broker.get(&format!("{PURCHASE}.dlq")).await;
        assert_eq!(parked.data, damaged);
    })
    .await;
}

#[tokio::test]
async fn a_message_that_is_no_event_harms_no_neighbour() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        broker
            .publish_raw(PURCHASE, b"[]", BasicProperties::default())
            .await;
        broker
            .publish_raw(PURCHASE, b"no json", BasicProperties::default())
            .await;
        let event = command();
        bus.publish(std::slice::from_ref(&event)).await.unwrap();
        let mut consumer = purchases(&*bus).await;
        let mut received = Vec::new();
        while received.len() < 2 {
            received.extend(within("both", consumer.receive(2)).await);
        }
        received[0].event.as_ref().unwrap_err();
        assert_eq!(received[1].event.as_ref().unwrap(), &event);
    })
    .await;
}

#[tokio::test]
async fn versions_mix_in_a_pack_and_an_earlier_one_arrives_as_todays_message() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        let today = command();
        let json: Value = serde_json::from_slice(&today.to_json()).unwrap();
        let mut earlier = json.clone();
        earlier["type"] = json!("PurchaseAndRegister.v0");
        earlier["data"] = json!({"id": 5, "userId": 7, "ticketId": 9});
        let pack = json!([earlier, json]).to_string();
        broker
            .publish_raw(PURCHASE, pack.as_bytes(), BasicProperties::default())
            .await;
        let mut consumer = purchases(&*bus).await;
        let received = within("both", consumer.receive(2)).await;
        let upcast = Event {
            message: PurchaseAndRegister {
                user_id: UserId(7),
                ticket_id: TicketId(9),
                user_ticket_id: UserTicketId(uuid::Uuid::from_u64_pair(0, 5)),
            }
            .into(),
            ..today.clone()
        };
        assert_eq!(received[0].event.as_ref().unwrap(), &upcast);
        assert_eq!(received[1].event.as_ref().unwrap(), &today);
    })
    .await;
}

/// Takes a message as a consumer, and is gone without a word about it.
async fn die_with_a_message(broker: &Broker) {
    let channel = broker.channel().await;
    channel
        .basic_qos(1, BasicQosOptions::default())
        .await
        .unwrap();
    let options = BasicConsumeOptions::default();
    let queue = broker.name(PURCHASE).into();
    let mut consumer = channel
        .basic_consume(queue, "".into(), options, none())
        .await
        .unwrap();
    within("the pack", consumer.next()).await.unwrap().unwrap();
    channel.close(200, "died".into()).await.unwrap();
}
