//! A binding is gone: what was published meanwhile is kept, told of, and put where it belongs.

use std::collections::HashSet;
use std::time::Duration;

use events::{Event, EventId};
use lapin::options::QueueBindOptions;
use saga::bus::{Bus, JournalStart};
use saga::dead_letters::{
    Action, DeadLetters, Deed, Outcome, Ramp, Selection, UNROUTED, entries, groups, requeue,
};
use saga::rabbitmq::RabbitMqDeadLetters;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::broker::{
    Broker, PURCHASE, command, commands, drain, none, purchases, with_broker, within,
};

const ROUTER: &str = "saga.commands.router";
const KEY: &str = "PurchaseAndRegister.#";

async fn unbind(broker: &Broker) {
    let (queue, router) = (broker.name(PURCHASE), broker.name(ROUTER));
    let channel = broker.channel().await;
    let unbound = channel.queue_unbind(queue.into(), router.into(), KEY.into(), none());
    unbound.await.unwrap();
}

async fn bind(broker: &Broker) {
    let (queue, router) = (broker.name(PURCHASE), broker.name(ROUTER));
    let (channel, options) = (broker.channel().await, QueueBindOptions::default());
    let bound = channel.queue_bind(queue.into(), router.into(), KEY.into(), options, none());
    bound.await.unwrap();
}

/// As by `dlq requeue --unrouted`.
async fn put_back(letters: &mut dyn DeadLetters) -> Outcome {
    let ramp = Ramp {
        steps: vec![1, 10],
        // Nothing here waits for it: what is confirmed is routed or back.
        watch: Duration::from_secs(3600),
    };
    let deed = Deed::new(Action::Requeue, "ann", "the binding is back");
    let stop = CancellationToken::new();
    let outcome = requeue(letters, &unrouted(), &deed, &ramp, &stop, &mut |_| {}).await;
    outcome.unwrap()
}

fn ids(events: &[Event]) -> HashSet<EventId> {
    events.iter().map(|event| event.id).collect()
}

fn unrouted() -> Selection {
    Selection {
        queue: Some(UNROUTED.to_owned()),
        ..Selection::default()
    }
}

/// A pack of 20, then 15 events that travel alone.
async fn publish_without_a_binding(broker: &Broker) -> Vec<Event> {
    let bus = broker.bus().await;
    unbind(broker).await;
    let events = commands(35);
    bus.publish(&events[..20]).await.unwrap();
    for event in &events[20..] {
        bus.publish(std::slice::from_ref(event)).await.unwrap();
    }
    bus.close().await;
    events
}

#[tokio::test]
async fn unrouted_packs_and_events_go_where_they_belong_once_the_binding_is_back() {
    with_broker(async |broker| {
        let events = publish_without_a_binding(broker).await;
        bind(broker).await;
        let mut letters = RabbitMqDeadLetters::open(broker.config.clone())
            .await
            .unwrap();
        let found = groups(&mut letters, &unrouted()).await.unwrap();
        let causes: Vec<_> = found.iter().map(|group| group.cause.to_string()).collect();
        let exchange = broker.name("saga.commands");
        assert_eq!(causes.len(), 1, "{causes:?}");
        assert!(causes[0].ends_with("with key PurchaseAndRegister"));
        assert_eq!(found[0].example.exchange, Some(exchange));

        let messages = found[0].count;
        let outcome = put_back(&mut letters).await;
        assert_eq!((outcome.requeued, outcome.came_back.len()), (messages, 0));
        assert_eq!(broker.depth(UNROUTED).await, 0);
        let record = entries(&mut letters, |_| true).await.unwrap();
        assert_eq!(record.len(), messages);
        assert_eq!(record[0].queue, broker.name(UNROUTED));

        let bus = broker.bus().await;
        let mut consumer = purchases(&*bus).await;
        let arrived = drain(&mut *consumer, events.len()).await;
        assert_eq!(ids(&arrived), ids(&events));
        let mut journal = bus.read_journal(JournalStart::First).await.unwrap();
        let last = command();
        bus.publish(std::slice::from_ref(&last)).await.unwrap();
        let mut journaled = Vec::new();
        while journaled.last() != Some(&last.id) {
            let page = within("the journal", journal.read(1000)).await;
            journaled.extend(page.entries.into_iter().map(|event| event.unwrap().id));
        }
        assert_eq!(journaled.len(), events.len() + 1, "each is there once");
    })
    .await;
}

#[tokio::test]
async fn putting_back_what_is_unrouted_can_be_cut_off_at_any_moment_and_loses_nothing() {
    with_broker(async |broker| {
        let mut events = publish_without_a_binding(broker).await;
        bind(broker).await;
        for after in (1..20).map(|millis| Duration::from_millis(millis * millis)) {
            // Its connection goes with it, as of kill -9, with what it has in hand.
            let mut letters = RabbitMqDeadLetters::open(broker.config.clone())
                .await
                .unwrap();
            let _ = timeout(after, put_back(&mut letters)).await;
        }
        let mut letters = RabbitMqDeadLetters::open(broker.config.clone())
            .await
            .unwrap();
        let bus = broker.bus().await;
        events.push(command());
        bus.publish(&events[35..]).await.unwrap();
        let (mut consumer, mut arrived) = (purchases(&*bus).await, HashSet::new());
        while arrived.len() < events.len() {
            // The broker may just be giving back what the one before had in hand.
            put_back(&mut letters).await;
            let a_moment = Duration::from_millis(500);
            while let Ok(more) = timeout(a_moment, drain(&mut *consumer, 1)).await {
                arrived.extend(ids(&more));
            }
        }
        assert_eq!(arrived, ids(&events));
    })
    .await;
}

#[tokio::test]
async fn what_is_put_back_before_its_binding_is_back_stops_at_the_first_and_stays() {
    with_broker(async |broker| {
        publish_without_a_binding(broker).await;
        let before = broker.depth(UNROUTED).await;
        let mut letters = RabbitMqDeadLetters::open(broker.config.clone())
            .await
            .unwrap();
        for round in 1..=2 {
            let outcome = put_back(&mut letters).await;
            assert_eq!((outcome.requeued, outcome.came_back.len()), (1, 1));
            assert_eq!(outcome.came_back[0].requeued, 1, "round {round}");
        }
        assert_eq!(broker.depth(UNROUTED).await, before);
    })
    .await;
}

#[tokio::test]
async fn who_takes_work_binds_its_queue_again_when_something_finds_no_queue() {
    with_broker(async |broker| {
        let bus = broker.bus().await;
        let mut consumer = purchases(&*bus).await;
        unbind(broker).await;
        let lost = command();
        bus.publish(std::slice::from_ref(&lost)).await.unwrap();
        let arrived = within("the binding to be back", async {
            loop {
                bus.publish(&[command()]).await.unwrap();
                let pause = Duration::from_millis(100);
                if let Ok(arrived) = timeout(pause, consumer.receive(1)).await {
                    return arrived;
                }
            }
        })
        .await;
        assert_ne!(arrived[0].event.as_ref().unwrap().id, lost.id);
        let kept = async {
            // Who tells of them has a look at the oldest at this moment, and gives them back.
            while broker.get(UNROUTED).await.data != lost.to_json() {}
        };
        within("the first to be kept", kept).await;
    })
    .await;
}
