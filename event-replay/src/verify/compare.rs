//! Two events, field by field.

use events::Event;
use serde_json::Value;

/// One field that is not the same. `Null` is one that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) field: String,
    pub(super) recorded: Value,
    pub(super) replayed: Value,
}

/// What a reply takes over from the message that it answers, whatever its sender decides.
const TAKEN_OVER: [&str; 3] = ["traceparent", "replyto", "deadline"];

/// Every field of the envelope and of the data. Those that are only taken over are left out if the
/// saga was started more than once, because then nobody knows by which of its commands.
pub(super) fn differences(
    recorded: &Event,
    replayed: &Event,
    is_started_once: bool,
) -> Vec<Difference> {
    if recorded == replayed {
        return Vec::new();
    }
    let (recorded, replayed) = (fields(recorded), fields(replayed));
    let mut names: Vec<&String> = recorded.iter().map(|(name, _)| name).collect();
    let only_replayed = replayed.iter().map(|(name, _)| name);
    names.extend(only_replayed.filter(|name| !recorded.iter().any(|(known, _)| known == *name)));
    let value = |of: &[(String, Value)], name: &String| {
        let found = of.iter().find(|(known, _)| known == name);
        found.map_or(Value::Null, |(_, value)| value.clone())
    };
    let pairs = names.into_iter().map(|name| Difference {
        field: name.clone(),
        recorded: value(&recorded, name),
        replayed: value(&replayed, name),
    });
    let counts = |field: &str| is_started_once || !TAKEN_OVER.contains(&field);
    let pairs = pairs.filter(|pair| pair.recorded != pair.replayed && counts(&pair.field));
    let mut different: Vec<Difference> = pairs.collect();
    // Another message says more than that its id is another one, too.
    if different.iter().any(|pair| pair.field == "type") {
        different.retain(|pair| pair.field != "id");
        different.sort_by_key(|pair| pair.field != "type");
    }
    different
}

/// The fields by name, those of the data as `data.name`.
fn fields(event: &Event) -> Vec<(String, Value)> {
    let json = serde_json::from_slice(&event.to_json()).unwrap_or_default();
    let mut fields = Vec::new();
    flatten("", json, &mut fields);
    fields
}

fn flatten(name: &str, value: Value, into: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let separator = if name.is_empty() { "" } else { "." };
                flatten(&format!("{name}{separator}{key}"), value, into);
            }
        }
        other => into.push((name.to_owned(), other)),
    }
}
