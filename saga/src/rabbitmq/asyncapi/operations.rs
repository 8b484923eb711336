//! What each service sends and receives.

use events::MessageType;
use events::choreography::{API_GATEWAY, Role, SAGAS, Service, Step};
use serde_json::{Map, Value, json};

use super::super::names::Names;
use super::super::pack::PERSISTENT;
use super::{BINDING_VERSION, channels, messages, reference, services};

pub(super) fn all(names: &Names) -> Value {
    let mut operations = Map::new();
    for saga in SAGAS {
        let (id, send) = send(API_GATEWAY, saga.start);
        operations.insert(id, send);
        for step in saga.steps {
            let (id, receive) = receive(names, step);
            operations.insert(id, receive);
            operations.extend(step.outputs().map(|output| send_by(step, output)));
        }
    }
    let replies = channels::ends();
    operations.insert(
        format!("{}.receives.outcomes", API_GATEWAY.0),
        listen(
            &channels::replies_name(),
            &replies,
            "Learns how the sagas ended whose callers wait here.",
        ),
    );
    operations.insert(
        format!("{}.reads.journal", API_GATEWAY.0),
        listen(
            &names.journal(),
            MessageType::ALL,
            "Projects every message into the ledger.",
        ),
    );
    Value::Object(operations)
}

fn send(service: Service, message: MessageType) -> (String, Value) {
    let operation = json!({
        "action": "send",
        "channel": channels::to(message.name()),
        "summary": format!("Starts the saga {message}."),
        "tags": [{"name": service.0}],
        "messages": of_channel(message.name(), messages::written(message)),
        "bindings": {"amqp": {
            "deliveryMode": PERSISTENT,
            "mandatory": true,
            "timestamp": true,
            "bindingVersion": BINDING_VERSION,
        }},
    });
    (format!("{}.sends.{message}", service.0), operation)
}

fn send_by(step: &Step, output: MessageType) -> (String, Value) {
    let (id, mut operation) = send(step.service, output);
    let summary = match step.role {
        Role::Do { refusal } if refusal == output => format!("Refuses {}.", step.on),
        Role::Do { .. } => format!("Did its part on {}.", step.on),
        Role::Finish => format!("Did, on {}, what cannot be refused any more.", step.on),
        Role::Undo { of } => format!("Took back, on {}, what it did on {of}.", step.on),
    };
    operation["summary"] = json!(summary);
    (id, operation)
}

fn receive(names: &Names, step: &Step) -> (String, Value) {
    let outputs: Vec<&str> = step.outputs().map(MessageType::name).collect();
    let summary = format!("Answers with {}.", outputs.join(" or "));
    let operation = listen(&names.work(step), &[step.on], &summary);
    let id = format!("{}.receives.{}", step.service.0, step.on);
    (id, of(step.service, operation))
}

fn of(service: Service, mut operation: Value) -> Value {
    operation["tags"] = json!([{"name": service.0}]);
    operation
}

/// By the gateway.
fn listen(channel: &str, read: &[MessageType], summary: &str) -> Value {
    let read = read.iter().flat_map(|message| messages::read(*message));
    json!({
        "action": "receive",
        "channel": channels::to(channel),
        "summary": summary,
        "tags": [{"name": API_GATEWAY.0}],
        "messages": of_channel(channel, read),
        "bindings": {"amqp": {
            "ack": channel != channels::replies_name(),
            "bindingVersion": BINDING_VERSION,
        }},
    })
}

fn of_channel(channel: &str, names: impl IntoIterator<Item = String>) -> Vec<Value> {
    let names = names.into_iter();
    names
        .map(|name| reference(&["channels", channel, "messages", &name]))
        .collect()
}

#[test]
fn every_operation_is_of_a_service_of_the_table() {
    let services: Vec<&str> = services().into_iter().map(|service| service.0).collect();
    for (id, operation) in all(&Names::new("")).as_object().unwrap() {
        let tag = operation["tags"][0]["name"].as_str().unwrap();
        assert!(
            services.contains(&tag) && id.starts_with(tag),
            "{id} of {tag}"
        );
    }
}
