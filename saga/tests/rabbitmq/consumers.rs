//! One consumer ends or fails; it comes back, and no other is disturbed.

use std::time::Duration;

use events::choreography::{self, Step};
use saga::bus::{Bus, Consumer, Delivery, JournalStart, Queue, Settlement};

use crate::broker::{
    Broker, PURCHASE, command, commands, drain, none, publish_singly, purchases, until_down,
    until_up, with_broker, within,
};

#[tokio::test]
async fn a_deleted_queue_is_brought_back_and_consumed_again() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        let mut consumer = purchases(&*bus).await;
        delete(broker, PURCHASE).await;
        let receiving = consumer.receive(1);
        tokio::pin!(receiving);
        while_pending(&mut receiving, until_down(&*bus)).await;
        while_pending(&mut receiving, until_up(&*bus)).await;
        let event = command();
        bus.publish(std::slice::from_ref(&event)).await.unwrap();
        let received = within("the event", receiving).await;
        assert_eq!(received[0].event.as_ref().unwrap(), &event);
    })
    .await;
}

#[tokio::test]
async fn a_queue_deleted_behind_a_buffered_message_is_consumed_again() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        let mut consumer = purchases(&*bus).await;
        publish_singly(&*bus, &commands(3)).await;
        let first = consumer.receive(1).await;
        assert_eq!(first.len(), 1);
        broker.until_purchases_wait(0).await;
        delete(broker, PURCHASE).await;
        // The mark of the end travels over another line than the answer to the deletion.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut health = bus.health();
        health.mark_unchanged();
        assert_eq!(within("the rest", consumer.receive(10)).await.len(), 2);
        let receiving = consumer.receive(1);
        tokio::pin!(receiving);
        let noticed = within("the end to be noticed", health.changed());
        while_pending(&mut receiving, noticed).await.unwrap();
        until_up(&*bus).await;
        let event = command();
        bus.publish(std::slice::from_ref(&event)).await.unwrap();
        let received = within("the event", receiving).await;
        assert_eq!(received[0].event.as_ref().unwrap(), &event);
    })
    .await;
}

#[tokio::test]
async fn a_consumer_that_fails_disturbs_no_other() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        let mut stays = purchases(&*bus).await;
        bus.publish(&commands(1)).await.unwrap();
        let in_hand = within("an event", stays.receive(1)).await;
        let (other, other_queue) = another_step();
        let mut ends = bus.consume(Queue::Work(other)).await.unwrap();
        delete(broker, &other_queue).await;
        let receiving = ends.receive(1);
        tokio::pin!(receiving);
        while_pending(&mut receiving, until_down(&*bus)).await;
        while_pending(&mut receiving, until_up(&*bus)).await;
        is_undisturbed(broker, &*bus, stays, &in_hand).await;
    })
    .await;
}

#[tokio::test]
async fn a_newcomer_that_cannot_consume_yet_disturbs_no_other() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        let mut stays = purchases(&*bus).await;
        bus.publish(&commands(1)).await.unwrap();
        let in_hand = within("an event", stays.receive(1)).await;
        // An earlier connection of the instance still has its queue.
        let exclusive = lapin::options::QueueDeclareOptions {
            exclusive: true,
            ..Default::default()
        };
        let (channel, queue) = (broker.channel().await, "api-gateway.replies.g");
        let declared = channel.queue_declare(broker.name(queue).into(), exclusive, none());
        declared.await.unwrap();
        let newcomer = bus.consume(Queue::Replies {
            instance: "g".to_owned(),
        });
        tokio::pin!(newcomer);
        let waiting_for = while_pending(&mut newcomer, until_down(&*bus)).await;
        assert!(waiting_for.contains(queue), "{waiting_for}");
        is_undisturbed(broker, &*bus, stays, &in_hand).await;
        channel
            .queue_delete(broker.name(queue).into(), Default::default())
            .await
            .unwrap();
        within("the newcomer", newcomer).await.unwrap();
        until_up(&*bus).await;
    })
    .await;
}

#[tokio::test]
async fn a_consumer_that_is_dropped_disturbs_no_other() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        let mut stays = purchases(&*bus).await;
        let mut health = bus.health();
        health.mark_unchanged();
        for _ in 0..10 {
            let goes = bus.read_journal(JournalStart::First).await.unwrap();
            drop(goes);
            let event = command();
            bus.publish(std::slice::from_ref(&event)).await.unwrap();
            assert_eq!(drain(&mut *stays, 1).await, [event]);
        }
        assert!(!health.has_changed().unwrap());
    })
    .await;
}

/// Waits for something while the other goes on waiting.
async fn while_pending<W: Future + Unpin, T>(
    waiting: &mut W,
    something: impl Future<Output = T>,
) -> T {
    tokio::select! {
        _ = waiting => panic!("there is nothing to come yet"),
        happened = something => happened,
    }
}

/// Its line is the old one: what it had in hand is settled and does not come again, and it goes on.
async fn is_undisturbed(
    broker: &Broker,
    bus: &impl Bus,
    mut stays: Box<dyn Consumer>,
    in_hand: &[Delivery],
) {
    let done = (in_hand[0].tag, Settlement::Done);
    stays.settle(vec![done]).await;
    let next = command();
    bus.publish(std::slice::from_ref(&next)).await.unwrap();
    assert_eq!(drain(&mut *stays, 1).await, [next]);
    drop(stays);
    assert_eq!(broker.depth(PURCHASE).await, 0);
}

/// A step other than the one of [`purchases`], and its queue.
fn another_step() -> (&'static Step, String) {
    let step = choreography::steps().nth(1).unwrap();
    (step, step.queue())
}

async fn delete(broker: &Broker, queue: &str) {
    let options = lapin::options::QueueDeleteOptions::default();
    let channel = broker.channel().await;
    let deleted = channel.queue_delete(broker.name(queue).into(), options);
    deleted.await.unwrap();
}
