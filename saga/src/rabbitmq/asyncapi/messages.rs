//! The AMQP messages: each event alone, and packed with others of its type.

use events::{BATCH_CONTENT_TYPE, EVENT_CONTENT_TYPE, MessageType};
use serde_json::{Map, Value, json};

use super::super::pack::EVENTS_HEADER;
use super::super::{compression, copy};
use super::{BINDING_VERSION, reference};

/// What every message has, for who looks at a queue; nothing is decided by them. Of a pack they are
/// those of its first event.
const PROPERTIES: [(&str, &str); 7] = [
    ("app_id", "the service that published it (`source`)"),
    ("content_type", "of one event, or of a batch"),
    ("correlation_id", "the saga (`sagaid`)"),
    ("delivery_mode", "2: written to disk"),
    ("message_id", "the event's `id`"),
    (
        "timestamp",
        "when its publisher decided it (`time`), in seconds",
    ),
    (
        "type",
        "the event's `type`, in the version that this build writes",
    ),
];

/// Headers of a single event that failed before, or that an operator put back.
const COPY_HEADERS: [(&str, &str, &str); 8] = [
    (copy::ATTEMPTS, "integer", "how often handling has failed"),
    (copy::FAILURE, "string", "why it failed last"),
    (copy::SERVICE, "string", "the service where it failed"),
    (copy::FIRST_FAILURE, "string", "when it failed first"),
    (copy::LAST_FAILURE, "string", "when it failed last"),
    (
        copy::ORIGINAL_EXCHANGE,
        "string",
        "where it was published to",
    ),
    (
        copy::ORIGINAL_ROUTING_KEY,
        "string",
        "the routing key it was published with",
    ),
    (
        copy::REQUEUED,
        "integer",
        "how often an operator put it back",
    ),
];

const COPY: &str = "HeadersOfACopy";
const BATCH: &str = "HeadersOfABatch";

pub(super) fn all() -> Value {
    let mut messages = Map::new();
    let types = MessageType::ALL.iter();
    for wire_type in types.flat_map(|known| known.wire_types()) {
        messages.insert((*wire_type).to_owned(), single(wire_type));
        messages.insert(batch_of(wire_type), batch(wire_type));
    }
    Value::Object(messages)
}

/// The messages of this type that are sent.
pub(super) fn written(message: MessageType) -> impl Iterator<Item = String> {
    with_batches(&message.wire_types()[..1])
}

/// The messages of this type that are received.
pub(super) fn read(message: MessageType) -> impl Iterator<Item = String> {
    with_batches(message.wire_types())
}

fn with_batches(wire_types: &'static [&'static str]) -> impl Iterator<Item = String> {
    let both = |wire_type: &&str| [(*wire_type).to_owned(), batch_of(wire_type)];
    wire_types.iter().flat_map(both)
}

pub(super) fn references(names: impl Iterator<Item = String>) -> Value {
    let entries = names.map(|name| {
        let message = reference(&["components", "messages", &name]);
        (name, message)
    });
    Value::Object(entries.collect())
}

fn batch_of(wire_type: &str) -> String {
    format!("{wire_type}.batch")
}

fn single(wire_type: &str) -> Value {
    json!({
        "name": wire_type,
        "title": wire_type,
        "contentType": EVENT_CONTENT_TYPE,
        "correlationId": {"location": "$message.payload#/sagaid"},
        "headers": reference(&["components", "schemas", COPY]),
        "payload": reference(&["components", "schemas", wire_type]),
        "bindings": bindings(wire_type),
    })
}

fn batch(wire_type: &str) -> Value {
    json!({
        "name": batch_of(wire_type),
        "title": format!("Several {wire_type}"),
        "description": format!(
            "With the content encoding `{}`, which those of 4 KiB and more have, as an LZ4 frame.",
            compression::ENCODING
        ),
        "contentType": BATCH_CONTENT_TYPE,
        "headers": reference(&["components", "schemas", BATCH]),
        "payload": {
            "type": "array",
            "items": reference(&["components", "schemas", wire_type]),
            "minItems": 2,
        },
        "bindings": bindings(wire_type),
    })
}

/// The schemas of the headers.
pub(super) fn headers() -> [(String, Value); 2] {
    let of_copies = COPY_HEADERS.map(|(name, of_type, what)| {
        let header = json!({"type": of_type, "description": what});
        (name.to_owned(), header)
    });
    let copy = json!({
        "type": "object",
        "description": "Only of an event that failed before, or that an operator put back.",
        "properties": Value::Object(of_copies.into_iter().collect()),
    });
    let batch = json!({
        "type": "object",
        "properties": {
            EVENTS_HEADER: {"type": "integer", "description": "how many events it holds"},
        },
        "required": [EVENTS_HEADER],
    });
    [(COPY.to_owned(), copy), (BATCH.to_owned(), batch)]
}

fn bindings(wire_type: &str) -> Value {
    json!({"amqp": {"messageType": wire_type, "bindingVersion": BINDING_VERSION}})
}

pub(super) fn properties() -> Value {
    let all = PROPERTIES.map(|(name, what)| (name.to_owned(), json!(what)));
    Value::Object(all.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use events::{Event, Timestamp};
    use lapin::BasicProperties;
    use lapin::message::Delivery;
    use lapin::types::{AMQPValue, FieldTable};

    use super::super::super::pack::{Address, Label};
    use super::*;

    fn event() -> Event {
        let golden = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../events/tests/golden/TicketPurchased.v1.json"
        );
        Event::from_json(&std::fs::read(golden).unwrap()).unwrap()
    }

    /// The names of the properties that are set, headers aside.
    fn set(properties: &BasicProperties) -> BTreeSet<&'static str> {
        let all = [
            ("app_id", properties.app_id().is_some()),
            ("cluster_id", properties.cluster_id().is_some()),
            ("content_encoding", properties.content_encoding().is_some()),
            ("content_type", properties.content_type().is_some()),
            ("correlation_id", properties.correlation_id().is_some()),
            ("delivery_mode", properties.delivery_mode().is_some()),
            ("expiration", properties.expiration().is_some()),
            ("message_id", properties.message_id().is_some()),
            ("priority", properties.priority().is_some()),
            ("reply_to", properties.reply_to().is_some()),
            ("timestamp", properties.timestamp().is_some()),
            ("type", properties.kind().is_some()),
            ("user_id", properties.user_id().is_some()),
        ];
        all.into_iter()
            .filter(|(_, is_set)| *is_set)
            .map(|(name, _)| name)
            .collect()
    }

    #[test]
    fn the_described_properties_are_those_that_are_set() {
        let published = Label::of(&event()).into_properties();
        let described = PROPERTIES.map(|(name, _)| name).into_iter().collect();
        assert_eq!(set(&published), described);
    }

    #[test]
    fn the_described_headers_are_those_of_a_copy() {
        let json = event().to_json();
        let mut delivery =
            Delivery::mock(1, "saga.events".into(), "Key".into(), false, json.clone());
        let mut requeued = FieldTable::default();
        requeued.insert(copy::REQUEUED.into(), AMQPValue::LongInt(1));
        delivery.properties = BasicProperties::default().with_headers(requeued);
        let failed = copy::Failed {
            delivery: &delivery,
            json: &json,
            service: "regist-worker",
            failure: "it failed",
            at: Timestamp::EPOCH,
        };
        let copy = failed.copy_to(Address::Queue {
            exchange: "saga.dlx".into(),
            key: "queue".into(),
        });
        let properties = copy.label.into_properties();
        let headers = properties.headers().as_ref().unwrap().inner();
        let headers: BTreeSet<&str> = headers.keys().map(|name| name.as_str()).collect();
        assert_eq!(
            headers,
            COPY_HEADERS.map(|(name, ..)| name).into_iter().collect()
        );
    }
}
