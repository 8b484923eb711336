//! Where messages go, and what happens when the broker has something else under our names.

use events::choreography;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::AMQPValue;
use saga::bus::{Bus, JournalReader, JournalStart, PublishError, Queue};
use saga::rabbitmq::{RabbitMqBus, TopologyMode};

use crate::broker::{
    Broker, PURCHASE, command, commands, drain, end_event, none, purchase, purchases, until_up,
    with_broker, within,
};

#[tokio::test]
async fn an_end_event_without_a_gateway_is_once_in_the_journal_and_not_unrouted() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        let (first, ended, last) = (command(), end_event("gone"), command());
        for event in [&first, &ended, &last] {
            bus.publish(std::slice::from_ref(event)).await.unwrap();
        }
        let mut journal = bus.read_journal(JournalStart::First).await.unwrap();
        let seen = read(&mut *journal, 3).await;
        assert_eq!(seen, [first.id, ended.id, last.id]);
        assert_eq!(broker.depth("saga.unrouted").await, 0);
    })
    .await;
}

#[tokio::test]
async fn an_event_that_no_queue_wants_is_kept_unrouted() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        let channel = broker.channel().await;
        let (queue, router) = (broker.name(PURCHASE), broker.name("saga.commands.router"));
        let key = "PurchaseAndRegister.#".into();
        let unbound = channel.queue_unbind(queue.into(), router.into(), key, none());
        unbound.await.unwrap();
        let lost = command();
        bus.publish(std::slice::from_ref(&lost)).await.unwrap();
        let kept = broker.get("saga.unrouted").await;
        assert_eq!(kept.data, lost.to_json());
        let mut journal = bus.read_journal(JournalStart::First).await.unwrap();
        assert_eq!(read(&mut *journal, 1).await, [lost.id]);
    })
    .await;
}

#[tokio::test]
async fn an_unroutable_event_is_told_from_those_published_beside_it() {
    with_broker(async |broker| {
        unroutable_events_are_told_apart(&*broker.bus().await, broker).await;
    })
    .await;
}

pub(crate) async fn unroutable_events_are_told_apart(bus: &impl Bus, broker: &Broker) {
    // Nobody at all is left behind the exchange of the commands.
    let channel = broker.channel().await;
    let delete = QueueDeleteOptions::default();
    for queue in ["saga.unrouted", "saga.journal", PURCHASE] {
        channel
            .queue_delete(broker.name(queue).into(), delete)
            .await
            .unwrap();
    }
    let events: Vec<_> = (0..20).map(|_| end_event("g")).collect();
    let home = broker.name("ticket-worker.RegistrationFailed");
    let router = broker.name("saga.events.router");
    let bind = lapin::options::QueueBindOptions::default();
    let bound = channel.queue_bind(home.into(), router.into(), "#".into(), bind, none());
    bound.await.unwrap();
    let commands = commands(20);
    let each = commands.iter().zip(&events).map(async |(command, event)| {
        let both = [std::slice::from_ref(command), std::slice::from_ref(event)];
        let (command, event) = tokio::join!(bus.publish(both[0]), bus.publish(both[1]));
        assert!(
            matches!(command, Err(PublishError::Unroutable { .. })),
            "{command:?}"
        );
        event.unwrap();
    });
    futures_util::future::join_all(each).await;
}

#[tokio::test]
async fn replies_reach_the_instance_that_waits_and_no_other() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        let instance = |name: &str| Queue::Replies {
            instance: name.to_owned(),
        };
        let mut one = bus.consume(instance("one")).await.unwrap();
        let mut two = bus.consume(instance("two")).await.unwrap();
        let (for_one, for_two) = (end_event("one"), end_event("two"));
        bus.publish(&[for_one.clone(), for_two.clone()])
            .await
            .unwrap();
        assert_eq!(drain(&mut *one, 1).await, [for_one]);
        assert_eq!(drain(&mut *two, 1).await, [for_two]);
    })
    .await;
}

#[tokio::test]
async fn a_queue_of_other_arguments_is_an_error_that_names_queue_and_argument() {
    with_broker(async |broker| {
        let channel = broker.channel().await;
        let mut arguments = none();
        arguments.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let queue = broker.name(PURCHASE);
        let declared = channel.queue_declare(queue.clone().into(), durable, arguments);
        declared.await.unwrap();
        let bus = RabbitMqBus::start(broker.config.clone(), &broker.tasks).unwrap();
        let refused = bus.consume(Queue::Work(purchase())).await.err().unwrap();
        assert!(refused.what.contains(&queue), "{refused}");
        assert!(refused.reason.contains("inequivalent arg 'x-"), "{refused}");
        let mut health = bus.health();
        let names_it = |health: &saga::bus::Health| health.to_string().contains(&queue);
        within("the queue's name", health.wait_for(names_it))
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_process_that_only_checks_waits_for_what_is_missing_and_goes_on() {
    with_broker(async |broker| {
        let mut config = broker.config.clone();
        config.topology = TopologyMode::Check;
        let checking = RabbitMqBus::start(config, &broker.tasks).unwrap();
        let mut health = checking.health();
        let says_what = |health: &saga::bus::Health| health.to_string().contains("saga.unrouted");
        within("the missing name", health.wait_for(says_what))
            .await
            .unwrap();
        let declaring = broker.bus().await;
        until_up(&*checking).await;
        let mut consumer = purchases(&*checking).await;
        let event = command();
        declaring
            .publish(std::slice::from_ref(&event))
            .await
            .unwrap();
        assert_eq!(drain(&mut *consumer, 1).await, [event]);
    })
    .await;
}

#[tokio::test]
async fn what_is_deleted_is_gone() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        bus.close().await;
        RabbitMqBus::delete_topology(broker.config.clone())
            .await
            .unwrap();
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        for step in choreography::steps() {
            let channel = broker.channel().await;
            let queue = broker.name(&step.queue());
            let looked = channel.queue_declare(queue.into(), passive, none()).await;
            looked.unwrap_err();
        }
    })
    .await;
}

async fn read(journal: &mut dyn JournalReader, count: usize) -> Vec<events::EventId> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let page = within("the journal", journal.read(count)).await;
        seen.extend(page.entries.into_iter().map(|event| event.unwrap().id));
    }
    seen
}
