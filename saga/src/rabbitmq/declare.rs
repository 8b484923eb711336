//! Brings the topology onto the broker, or only checks that it is there.
//!
//! A redeclaration with other arguments, or without the permission, is a [`TopologyError`] that
//! names what is wrong; anything else is the broker being away.

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, Connection};
use serde::Deserialize;

use super::connection::{Trouble, short};
use super::rights::Rights;
use super::topology::{
    Argument, Binding, Destination, Exchange, ExchangeKind, QueueDefinition, Topology,
};

/// Whether a process brings the topology itself or finds it provisioned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum TopologyMode {
    #[default]
    Declare,
    /// Only look whether everything is there that is used, which needs no permission to configure.
    /// Arguments and bindings cannot be looked at over AMQP.
    Check,
}

/// Declares everything, on a channel of its own: any refusal closes the channel.
pub(super) async fn declare(connection: &Connection, topology: &Topology) -> Result<(), Trouble> {
    let channel = connection.create_channel().await?;
    bring(&channel, topology, false, |_| true).await?;
    for binding in &topology.bindings {
        let bound = bind(&channel, binding).await;
        bound.map_err(|error| Trouble::with(format!("binding of {}", binding.from), error))?;
    }
    Ok(channel.close(200, "declared".into()).await?)
}

/// Checks that everything is there to which there is a right. What others use, they look for.
pub(super) async fn check(
    connection: &Connection,
    topology: &Topology,
    rights: &Rights,
) -> Result<(), Trouble> {
    let channel = connection.create_channel().await?;
    bring(&channel, topology, true, |name| rights.touch(name)).await?;
    Ok(channel.close(200, "checked".into()).await?)
}

/// The exchanges and queues of these names; passive, it only looks at them.
async fn bring(
    channel: &Channel,
    topology: &Topology,
    passive: bool,
    concerns: impl Fn(&str) -> bool,
) -> Result<(), Trouble> {
    for exchange in topology.exchanges.iter().filter(|it| concerns(&it.name)) {
        let declared = declare_exchange(channel, exchange, passive).await;
        declared.map_err(|error| Trouble::with(format!("exchange {}", exchange.name), error))?;
    }
    for queue in topology.queues.iter().filter(|it| concerns(&it.name)) {
        let declared = declare_queue(channel, queue, passive).await;
        declared.map_err(|error| Trouble::with(format!("queue {}", queue.name), error))?;
    }
    Ok(())
}

/// Removes everything of the topology and the record of operations, with all messages in it.
pub(super) async fn remove(
    connection: &Connection,
    topology: &Topology,
    operations: &str,
) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    let queues = topology.queues.iter().map(|queue| queue.name.as_str());
    for queue in queues.chain([operations]) {
        let options = QueueDeleteOptions::default();
        channel.queue_delete(short(queue)?, options).await?;
    }
    for exchange in &topology.exchanges {
        let options = ExchangeDeleteOptions::default();
        channel
            .exchange_delete(short(&exchange.name)?, options)
            .await?;
    }
    // A channel that is only dropped closes while its connection does, and neither gets to say so.
    channel.close(200, "removed".into()).await
}

async fn declare_exchange(
    channel: &Channel,
    exchange: &Exchange,
    passive: bool,
) -> lapin::Result<()> {
    let kind = match exchange.kind {
        ExchangeKind::Direct => lapin::ExchangeKind::Direct,
        ExchangeKind::Fanout => lapin::ExchangeKind::Fanout,
        ExchangeKind::Topic => lapin::ExchangeKind::Topic,
    };
    let options = ExchangeDeclareOptions {
        passive,
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    if let Some(alternate) = &exchange.alternate {
        arguments.insert("alternate-exchange".into(), long_text(alternate));
    }
    channel
        .exchange_declare(short(&exchange.name)?, kind, options, arguments)
        .await
}

pub(super) async fn declare_queue(
    channel: &Channel,
    queue: &QueueDefinition,
    passive: bool,
) -> lapin::Result<()> {
    let options = QueueDeclareOptions {
        passive,
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    for (key, value) in &queue.arguments {
        let value = match value {
            Argument::Text(text) => long_text(text),
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
        };
        arguments.insert(ShortString::from(*key), value);
    }
    let name = short(&queue.name)?;
    channel.queue_declare(name, options, arguments).await?;
    Ok(())
}

async fn bind(channel: &Channel, binding: &Binding) -> lapin::Result<()> {
    let (from, key) = (short(&binding.from)?, short(&binding.key)?);
    let none = FieldTable::default();
    match &binding.to {
        Destination::Exchange(to) => {
            let options = ExchangeBindOptions::default();
            channel
                .exchange_bind(short(to)?, from, key, options, none)
                .await
        }
        Destination::Queue(to) => {
            let options = QueueBindOptions::default();
            channel
                .queue_bind(short(to)?, from, key, options, none)
                .await
        }
    }
}

fn long_text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}
