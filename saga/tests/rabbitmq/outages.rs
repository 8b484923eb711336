//! The line to the broker breaks, and mends.

use std::time::{Duration, Instant};

use saga::bus::{Bus, Health, JournalStart, PublishError, Queue, Settlement};
use saga::rabbitmq::{RabbitMqBus, RabbitMqConfig};

use crate::broker::{
    command, commands, drain, end_event, purchases, until_down, until_up, with_broker, within,
};
use crate::proxy::proxied;

#[tokio::test]
async fn after_a_broken_line_everything_goes_on_and_the_unsettled_comes_again() {
    with_broker(async |broker| {
        let (proxy, config) = proxied(broker).await;
        let bus = broker.bus_with(config).await;
        let mut consumer = purchases(&*bus).await;
        let replies = Queue::Replies {
            instance: "g".to_owned(),
        };
        let mut replies = bus.consume(replies).await.unwrap();
        let event = command();
        bus.publish(std::slice::from_ref(&event)).await.unwrap();
        let before = consumer.receive(1).await;
        proxy.cut();
        until_down(&*bus).await;
        proxy.mend();
        until_up(&*bus).await;
        let again = within("the redelivery", consumer.receive(1)).await;
        assert_eq!(again[0].event.as_ref().unwrap(), &event);
        // The broker took back what came over the old line: to settle it settles nothing.
        consumer
            .settle(vec![(before[0].tag, Settlement::Done)])
            .await;
        drop(consumer);
        let mut consumer = purchases(&*bus).await;
        assert_eq!(drain(&mut *consumer, 1).await, [event]);
        let ended = end_event("g");
        bus.publish(std::slice::from_ref(&ended)).await.unwrap();
        assert_eq!(drain(&mut *replies, 1).await, [ended]);
    })
    .await;
}

#[tokio::test]
async fn without_a_broker_publishing_fails_fast_and_works_when_it_is_back() {
    with_broker(async |broker| {
        let (proxy, config) = proxied(broker).await;
        proxy.cut();
        let bus = RabbitMqBus::start(config, &broker.tasks).unwrap();
        // The first waits a second for the broker. The second would too, were it not known to be away.
        for limit in [Duration::from_secs(2), Duration::from_millis(900)] {
            let asked = Instant::now();
            let refused = bus.publish(&commands(2)).await.unwrap_err();
            assert!(
                matches!(refused, PublishError::Unavailable { .. }),
                "{refused}"
            );
            assert!(asked.elapsed() < limit, "{:?}", asked.elapsed());
        }
        let waiting_for = until_down(&*bus).await;
        assert!(
            waiting_for.contains("RabbitMQ at 127.0.0.1:"),
            "{waiting_for}"
        );
        proxy.mend();
        until_up(&*bus).await;
        bus.publish(&commands(2)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_consumer_may_start_before_the_broker() {
    with_broker(async |broker| {
        let (proxy, config) = proxied(broker).await;
        proxy.cut();
        let bus = RabbitMqBus::start(config, &broker.tasks).unwrap();
        let consuming = purchases(&*bus);
        tokio::pin!(consuming);
        tokio::select! {
            _ = &mut consuming => panic!("there is no broker yet"),
            _ = until_down(&*bus) => {}
        }
        proxy.mend();
        let mut consumer = within("the consumer", consuming).await;
        until_up(&*bus).await;
        let event = command();
        bus.publish(std::slice::from_ref(&event)).await.unwrap();
        assert_eq!(drain(&mut *consumer, 1).await, [event]);
    })
    .await;
}

#[tokio::test]
async fn nothing_that_was_confirmed_is_lost_over_many_broken_lines() {
    with_broker(async |broker| {
        let (proxy, config) = proxied(broker).await;
        let bus = broker.bus_with(config).await;
        let mut consumer = purchases(&*bus).await;
        let mut expected = std::collections::HashSet::new();
        for _ in 0..5 {
            let (events, cut) = (commands(300), commands(300));
            publish_until_confirmed(&*bus, &events).await;
            let (_, ()) = tokio::join!(bus.publish(&cut), async { proxy.cut() });
            until_down(&*bus).await;
            proxy.mend();
            publish_until_confirmed(&*bus, &cut).await;
            expected.extend(events.iter().chain(&cut).map(|event| event.id));
        }
        while !expected.is_empty() {
            for event in drain(&mut *consumer, 1).await {
                expected.remove(&event.id);
            }
        }
    })
    .await;
}

async fn publish_until_confirmed(bus: &impl Bus, events: &[events::Event]) {
    while let Err(error) = bus.publish(events).await {
        assert!(matches!(error, PublishError::Unavailable { .. }), "{error}");
        until_up(bus).await;
    }
}

#[tokio::test]
async fn the_journal_is_read_in_order_and_goes_on_where_it_was() {
    with_broker(async |broker| {
        let (proxy, config) = proxied(broker).await;
        let bus = broker.bus_with(config).await;
        let events = commands(30);
        for event in &events[..20] {
            bus.publish(std::slice::from_ref(event)).await.unwrap();
        }
        let mut journal = bus.read_journal(JournalStart::First).await.unwrap();
        let mut seen = Vec::new();
        let mut half = None;
        while seen.len() < 20 {
            let page = within("a page", journal.read(5)).await;
            seen.extend(page.entries.into_iter().map(Result::unwrap));
            half.get_or_insert((page.position, seen.len()));
        }
        assert_eq!(seen, events[..20]);
        proxy.cut();
        until_down(&*bus).await;
        proxy.mend();
        until_up(&*bus).await;
        for event in &events[20..] {
            bus.publish(std::slice::from_ref(event)).await.unwrap();
        }
        while seen.len() < 30 {
            let page = within("a page", journal.read(100)).await;
            seen.extend(page.entries.into_iter().map(Result::unwrap));
        }
        assert_eq!(seen, events, "nothing twice over the broken line");
        let (position, read) = half.unwrap();
        let mut resumed = bus
            .read_journal(JournalStart::After(position))
            .await
            .unwrap();
        let page = within("a page", resumed.read(1)).await;
        assert_eq!(page.entries[0].as_ref().unwrap(), &events[read]);
        assert!(page.position > position);
    })
    .await;
}

#[tokio::test]
async fn a_tag_of_a_lost_line_settles_nothing_that_came_over_the_next() {
    with_broker(async |broker| {
        let (proxy, mut config) = proxied(broker).await;
        config.prefetch = Some(1);
        let bus = broker.bus_with(config.clone()).await;
        let mut consumer = purchases(&*bus).await;
        let [held, next] = [command(), command()];
        bus.publish(std::slice::from_ref(&held)).await.unwrap();
        let old = within("the event", consumer.receive(1)).await;
        proxy.cut();
        until_down(&*bus).await;
        let direct = RabbitMqConfig {
            url: broker.config.url.clone(),
            ..config
        };
        let elsewhere = broker.bus_with(direct).await;
        let mut holder = purchases(&*elsewhere).await;
        let again = within("the redelivery", holder.receive(1)).await;
        assert_eq!(again[0].event.as_ref().unwrap(), &held);
        proxy.mend();
        until_up(&*bus).await;
        // Polled over the reconnect, and dropped before anything came.
        let nothing = tokio::time::timeout(Duration::from_millis(200), consumer.receive(1));
        nothing.await.unwrap_err();
        elsewhere
            .publish(std::slice::from_ref(&next))
            .await
            .unwrap();
        broker.until_purchases_wait(0).await;
        consumer.settle(vec![(old[0].tag, Settlement::Done)]).await;
        drop(consumer);
        holder.settle(vec![(again[0].tag, Settlement::Done)]).await;
        assert_eq!(drain(&mut *holder, 1).await, [next]);
    })
    .await;
}

/// Longer than a journal may say nothing before it is opened again.
const LONGER_THAN_SILENCE: Duration = Duration::from_secs(12);

#[tokio::test]
async fn a_journal_that_was_silent_goes_on_and_repeats_nothing() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        let mut journal = bus.read_journal(JournalStart::First).await.unwrap();
        for event in commands(2) {
            bus.publish(std::slice::from_ref(&event)).await.unwrap();
            let page = within("a page", journal.read(10)).await;
            let seen: Vec<_> = page.entries.into_iter().map(Result::unwrap).collect();
            assert_eq!(seen, [event]);
            let nothing = tokio::time::timeout(LONGER_THAN_SILENCE, journal.read(10));
            nothing.await.unwrap_err();
        }
    })
    .await;
}

#[tokio::test]
async fn a_closed_bus_has_published_what_was_waiting_and_takes_no_more() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        let events = commands(500);
        let (published, ()) = tokio::join!(bus.publish(&events), bus.close());
        published.unwrap();
        let refused = bus.publish(&events).await.unwrap_err();
        assert!(refused.to_string().contains("closed"), "{refused}");
        bus.consume(Queue::Work(crate::broker::purchase()))
            .await
            .map(drop)
            .unwrap_err();
        broker.tasks.stop();
        assert!(!matches!(*bus.health().borrow(), Health::Up));
    })
    .await;
}
