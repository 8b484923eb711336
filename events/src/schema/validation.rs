//! The checked-in schemas are true: they accept what the decoder accepts, and nothing else.

use std::path::Path;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::checked_in::checked_in;
use crate::{Event, MessageType};

fn validator(wire_type: &str) -> Validator {
    jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&checked_in()[wire_type])
        .unwrap()
}

fn golden(wire_type: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let file = std::fs::read(folder.join(format!("{wire_type}.json"))).unwrap();
    serde_json::from_slice(&file).unwrap()
}

fn wire_types() -> impl Iterator<Item = &'static str> {
    MessageType::ALL
        .iter()
        .flat_map(|known| known.wire_types())
        .copied()
}

#[test]
fn every_schema_is_one_of_draft_2020_12() {
    for (wire_type, schema) in checked_in() {
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        assert!(
            jsonschema::draft202012::meta::is_valid(&schema),
            "{wire_type}"
        );
    }
}

#[test]
fn every_golden_file_is_valid_by_its_own_schema_and_by_no_other() {
    for wire_type in wire_types() {
        let validator = validator(wire_type);
        let own = golden(wire_type);
        assert!(validator.is_valid(&own), "{wire_type}");
        for other in wire_types().filter(|other| *other != wire_type) {
            assert!(
                !validator.is_valid(&golden(other)),
                "{other} as {wire_type}"
            );
        }
    }
}

/// Values that are right for some field and wrong for others. The one array is empty: serde would
/// take a full one for an object inside the data, its fields in order, which no schema promises.
fn values() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(7),
        json!(1.5),
        json!(u64::MAX),
        json!("7"),
        json!("0018446744073709551615"),
        json!("18446744073709551616"),
        json!("+1"),
        json!(""),
        json!("01934f00-0000-7000-8000-000000000009"),
        json!("2026-11-22T20:15:13+01:00"),
        json!("2026-11-22 20:15"),
        json!({}),
        json!([]),
    ]
}

/// Every event that differs from this one in one field: the field is absent, or something else.
fn mutants(event: &Value) -> Vec<Value> {
    let mut mutants = Vec::new();
    for parent in ["", "/data", "/data/freed"] {
        let fields = event.pointer(parent).and_then(Value::as_object);
        for field in fields.into_iter().flat_map(|fields| fields.keys()) {
            let mut without = event.clone();
            let fields = without.pointer_mut(parent).and_then(Value::as_object_mut);
            fields.unwrap().remove(field);
            mutants.push(without);
            mutants.extend(values().into_iter().map(|value| {
                let mut changed = event.clone();
                changed.pointer_mut(parent).unwrap()[field] = value;
                changed
            }));
        }
    }
    mutants
}

#[test]
fn schema_and_decoder_agree_on_every_event_with_one_field_missing_or_wrong() {
    let (mut accepted, mut refused) = (0, 0);
    for wire_type in wire_types() {
        let validator = validator(wire_type);
        for mutant in mutants(&golden(wire_type)) {
            let decoded = Event::from_json(mutant.to_string().as_bytes());
            assert_eq!(
                validator.is_valid(&mutant),
                decoded.is_ok(),
                "{mutant}\nby the decoder: {decoded:?}"
            );
            *(if decoded.is_ok() {
                &mut accepted
            } else {
                &mut refused
            }) += 1;
        }
    }
    assert!(
        accepted > 500 && refused > 5_000,
        "{accepted} accepted, {refused} refused"
    );
}
