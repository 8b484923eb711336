//! The check of compatibility, tried on changes of a message in both directions.

#![expect(dead_code, reason = "the fields are there to be described")]

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::Document;
use super::checked_in::{Schemas, blessed, checked_in, derived, objections};
use crate::{Class, UserId};

const SAMPLE: &str = "SeatTaken.v1";

#[derive(Deserialize, JsonSchema)]
enum Colour {
    Red,
    Blue,
}

#[derive(Deserialize, JsonSchema)]
enum FewerColours {
    Red,
}

#[derive(Deserialize, JsonSchema)]
enum MoreColours {
    Red,
    Blue,
    Green,
}

/// The data of a message, as a type of its own for each form that it is given.
macro_rules! forms {
    ($($form:ident { $($field:ident: $of:ty),* })*) => {$(
        #[derive(Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase")]
        struct $form { $($field: $of),* }
    )*};
}

forms! {
    Seat { row: u32, note: Option<String> }
    SeatWithPrice { row: u32, note: Option<String>, price: Option<u32> }
    SeatWithRequiredPrice { row: u32, note: Option<String>, price: u32 }

    Before { user_id: UserId, colour: Colour, seat: Seat, guest: Option<UserId> }
    OptionalAdded { user_id: UserId, colour: Colour, seat: SeatWithPrice, guest: Option<UserId>, hall: Option<String> }
    Removed { colour: Colour, seat: Seat, guest: Option<UserId> }
    OptionalRemoved { user_id: UserId, colour: Colour, seat: Seat }
    Renamed { visitor_id: UserId, colour: Colour, seat: Seat, guest: Option<UserId> }
    RequiredAdded { user_id: UserId, colour: Colour, seat: Seat, guest: Option<UserId>, hall: String }
    RequiredNow { user_id: UserId, colour: Colour, seat: Seat, guest: UserId }
    OptionalNow { user_id: Option<UserId>, colour: Colour, seat: Seat, guest: Option<UserId> }
    OfAnotherType { user_id: String, colour: Colour, seat: Seat, guest: Option<UserId> }
    Narrowed { user_id: UserId, colour: FewerColours, seat: Seat, guest: Option<UserId> }
    Widened { user_id: UserId, colour: MoreColours, seat: Seat, guest: Option<UserId> }
    BrokenInside { user_id: UserId, colour: Colour, seat: SeatWithRequiredPrice, guest: Option<UserId> }
}

fn schemas<T: JsonSchema>(class: Class) -> Schemas {
    let Document { wire_type, schema } = Document::of::<T>(SAMPLE, class);
    Schemas::from([(wire_type.to_owned(), schema)])
}

fn before() -> Schemas {
    schemas::<Before>(Class::Event)
}

/// What is objected to when the message becomes `T`.
fn becoming<T: JsonSchema>() -> String {
    objections(&before(), &schemas::<T>(Class::Event))
}

fn assert_names(objections: &str, expected: &[&str]) {
    for part in expected {
        assert!(objections.contains(part), "no {part:?} in:\n{objections}");
    }
}

#[test]
fn added_optional_fields_pass_also_in_a_nested_object() {
    assert_eq!(becoming::<Before>(), "");
    assert_eq!(becoming::<OptionalAdded>(), "");
}

#[test]
fn another_description_passes() {
    let mut reworded = before();
    reworded.get_mut(SAMPLE).unwrap()["properties"]["sagaid"]["description"] = "So.".into();
    assert_eq!(objections(&before(), &reworded), "");
}

#[test]
fn a_removed_or_renamed_field_is_refused_by_its_name() {
    assert_names(
        &becoming::<Removed>(),
        &["SeatTaken.v1, field `data.userId`: it is gone"],
    );
    assert_names(
        &becoming::<OptionalRemoved>(),
        &["field `data.guest`: it is gone"],
    );
    let renamed = becoming::<Renamed>();
    assert_names(
        &renamed,
        &[
            "field `data.userId`: it is gone",
            "field `data.visitorId`: it is new and required",
        ],
    );
}

#[test]
fn a_field_that_becomes_required_or_optional_is_refused() {
    assert_names(
        &becoming::<RequiredAdded>(),
        &["field `data.hall`: it is new and required"],
    );
    assert_names(
        &becoming::<RequiredNow>(),
        &["field `data.guest`: it is required now"],
    );
    assert_names(
        &becoming::<OptionalNow>(),
        &["field `data.userId`: it may be absent now"],
    );
    assert_names(
        &becoming::<BrokenInside>(),
        &["field `data.seat.price`: it is new and required"],
    );
}

#[test]
fn another_type_or_set_of_values_is_refused() {
    assert_names(
        &becoming::<OfAnotherType>(),
        &["field `data.userId`: its `type` was null and is \"string\""],
    );
    assert_names(
        &becoming::<Narrowed>(),
        &["field `data.colour`: the value \"Blue\" is gone"],
    );
    assert_names(
        &becoming::<Widened>(),
        &["field `data.colour`: the value \"Green\" is new"],
    );
}

#[test]
fn another_routing_class_is_refused() {
    let command = schemas::<Before>(Class::Command);
    let refused = objections(&before(), &command);
    assert_names(
        &refused,
        &["SeatTaken.v1: its routing class was \"event\" and is \"command\""],
    );
}

#[test]
fn a_message_that_is_not_read_any_more_is_refused() {
    let refused = objections(&before(), &Schemas::new());
    assert_names(
        &refused,
        &[
            "SeatTaken.v1: it is not read any more",
            "`reads 1 as …` in the line of SeatTaken",
        ],
    );
}

#[test]
fn a_change_of_the_envelope_is_told_once_and_has_no_version_to_raise() {
    let mut changed = derived();
    for schema in changed.values_mut() {
        for attribute in ["sagaid", "datacontenttype"] {
            remove(schema, attribute);
        }
    }
    let refused = objections(&derived(), &changed);
    assert_eq!(refused.lines().count(), 3, "{refused}");
    assert_names(
        &refused,
        &[
            "every message, field `sagaid`: it is gone",
            "the envelope has no version",
        ],
    );
}

#[test]
fn the_text_says_how_to_raise_the_version() {
    let refused = becoming::<Removed>();
    assert_names(
        &refused,
        &[
            "`SeatTaken: … v 2, reads 1 as …` in `register!`",
            "docs/contract.md",
        ],
    );
}

#[test]
fn blessing_refuses_a_break_and_writes_what_breaks_nobody() {
    let broken = blessed(&before(), &schemas::<Removed>(Class::Event));
    assert_names(&broken.unwrap_err(), &["field `data.userId`: it is gone"]);
    let extended = schemas::<OptionalAdded>(Class::Event);
    assert_eq!(blessed(&before(), &extended), Ok(extended.clone()));
    assert_eq!(blessed(&extended, &extended), Ok(Schemas::new()));
}

#[test]
fn a_break_is_blessed_under_a_raised_version_while_the_earlier_one_is_still_read() {
    let raised = Document::of::<Removed>("SeatTaken.v2", Class::Event);
    let raised = Schemas::from([(raised.wire_type.to_owned(), raised.schema)]);
    let forgotten = blessed(&before(), &raised).unwrap_err();
    assert_names(&forgotten, &["SeatTaken.v1: it is not read any more"]);
    let both: Schemas = before().into_iter().chain(raised.clone()).collect();
    assert_eq!(blessed(&before(), &both), Ok(raised));
}

#[test]
fn every_required_field_of_every_message_is_protected() {
    let promised = checked_in();
    for (wire_type, schema) in &promised {
        let data = schema["$defs"].as_object().unwrap().iter();
        let with_fields = data.filter(|(_, definition)| definition["properties"].is_object());
        for (definition, fields) in with_fields {
            for field in fields["properties"].as_object().unwrap().keys() {
                let mut changed = promised.clone();
                let fields = &mut changed.get_mut(wire_type).unwrap()["$defs"][definition];
                remove(fields, field);
                let refused = objections(&promised, &changed);
                assert_names(&refused, &[wire_type, &format!("{field}`: it is gone")]);
            }
        }
    }
}

fn remove(fields: &mut Value, field: &str) {
    let properties = fields["properties"].as_object_mut();
    properties.unwrap().remove(field).unwrap();
}
