//! A namespace of its own on the test broker for each test, gone at its end, and a second, plain
//! client to look at what our bus did there.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use events::choreography::{self, Step};
use events::{Event, Message, PurchaseAndRegister, SagaId, TicketDeleted, Timestamp, UserTicketId};
use futures_util::FutureExt;
use lapin::message::Delivery;
use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use saga::Tasks;
use saga::bus::{Bus, Consumer, Queue};
use saga::rabbitmq::{RabbitMqBus, RabbitMqConfig};
use saga::retry::RetryPolicy;

/// Far longer than anything that is waited for takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than any test takes: some wait for a silence, or start twenty processes.
const TEST_LIMIT: Duration = Duration::from_secs(120);

pub(crate) struct Broker {
    pub(crate) config: RabbitMqConfig,
    pub(crate) tasks: Tasks,
}

/// Runs the test in a fresh namespace, and removes that whatever comes of the test.
pub(crate) async fn with_broker(test: impl AsyncFnOnce(&Broker)) {
    let url = std::env::var("TEST_AMQP_URL").expect("run ./test, or set TEST_AMQP_URL");
    let mut config = RabbitMqConfig::new(url, "rabbit-test");
    config.namespace = format!("rabbit-{}", SagaId::mint());
    config.retry = RetryPolicy {
        delays: vec![Duration::from_millis(200)],
    };
    let broker = Broker {
        config,
        tasks: Tasks::new(),
    };
    let tested = tokio::time::timeout(TEST_LIMIT, test(&broker));
    let result = AssertUnwindSafe(tested).catch_unwind().await;
    broker.tasks.stop();
    RabbitMqBus::delete_topology(broker.config.clone())
        .await
        .unwrap();
    match result {
        Err(panic) => std::panic::resume_unwind(panic),
        Ok(ended) => ended.expect("the test ends"),
    }
}

impl Broker {
    /// A bus that is up.
    pub(crate) async fn bus(&self) -> Arc<RabbitMqBus> {
        self.bus_with(self.config.clone()).await
    }

    pub(crate) async fn bus_with(&self, config: RabbitMqConfig) -> Arc<RabbitMqBus> {
        let bus = RabbitMqBus::start(config, &self.tasks).unwrap();
        until_up(&*bus).await;
        bus
    }

    pub(crate) fn name(&self, local: &str) -> String {
        format!("{}.{local}", self.config.namespace)
    }

    /// A plain channel, beside our bus.
    pub(crate) async fn channel(&self) -> Channel {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&self.config.url, properties).await;
        connection.unwrap().create_channel().await.unwrap()
    }

    /// How many messages are ready in a queue.
    pub(crate) async fn depth(&self, queue: &str) -> u32 {
        self.depth_on(&self.channel().await, queue).await
    }

    async fn depth_on(&self, channel: &Channel, queue: &str) -> u32 {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let declared = channel.queue_declare(self.name(queue).into(), options, none());
        declared.await.unwrap().message_count()
    }

    /// Until a queue has as many messages ready as it is to have.
    pub(crate) async fn until_depth(&self, queue: &str, is_reached: impl Fn(u32) -> bool) {
        let channel = self.channel().await;
        while !is_reached(self.depth_on(&channel, queue).await) {
            tokio::task::yield_now().await;
        }
    }

    /// Until so many commands are ready.
    pub(crate) async fn until_purchases_wait(&self, messages: u32) {
        self.until_depth(PURCHASE, |depth| depth == messages).await;
    }

    /// Takes one message out of a queue, as soon as there is one.
    pub(crate) async fn get(&self, queue: &str) -> Delivery {
        let channel = self.channel().await;
        let options = BasicGetOptions { no_ack: true };
        loop {
            let got = channel.basic_get(self.name(queue).into(), options).await;
            if let Some(message) = got.unwrap() {
                return message.delivery;
            }
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn publish_raw(&self, queue: &str, body: &[u8], properties: BasicProperties) {
        let (channel, queue) = (self.channel().await, self.name(queue));
        let options = BasicPublishOptions::default();
        channel
            .confirm_select(lapin::options::ConfirmSelectOptions::default())
            .await
            .unwrap();
        let published = channel.basic_publish("".into(), queue.into(), options, body, properties);
        assert!(published.await.unwrap().await.unwrap().is_ack());
    }
}

pub(crate) fn none() -> FieldTable {
    FieldTable::default()
}

pub(crate) async fn until_up(bus: &impl Bus) {
    within("the bus to come up", async {
        bus.health()
            .wait_for(saga::bus::Health::is_up)
            .await
            .unwrap();
    })
    .await;
}

pub(crate) async fn until_down(bus: &impl Bus) -> String {
    within("the bus to go down", async {
        let mut health = bus.health();
        let health = health.wait_for(|health| !health.is_up()).await.unwrap();
        health.to_string()
    })
    .await
}

/// Fails loudly instead of hanging.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, future).await;
    done.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}

/// The step that takes commands.
pub(crate) fn purchase() -> &'static Step {
    choreography::steps().next().unwrap()
}

pub(crate) const PURCHASE: &str = "ticket-worker.PurchaseAndRegister";

pub(crate) async fn purchases(bus: &impl Bus) -> Box<dyn Consumer> {
    bus.consume(Queue::Work(purchase())).await.unwrap()
}

pub(crate) fn command() -> Event {
    event(Message::from(PurchaseAndRegister {
        user_id: events::UserId(1),
        ticket_id: events::TicketId(2),
        user_ticket_id: UserTicketId::mint(),
    }))
}

pub(crate) fn commands(count: usize) -> Vec<Event> {
    (0..count).map(|_| command()).collect()
}

pub(crate) fn end_event(reply_to: &str) -> Event {
    let mut event = event(Message::from(TicketDeleted {
        user_ticket_id: UserTicketId::mint(),
        cause: events::Reason::ALREADY_REGISTERED,
    }));
    event.reply_to = Some(reply_to.to_owned());
    event
}

fn event(message: Message) -> Event {
    let saga_id = SagaId::mint();
    Event {
        id: Event::id_of(saga_id, message.message_type()),
        source: "api-gateway".into(),
        time: Timestamp::now(),
        saga_id,
        causation_id: None,
        traceparent: None,
        reply_to: None,
        deadline: None,
        message,
    }
}

/// Receives until there are so many events, and settles them as done.
pub(crate) async fn drain(consumer: &mut dyn Consumer, count: usize) -> Vec<Event> {
    let mut drained = Vec::new();
    while drained.len() < count {
        let deliveries = within("more events", consumer.receive(count)).await;
        let done = |tag| (tag, saga::bus::Settlement::Done);
        consumer
            .settle(
                deliveries
                    .iter()
                    .map(|delivery| done(delivery.tag))
                    .collect(),
            )
            .await;
        drained.extend(
            deliveries
                .into_iter()
                .map(|delivery| delivery.event.unwrap()),
        );
    }
    drained
}

pub(crate) async fn publish_singly(bus: &impl Bus, events: &[Event]) {
    for event in events {
        bus.publish(std::slice::from_ref(event)).await.unwrap();
    }
}
