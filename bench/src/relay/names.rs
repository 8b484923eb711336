//! What the bare relay declares on the broker: the same kinds of exchanges and queues, with the same
//! arguments, as the RabbitMQ adapter declares for the real system.
//!
//! A front exchange (fanout) for each message class is bound to the journal stream and, exchange to
//! exchange, to a topic exchange; that one routes to the quorum work queues and has an alternate
//! exchange behind it.

use events::Class;
use events::choreography::{self, Step};
use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

/// As the real system: the poison limit of the work queues.
const DELIVERY_LIMIT: i32 = 20;

/// The names of everything the relay declares, all below one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    namespace: String,
}

impl Names {
    pub(crate) fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
        }
    }

    fn name(&self, name: &str) -> ShortString {
        format!("{}.{name}", self.namespace).into()
    }

    pub(crate) fn front(&self, class: Class) -> ShortString {
        self.name(match class {
            Class::Command => "saga.commands",
            Class::Event => "saga.events",
        })
    }

    fn router(&self, class: Class) -> ShortString {
        self.name(match class {
            Class::Command => "saga.commands.routed",
            Class::Event => "saga.events.routed",
        })
    }

    pub(crate) fn work_queue(&self, step: &Step) -> ShortString {
        self.name(&step.queue())
    }

    pub(crate) fn replies(&self) -> ShortString {
        self.name("replies")
    }

    fn journal(&self) -> ShortString {
        self.name("saga.journal")
    }

    fn dead_letters(&self) -> ShortString {
        self.name("saga.dlx")
    }

    fn unrouted(&self) -> ShortString {
        self.name("saga.unrouted")
    }
}

/// Declares all that is durable.
pub(crate) async fn declare(channel: &Channel, names: &Names) -> lapin::Result<()> {
    let (unrouted, dead) = (names.unrouted(), names.dead_letters());
    exchange(
        channel,
        &unrouted,
        ExchangeKind::Fanout,
        FieldTable::default(),
    )
    .await?;
    exchange(channel, &dead, ExchangeKind::Fanout, FieldTable::default()).await?;
    durable_queue(
        channel,
        &unrouted,
        table([("x-queue-type", text("quorum"))]),
    )
    .await?;
    bind(channel, &unrouted, &unrouted, "").await?;
    // The work queues dead-letter into it, and at-least-once dead-lettering needs a target.
    bind(channel, &unrouted, &dead, "").await?;
    let journal = names.journal();
    durable_queue(channel, &journal, table([("x-queue-type", text("stream"))])).await?;
    for class in [Class::Command, Class::Event] {
        front(channel, names, class).await?;
    }
    for step in choreography::steps() {
        let queue = names.work_queue(step);
        durable_queue(channel, &queue, work_queue_arguments(&dead)).await?;
        bind(
            channel,
            &queue,
            &names.router(step.on.class()),
            step.on.name(),
        )
        .await?;
    }
    Ok(())
}

async fn front(channel: &Channel, names: &Names, class: Class) -> lapin::Result<()> {
    let (front, router) = (names.front(class), names.router(class));
    let alternate = AMQPValue::LongString(names.unrouted().as_str().into());
    exchange(channel, &front, ExchangeKind::Fanout, FieldTable::default()).await?;
    let behind = table([("alternate-exchange", alternate)]);
    exchange(channel, &router, ExchangeKind::Topic, behind).await?;
    bind(channel, &names.journal(), &front, "").await?;
    let options = ExchangeBindOptions::default();
    channel
        .exchange_bind(router, front, "".into(), options, FieldTable::default())
        .await
}

/// The exclusive queue that the load generator receives end events from.
pub(crate) async fn declare_replies(
    channel: &Channel,
    names: &Names,
    instance: &str,
) -> lapin::Result<()> {
    let replies = names.replies();
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(replies.clone(), options, FieldTable::default())
        .await?;
    let key = format!("*.{instance}");
    bind(channel, &replies, &names.router(Class::Event), &key).await
}

/// Removes all that is durable; what is not there is no error.
pub(crate) async fn delete(channel: &Channel, names: &Names) -> lapin::Result<()> {
    let work = choreography::steps().map(|step| names.work_queue(step));
    for queue in work.chain([names.journal(), names.unrouted()]) {
        channel
            .queue_delete(queue, QueueDeleteOptions::default())
            .await?;
    }
    let classes = [Class::Command, Class::Event];
    let pairs = classes.map(|class| [names.front(class), names.router(class)]);
    let others = [names.dead_letters(), names.unrouted()];
    for exchange in pairs.into_iter().flatten().chain(others) {
        channel
            .exchange_delete(exchange, ExchangeDeleteOptions::default())
            .await?;
    }
    Ok(())
}

fn work_queue_arguments(dead_letters: &ShortString) -> FieldTable {
    table([
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongInt(DELIVERY_LIMIT)),
        ("x-dead-letter-exchange", text(dead_letters.as_str())),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ])
}

async fn exchange(
    channel: &Channel,
    name: &ShortString,
    kind: ExchangeKind,
    arguments: FieldTable,
) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(name.clone(), kind, options, arguments)
        .await
}

async fn durable_queue(
    channel: &Channel,
    name: &ShortString,
    arguments: FieldTable,
) -> lapin::Result<()> {
    channel
        .queue_declare(name.clone(), QueueDeclareOptions::durable(), arguments)
        .await?;
    Ok(())
}

async fn bind(
    channel: &Channel,
    queue: &ShortString,
    exchange: &ShortString,
    key: &str,
) -> lapin::Result<()> {
    let options = QueueBindOptions::default();
    channel
        .queue_bind(
            queue.clone(),
            exchange.clone(),
            key.into(),
            options,
            FieldTable::default(),
        )
        .await
}

fn table<const N: usize>(arguments: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert(name.into(), value);
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}
