//! A consumer takes one message at a time or many, and changes between the two; whatever happens to it
//! meanwhile, nothing is lost and nobody is left behind who takes messages.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use saga::bus::Bus;
use saga::rabbitmq::RabbitMqConfig;

use crate::broker::{commands, drain, publish_singly, purchases, with_broker};

/// More than a first receive needs, from the first message in hand to all that there are.
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
            let mut taken = drain(&mut *next, events.len()).await;
            taken.sort_by_key(|event| events.iter().position(|known| known == event));
            assert_eq!(taken, events, "after {polls} polls");
        }
        assert!(was_done, "what comes late in a receive was not tried");
    })
    .await;
}

#[tokio::test]
async fn with_room_for_one_or_two_messages_all_are_handled_suspects_too() {
    with_broker(async |broker| {
        for prefetch in [1, 2] {
            let bus = broker.bus_with(RabbitMqConfig {
                prefetch: Some(prefetch),
                ..broker.config.clone()
            });
            let bus = bus.await;
            let events = commands(5);
            publish_singly(&*bus, &events).await;
            // Twice in hand and not settled: whatever it was is a suspect by now.
            for _ in 0..2 {
                purchases(&*bus).await.receive(10).await;
            }
            let mut consumer = purchases(&*bus).await;
            let mut taken = drain(&mut *consumer, events.len()).await;
            taken.sort_by_key(|event| events.iter().position(|known| known == event));
            assert_eq!(taken, events, "with room for {prefetch}");
            bus.close().await;
        }
    })
    .await;
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
