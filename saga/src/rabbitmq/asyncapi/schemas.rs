//! The checked-in schemas of the events, in one name space: what all of them say stands once.

use std::path::PathBuf;

use events::MessageType;
use serde_json::{Map, Value, json};

use super::{messages, reference};

/// What every event says.
const ENVELOPE: &str = "CloudEvent";

pub(super) fn all() -> Value {
    let mut schemas: Map<_, _> = messages::headers().into_iter().collect();
    let types = MessageType::ALL.iter();
    for wire_type in types.flat_map(|known| known.wire_types()) {
        let mut schema = checked_in(wire_type);
        point_to_components(&mut schema);
        add_definitions(&mut schemas, &mut schema);
        let own = take_own(&mut schema);
        let envelope = schemas.entry(ENVELOPE).or_insert_with(|| schema.clone());
        assert_eq!(*envelope, schema, "{wire_type} has an envelope of its own");
        schemas.insert((*wire_type).to_owned(), own);
    }
    Value::Object(schemas)
}

fn checked_in(wire_type: &str) -> Value {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../events/schemas");
    let file = std::fs::read(folder.join(format!("{wire_type}.json")));
    serde_json::from_slice(&file.expect("bless the schemas first")).unwrap()
}

fn point_to_components(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get_mut("$ref") {
                *reference = reference.replace("#/$defs/", "#/components/schemas/");
            }
            object.values_mut().for_each(point_to_components);
        }
        Value::Array(items) => items.iter_mut().for_each(point_to_components),
        _ => {}
    }
}

fn add_definitions(schemas: &mut Map<String, Value>, schema: &mut Value) {
    let Value::Object(definitions) = schema["$defs"].take() else {
        return;
    };
    for (name, definition) in definitions {
        let known = schemas.entry(&name).or_insert_with(|| definition.clone());
        assert_eq!(*known, definition, "two types are called {name}");
    }
}

/// What this event says beside the envelope, which remains.
fn take_own(schema: &mut Value) -> Value {
    let (title, description) = (schema["title"].take(), schema["description"].take());
    let class = schema["x-class"].take();
    let properties = &mut schema["properties"];
    let data = properties["data"].take();
    let wire_type = properties["type"]["const"].take();
    if let Some(envelope) = schema.as_object_mut() {
        envelope.retain(|keyword, value| keyword != "$schema" && !value.is_null());
        envelope.insert("title".to_owned(), json!(ENVELOPE));
    }
    schema["properties"]["data"] = json!({});
    if let Some(wire_type) = schema["properties"]["type"].as_object_mut() {
        wire_type.remove("const");
    }
    json!({
        "title": title,
        "description": description,
        "x-class": class,
        "allOf": [
            reference(&["components", "schemas", ENVELOPE]),
            {"properties": {"type": {"const": wire_type}, "data": data}},
        ],
    })
}
