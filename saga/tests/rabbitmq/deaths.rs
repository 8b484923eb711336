//! An event takes its process down, again and again, until the broker parks it at the delivery
//! limit. Every version counts a line that breaks and a channel that closes; since 4.3 only those.

use std::collections::HashSet;
use std::sync::Arc;

use events::EventId;
use lapin::types::AMQPValue;
use saga::Tasks;
use saga::bus::{Bus, Consumer, Settlement};
use saga::rabbitmq::topology::WORK_DELIVERY_LIMIT;
use saga::rabbitmq::{RabbitMqBus, RabbitMqConfig, TopologyMode};

use crate::broker::{Broker, PURCHASE, commands, publish_singly, purchases, until_up, with_broker};
use crate::proxy::{Proxy, proxied};

/// Two in a pack, which is then taken apart, and as many alone as it takes to be past the limit.
const MOST_DEATHS: i64 = 2 + WORK_DELIVERY_LIMIT + 1;
const PARKED: &str = "ticket-worker.PurchaseAndRegister.dlq";

#[tokio::test]
async fn an_event_that_kills_its_process_each_time_is_parked_and_its_pack_is_done() {
    with_broker(async |broker| {
        let events = commands(3);
        broker.bus().await.publish(&events).await.unwrap();
        is_parked_without(&[events[0].id, events[2].id], events[1].id, broker).await;
    })
    .await;
}

#[tokio::test]
async fn an_event_that_kills_its_process_each_time_is_parked_and_those_beside_it_are_done() {
    with_broker(async |broker| {
        let events = commands(3);
        publish_singly(&*broker.bus().await, &events).await;
        is_parked_without(&[events[0].id, events[2].id], events[1].id, broker).await;
    })
    .await;
}

#[tokio::test]
async fn a_process_that_starts_and_dies_of_a_suspect_costs_no_other_a_delivery() {
    with_broker(async |broker| {
        publish_singly(&*broker.bus().await, &commands(5)).await;
        for events in [5, 5, 1] {
            Process::with(events, broker).await.die();
            broker.until_purchases_wait(5).await;
        }
        assert_eq!(deliveries_of(5, broker).await, [2, 2, 2, 2, 3]);
    })
    .await;
}

#[tokio::test]
async fn a_process_in_full_swing_gives_back_what_comes_beside_what_may_take_it_down() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        publish_singly(&*bus, &commands(5)).await;
        Process::with(5, broker).await.die();
        broker.until_purchases_wait(5).await;
        let dying = Process::with(5, broker).await;
        // It has no room for these, so they show that another one is in full swing.
        let mut running = purchases(&*bus).await;
        publish_singly(&*bus, &commands(3)).await;
        let mut in_hand = running.receive(1).await;
        broker.until_purchases_wait(0).await;
        dying.die();
        while in_hand.len() < 3 {
            in_hand.extend(running.receive(10).await);
        }
        let settled = in_hand.iter().map(|taken| (taken.tag, Settlement::Done));
        running.settle(settled.collect()).await;
        assert_eq!(running.receive(10).await.len(), 1, "the suspect alone");
        broker.until_purchases_wait(4).await;
        for deliveries in deliveries_of(4, broker).await {
            assert!(deliveries <= 3, "{deliveries}");
        }
    })
    .await;
}

/// How often what stands in the queue was delivered, by ascending numbers.
async fn deliveries_of(events: usize, broker: &Broker) -> Vec<i64> {
    let mut deliveries = Vec::new();
    for _ in 0..events {
        let message = broker.get(PURCHASE).await;
        let headers = message.properties.headers().as_ref().unwrap().inner();
        let AMQPValue::LongLongInt(delivered) = headers["x-delivery-count"] else {
            panic!("no number in {headers:?}");
        };
        deliveries.push(delivered);
    }
    deliveries.sort_unstable();
    deliveries
}

/// How many messages a process takes: all there are.
const PREFETCH: u16 = 5;

/// Has taken events and handled none.
struct Process {
    line: Proxy,
    tasks: Tasks,
    _bus: Arc<RabbitMqBus>,
    _consumer: Box<dyn Consumer>,
}

impl Process {
    async fn with(events: usize, broker: &Broker) -> Self {
        let (line, config) = proxied(broker).await;
        let config = RabbitMqConfig {
            prefetch: Some(PREFETCH),
            ..config
        };
        let tasks = Tasks::new();
        let bus = RabbitMqBus::start(config, &tasks).unwrap();
        until_up(&*bus).await;
        let mut consumer = purchases(&*bus).await;
        let mut taken = 0;
        while taken < events {
            taken += consumer.receive(10).await.len();
        }
        Self {
            line,
            tasks,
            _bus: bus,
            _consumer: consumer,
        }
    }

    fn die(self) {
        self.line.cut();
        self.tasks.stop();
    }
}

async fn is_parked_without(neighbours: &[EventId], poison: EventId, broker: &Broker) {
    let (mut done, mut deaths) = (HashSet::new(), 0);
    while broker.depth(PARKED).await == 0 {
        assert!(deaths <= MOST_DEATHS, "it goes on for ever");
        deaths += i64::from(process_dies(broker, poison, &mut done).await);
    }
    println!("parked after {deaths} deaths");
    assert_eq!(done, HashSet::from_iter(neighbours.iter().copied()));
    let parked = broker.get(PARKED).await;
    let id = parked.properties.message_id().as_ref().unwrap();
    assert_eq!(id.as_str(), poison.to_string());
    let headers = parked.properties.headers().as_ref().unwrap().inner();
    let reason = headers.get("x-first-death-reason");
    assert_eq!(
        reason,
        Some(&AMQPValue::LongString("delivery_limit".into()))
    );
    // An acknowledgement that was on its way when the process died is lost with it, and what it was
    // for comes again. Nothing else is left.
    for _ in 0..broker.depth(PURCHASE).await {
        let again = broker.get(PURCHASE).await;
        let id = again.properties.message_id().clone().unwrap();
        let ids = neighbours.iter().chain([&poison]).map(EventId::to_string);
        assert!(ids.into_iter().any(|known| known == id.as_str()), "{id}");
    }
    assert_eq!(broker.depth(PURCHASE).await, 0);
}

/// A process works until the event kills it, or until that is parked.
async fn process_dies(broker: &Broker, of: EventId, done: &mut HashSet<EventId>) -> bool {
    let (line, config) = proxied(broker).await;
    let config = RabbitMqConfig {
        topology: TopologyMode::Check,
        ..config
    };
    let tasks = Tasks::new();
    let bus = RabbitMqBus::start(config, &tasks).unwrap();
    until_up(&*bus).await;
    let mut consumer = purchases(&*bus).await;
    let has_died = tokio::select! {
        () = work_until(of, &mut *consumer, done) => true,
        () = broker.until_depth(PARKED, |depth| depth > 0) => false,
    };
    match has_died {
        true => line.cut(),
        // Its acknowledgements are to arrive.
        false => bus.close().await,
    }
    tasks.stop();
    has_died
}

async fn work_until(poison: EventId, consumer: &mut dyn Consumer, done: &mut HashSet<EventId>) {
    loop {
        let batch = consumer.receive(10).await;
        let ids = batch
            .iter()
            .map(|delivery| delivery.event.as_ref().unwrap().id);
        if ids.clone().any(|id| id == poison) {
            return;
        }
        done.extend(ids);
        let settled = batch
            .iter()
            .map(|delivery| (delivery.tag, Settlement::Done));
        consumer.settle(settled.collect()).await;
    }
}
