//! JSON Schemas (draft 2020-12) of all messages, derived from the types that decode them.
//!
//! They are checked in (`events/schemas/`), one self-contained file for each CloudEvents type that is
//! read, and are the memory of what readers were promised: [`checked_in`] refuses a change that
//! [`compatibility`] finds would break them. A schema says what is *read*; what is written is
//! narrower (`docs/contract.md`). Only tests know this module, so only they need its crates.

mod checked_in;
mod compatibility;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod validation;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, json_schema};
use serde_json::{Value, json};

use crate::Class;
use crate::envelope::Wire;

/// Says whether a message is a command or an event, and with it which exchange it goes to.
const CLASS: &str = "x-class";

/// Every number up to 2^64-1 in digits; leading zeros do not matter.
const U64_IN_DIGITS: &str = "^0*([0-9]{1,19}|1[0-7][0-9]{18}|18[0-3][0-9]{17}|184[0-3][0-9]{16}\
    |1844[0-5][0-9]{15}|18446[0-6][0-9]{14}|184467[0-3][0-9]{13}|1844674[0-3][0-9]{12}\
    |184467440[0-6][0-9]{10}|1844674407[0-2][0-9]{9}|18446744073[0-6][0-9]{8}\
    |1844674407370[0-8][0-9]{6}|18446744073709[0-4][0-9]{5}|184467440737095[0-4][0-9]{4}\
    |18446744073709550[0-9]{3}|18446744073709551[0-5][0-9]{2}|1844674407370955160[0-9]\
    |1844674407370955161[0-5])$";

/// The schema of one CloudEvents type, envelope included.
pub(crate) struct Document {
    wire_type: &'static str,
    schema: Value,
}

impl Document {
    pub(crate) fn of<T: JsonSchema>(wire_type: &'static str, class: Class) -> Self {
        let settings = SchemaSettings::draft2020_12()
            .for_deserialize()
            .with_transform(RecursiveTransform(on_one_line));
        let root = settings
            .into_generator()
            .into_root_schema_for::<Wire<'static, T>>();
        let mut schema = root.to_value();
        schema["title"] = json!(wire_type);
        schema["description"] = schema["$defs"][T::schema_name().as_ref()]["description"].clone();
        schema["properties"]["type"]["const"] = json!(wire_type);
        schema[CLASS] = json!(match class {
            Class::Command => "command",
            Class::Event => "event",
        });
        Self { wire_type, schema }
    }
}

/// The lines of a doc comment are no lines of a schema.
fn on_one_line(schema: &mut Schema) {
    if let Some(text) = schema.get("description").and_then(Value::as_str) {
        let text = text.replace('\n', " ");
        schema.insert("description".to_owned(), text.into());
    }
}

/// The schema of a caller's id, as [`crate::UserId`] reads it.
pub(crate) fn callers_id() -> Schema {
    json_schema!({
        "description": "The caller's own number, a whole one from 0 to 18446744073709551615. \
            Written as a number, without a fraction or an exponent; a string of digits is read too.",
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": u64::MAX},
            {"type": "string", "pattern": U64_IN_DIGITS}
        ]
    })
}
