//! Where messages are sent to (routing keys) and where they are received from (queues).

use events::choreography::{self, API_GATEWAY};
use events::{Class, MessageType};
use serde_json::{Map, Value, json};

use super::super::names::{Names, parking};
use super::super::topology::{Argument, Destination, QueueDefinition, Topology};
use super::{BINDING_VERSION, messages, reference};

/// Stands for the gateway instance that waits for a saga.
const INSTANCE: &str = "{instance}";

pub(super) fn all(names: &Names, topology: &Topology) -> Value {
    let mut channels = Map::new();
    for &message in MessageType::ALL {
        channels.insert(message.name().to_owned(), address(names, message));
    }
    for step in choreography::steps() {
        let queue = names.work(step);
        let mut channel = on_queue(topology, &queue, &[step.on]);
        channel["description"] = json!(format!(
            "What fails here is tried again after the delay of each retry tier and then parked in \
             `{}`.",
            parking(&queue)
        ));
        channels.insert(queue, channel);
    }
    channels.insert(
        names.journal(),
        on_queue(topology, &names.journal(), MessageType::ALL),
    );
    channels.insert(replies_name(), replies(names));
    Value::Object(channels)
}

pub(super) fn replies_name() -> String {
    format!("{}.replies", API_GATEWAY.0)
}

/// What ends a saga.
pub(super) fn ends() -> Vec<MessageType> {
    let all = MessageType::ALL.iter().copied();
    all.filter(|message| choreography::may_end_a_saga(*message))
        .collect()
}

/// The routing key that a message is published with.
fn address(names: &Names, message: MessageType) -> Value {
    let ends_a_saga = choreography::may_end_a_saga(message);
    let address = match ends_a_saga {
        true => format!("{message}.{INSTANCE}"),
        false => message.name().to_owned(),
    };
    let mut channel = json!({
        "address": address,
        "messages": messages::references(messages::written(message)),
        "bindings": {"amqp": {
            "is": "routingKey",
            "exchange": {
                "name": names.front(message.class()),
                "type": "fanout",
                "durable": true,
                "autoDelete": false,
            },
            "x-router": names.router(message.class()),
            "bindingVersion": BINDING_VERSION,
        }},
    });
    if ends_a_saga {
        channel["parameters"] = instance();
    }
    channel
}

fn instance() -> Value {
    json!({"instance": {
        "description": "The gateway instance that waits for the end of the saga (`replyto`). When \
            none waits, the key is the message's name alone."
    }})
}

fn on_queue(topology: &Topology, queue: &str, read: &[MessageType]) -> Value {
    let definition = topology.queues.iter().find(|known| known.name == queue);
    let definition = definition.expect("the queue is in the topology");
    json!({
        "address": queue,
        "messages": messages::references(read.iter().flat_map(|known| messages::read(*known))),
        "bindings": {"amqp": {
            "is": "queue",
            "queue": {"name": queue, "durable": true, "exclusive": false, "autoDelete": false},
            "x-arguments": arguments(definition),
            "x-bound-to": bound_to(topology, queue),
            "x-retry-tiers": tiers(topology, queue),
            "bindingVersion": BINDING_VERSION,
        }},
    })
}

fn arguments(definition: &QueueDefinition) -> Value {
    let pairs = definition.arguments.iter().map(|(name, value)| {
        let value = match value {
            Argument::Text(text) => json!(text),
            Argument::Number(number) => json!(number),
        };
        ((*name).to_owned(), value)
    });
    Value::Object(pairs.collect())
}

fn bound_to(topology: &Topology, queue: &str) -> Vec<Value> {
    let here = Destination::Queue(queue.to_owned());
    let bindings = topology.bindings.iter().filter(|bound| bound.to == here);
    bindings
        .map(|bound| json!({"exchange": bound.from, "key": bound.key}))
        .collect()
}

fn tiers<'a>(topology: &'a Topology, queue: &str) -> Vec<&'a str> {
    let prefix = format!("{queue}.retry.");
    let names = topology.queues.iter().map(|known| known.name.as_str());
    names.filter(|name| name.starts_with(&prefix)).collect()
}

/// Each gateway instance has its own, as long as it is connected.
fn replies(names: &Names) -> Value {
    let read = ends().into_iter().flat_map(messages::read);
    json!({
        "address": names.replies(INSTANCE),
        "parameters": instance(),
        "messages": messages::references(read),
        "bindings": {"amqp": {
            "is": "queue",
            "queue": {
                "name": names.replies(INSTANCE),
                "durable": false,
                "exclusive": true,
                "autoDelete": true,
            },
            "x-bound-to": [{
                "exchange": names.router(Class::Event),
                "key": format!("*.{INSTANCE}"),
            }],
            "bindingVersion": BINDING_VERSION,
        }},
    })
}

pub(super) fn to(channel: &str) -> Value {
    reference(&["channels", channel])
}
