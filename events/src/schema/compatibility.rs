//! What a change of a schema breaks. Pure.
//!
//! Two readers must be served. The new build reads what was written before: journal, decisions, dead
//! letters. A build of before reads what the new one writes: services are rolled out one after the
//! other. So a field may be added if it is optional, and otherwise nothing may change.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::CLASS;

/// Keywords that say nothing about what is valid.
const ANNOTATIONS: [&str; 7] = [
    "$schema",
    "$defs",
    "$ref",
    "title",
    "description",
    "default",
    "examples",
];
/// Keywords that hold a list of schemas.
const LISTS: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords that hold a schema.
const SCHEMAS: [&str; 2] = ["items", "additionalProperties"];
/// Keywords that are compared field by field, or value by value.
const MEMBERS: [&str; 3] = ["properties", "required", "enum"];

/// One thing that a reader of the previous version cannot cope with.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Break {
    /// The field, by its path in the event; empty for the message itself.
    pub(super) field: String,
    pub(super) what: String,
}

/// What of `old` the `new` schema breaks.
pub(super) fn breaks(old: &Value, new: &Value) -> Vec<Break> {
    let mut comparison = Comparison {
        roots: (old, new),
        found: Vec::new(),
    };
    if old[CLASS] != new[CLASS] {
        let what = format!(
            "its routing class was {} and is {}: it goes to another exchange, where its readers have \
             no queue. Put it back; what goes elsewhere is another message, with a name of its own",
            old[CLASS], new[CLASS]
        );
        comparison.report("", what);
    }
    comparison.compare("", old, new);
    comparison.found
}

struct Comparison<'a> {
    roots: (&'a Value, &'a Value),
    found: Vec<Break>,
}

impl<'a> Comparison<'a> {
    fn report(&mut self, field: &str, what: impl Into<String>) {
        self.found.push(Break {
            field: field.to_owned(),
            what: what.into(),
        });
    }

    fn compare(&mut self, field: &str, old: &Value, new: &Value) {
        let (old, new) = (resolve(self.roots.0, old), resolve(self.roots.1, new));
        self.compare_fields(field, &old, &new);
        self.compare_values(field, &old, &new);
        let keywords: BTreeSet<&str> = keywords(&old).chain(keywords(&new)).collect();
        for keyword in keywords {
            self.compare_keyword(field, keyword, &old[keyword], &new[keyword]);
        }
    }

    fn compare_fields(&mut self, field: &str, old: &Value, new: &Value) {
        let (old_fields, new_fields) = (members(old), members(new));
        for (name, before) in &old_fields {
            let path = join(field, name);
            let Some(now) = new_fields.get(name) else {
                self.report(&path, "it is gone, or has another name");
                continue;
            };
            match (is_required(old, name), is_required(new, name)) {
                (false, true) => self.report(&path, "it is required now: messages that were written without it cannot be read any more"),
                (true, false) => self.report(&path, "it may be absent now: a reader of the previous version requires it"),
                (true, true) | (false, false) => {}
            }
            self.compare(&path, before, now);
        }
        let added = new_fields
            .keys()
            .filter(|name| !old_fields.contains_key(*name));
        for name in added.filter(|name| is_required(new, name)) {
            self.report(&join(field, name), "it is new and required: messages that were written without it cannot be read any more");
        }
    }

    /// Of an enumeration.
    fn compare_values(&mut self, field: &str, old: &Value, new: &Value) {
        let (Some(before), Some(now)) = (old["enum"].as_array(), new["enum"].as_array()) else {
            if old["enum"] != new["enum"] {
                self.report(field, "it has become, or ceased to be, a list of values");
            }
            return;
        };
        for value in before.iter().filter(|value| !now.contains(value)) {
            self.report(field, format!("the value {value} is gone: messages that were written with it cannot be read any more"));
        }
        for value in now.iter().filter(|value| !before.contains(value)) {
            self.report(
                field,
                format!("the value {value} is new: a reader of the previous version refuses it"),
            );
        }
    }

    fn compare_keyword(&mut self, field: &str, keyword: &str, old: &Value, new: &Value) {
        if let (true, Some(before), Some(now)) =
            (LISTS.contains(&keyword), old.as_array(), new.as_array())
            && before.len() == now.len()
        {
            for (before, now) in before.iter().zip(now) {
                self.compare(field, before, now);
            }
        } else if SCHEMAS.contains(&keyword) && old.is_object() && new.is_object() {
            self.compare(&join(field, "[]"), old, new);
        } else if old != new {
            self.report(field, format!("its `{keyword}` was {old} and is {new}"));
        }
    }
}

/// The schema that a reference leads to, with what is said beside the reference; a choice between
/// constants as an enumeration.
fn resolve(root: &Value, schema: &Value) -> Value {
    let mut resolved = match schema["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.trim_start_matches('#');
            let target = root.pointer(pointer);
            resolve(
                root,
                target.unwrap_or_else(|| panic!("{reference} leads nowhere")),
            )
        }
        None => Value::Object(Map::new()),
    };
    for (keyword, value) in schema.as_object().into_iter().flatten() {
        resolved[keyword] = value.clone();
    }
    let constants = resolved["oneOf"].as_array().and_then(|choices| {
        let constant = |choice: &Value| choice.get("const").cloned();
        choices.iter().map(constant).collect::<Option<Vec<_>>>()
    });
    if let (Some(constants), Some(keywords)) = (constants, resolved.as_object_mut()) {
        keywords.remove("oneOf");
        keywords.insert("enum".to_owned(), json!(constants));
    }
    resolved
}

/// Those that are compared as they are.
fn keywords(schema: &Value) -> impl Iterator<Item = &str> {
    let all = schema.as_object().into_iter().flat_map(Map::keys);
    all.map(String::as_str).filter(|keyword| {
        *keyword != CLASS && !ANNOTATIONS.contains(keyword) && !MEMBERS.contains(keyword)
    })
}

fn members(schema: &Value) -> Map<String, Value> {
    schema["properties"]
        .as_object()
        .cloned()
        .unwrap_or_default()
}

fn is_required(schema: &Value, field: &str) -> bool {
    let required = schema["required"].as_array();
    required.is_some_and(|names| names.iter().any(|name| name == field))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
