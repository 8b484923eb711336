//! `docs/asyncapi.json` (AsyncAPI 3.0): who sends and receives which message, where on RabbitMQ, and
//! what it looks like. Generated from the choreography table, the [topology](super::topology) and the
//! schemas in `events/schemas/`; this fails when it is stale
//! (`BLESS=1 cargo test -p saga --lib asyncapi` writes it).

mod channels;
mod messages;
mod operations;
mod schemas;

use std::path::PathBuf;

use events::choreography::{API_GATEWAY, SAGAS, Service};
use serde_json::{Value, json};

use super::names::Names;
use super::topology::Topology;
use crate::retry::RetryPolicy;

const DESCRIPTION: &str = "A user buys a ticket and registers with it, both or neither, in a \
    choreography saga: each service reacts to messages, and none coordinates. Every message may be \
    delivered again, at any time and in any order.\n\nMessages are CloudEvents 1.0. Events that are \
    ready at the same moment for the same routing key may travel in one AMQP message, as a JSON \
    batch. Names are those without a namespace (`--namespace` is a prefix of every exchange and \
    queue). Questions (`<service>.queries`) change nothing and are not in here.";

const BINDING_VERSION: &str = "0.3.0";

fn document() -> Value {
    let names = Names::new("");
    let topology = Topology::of_choreography(&names, &RetryPolicy::default().delays);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "ticket-saga",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": events::EVENT_CONTENT_TYPE,
        "servers": {
            "rabbitmq": {
                "host": "127.0.0.1:5672",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "description": "RabbitMQ 3.10 or newer.",
            }
        },
        "channels": channels::all(&names, &topology),
        "operations": operations::all(&names),
        "components": {
            "messages": messages::all(),
            "schemas": schemas::all(),
        },
        "x-amqp-properties": messages::properties(),
        "x-exchanges": exchanges(&topology),
    })
}

/// All of them are durable.
fn exchanges(topology: &Topology) -> Vec<Value> {
    let all = topology.exchanges.iter();
    all.map(|exchange| {
        json!({
            "name": exchange.name,
            "type": exchange.kind.name(),
            "alternate": exchange.alternate,
        })
    })
    .collect()
}

/// Every service, the gateway first.
fn services() -> Vec<Service> {
    let mut services = vec![API_GATEWAY];
    for step in SAGAS.iter().flat_map(|saga| saga.steps) {
        if !services.contains(&step.service) {
            services.push(step.service);
        }
    }
    services
}

fn reference(parts: &[&str]) -> Value {
    json!({"$ref": format!("#/{}", parts.join("/"))})
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/asyncapi.json")
}

#[test]
fn the_generated_document_is_up_to_date() {
    let document = document();
    if std::env::var_os("BLESS").is_some() {
        let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
        std::fs::write(path(), text).unwrap();
    }
    let checked_in = std::fs::read(path()).unwrap_or_default();
    let checked_in: Value = serde_json::from_slice(&checked_in).unwrap_or_default();
    assert!(
        checked_in == document,
        "docs/asyncapi.json is stale: run BLESS=1 cargo test -p saga --lib asyncapi"
    );
}

/// Every value under this key, anywhere in the document.
fn values_of<'a>(key: &str, value: &'a Value, found: &mut Vec<&'a Value>) {
    if let Some(object) = value.as_object() {
        found.extend(object.get(key));
        object
            .values()
            .for_each(|value| values_of(key, value, found));
    } else if let Some(items) = value.as_array() {
        items.iter().for_each(|value| values_of(key, value, found));
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut references = Vec::new();
    values_of("$ref", &document, &mut references);
    assert!(references.len() > 500);
    for reference in references {
        let reference = reference.as_str().unwrap();
        let pointer = reference
            .strip_prefix('#')
            .expect("all are in the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_message_of_the_table_is_sent_by_one_service_and_received_by_all_who_react() {
    let operations = operations::all(&Names::new(""));
    let has = |name: String| assert!(operations.get(&name).is_some(), "no {name}");
    for saga in SAGAS {
        has(format!("{}.sends.{}", API_GATEWAY.0, saga.start));
        for step in saga.steps {
            has(format!("{}.receives.{}", step.service.0, step.on));
            for output in step.outputs() {
                has(format!("{}.sends.{output}", step.service.0));
            }
        }
    }
    let sends = operations.as_object().unwrap().keys();
    let sends = sends.filter(|name| name.contains(".sends.")).count();
    assert_eq!(sends, events::MessageType::ALL.len());
}
