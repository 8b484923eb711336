//! A consumer begins with one message at a time and takes more when it may: dropped meanwhile, it loses
//! nothing and leaves nobody behind who takes messages; and where it never may, all is handled as well.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use events::Event;
use saga::bus::{Bus, Settlement};
use saga::rabbitmq::RabbitMqConfig;

use crate::broker::{commands, drain, publish_singly, purchases, with_broker, within};

/// More than a first receive needs, from none in hand to the first message when more may come.
const MOST_POLLS: usize = 12;

#[tokio::test]
async fn a_consumer_that_is_dropped_at_any_moment_leaves_all_to_the_next() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        let mut was_done = false;
        for polls in 1..=MOST_POLLS {
            let events = commands(3);
            publish_singly(&*bus, &events).await;
            let mut dropped = purchases(&*bus).await;
            was_done |= polled(polls, dropped.receive(10)).await.is_some();
            drop(dropped);
            let mut next = purchases(&*bus).await;
            let taken = drain(&mut *next, events.len()).await;
            assert_eq!(in_order(&events, taken), events, "after {polls} polls");
        }
        assert!(was_done, "what comes late in a receive was not tried");
    })
    .await;
}

#[tokio::test]
async fn with_room_for_one_or_two_messages_all_are_handled_suspects_too() {
    with_broker(async |broker| {
        // One place is for the message that a session begins with, so with two it takes one at a time, too.
        for (prefetch, in_first) in [(1, 1), (1, 3), (2, 1), (2, 3)] {
            let bus = broker.bus_with(RabbitMqConfig {
                prefetch: Some(prefetch),
                ..broker.config.clone()
            });
            let bus = bus.await;
            let (first, singles) = (commands(in_first), commands(4));
            bus.publish(&first).await.unwrap();
            publish_singly(&*bus, &singles).await;
            // In hand twice and not settled, it is a suspect by now.
            for _ in 0..2 {
                let taken = purchases(&*bus).await.receive(1).await;
                assert_eq!(taken[0].event.as_ref().unwrap(), &first[0]);
                broker.until_purchases_wait(5).await;
            }
            let mut consumer = purchases(&*bus).await;
            let alone = within("an event", consumer.receive(10)).await;
            assert_eq!(alone.len(), 1, "a pack is taken apart");
            consumer
                .settle(vec![(alone[0].tag, Settlement::Done)])
                .await;
            let mut handled = drain(&mut *consumer, in_first + 3).await;
            handled.push(alone[0].event.as_ref().unwrap().clone());
            let all = [first, singles].concat();
            assert_eq!(
                in_order(&all, handled),
                all,
                "with room for {prefetch}, {in_first} in the first"
            );
            bus.close().await;
        }
    })
    .await;
}

/// As they were published.
fn in_order(published: &[Event], mut events: Vec<Event>) -> Vec<Event> {
    events.sort_by_key(|event| published.iter().position(|known| known == event));
    events
}

/// What comes of it, unless that takes more polls.
async fn polled<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut left) = (pin!(future), polls);
    poll_fn(|context| {
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
