//! The schemas on disk, and what blessing (`BLESS=1`) may make of them.
//!
//! A file is the promise that was given to readers. Blessing adds to it; what breaks it is refused
//! until the version of the message is raised, and then the old file stays, beside the old version
//! that is still read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;

use super::Document;
use super::compatibility::breaks;
use crate::message::schemas;

/// Schemas by the CloudEvents type they describe.
pub(super) type Schemas = BTreeMap<String, Value>;

/// Whether the message itself says it, and not its envelope; no field is the message as a whole.
fn is_own(field: &str) -> bool {
    field.is_empty() || field == "data" || field.starts_with("data.")
}

pub(super) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

pub(super) fn derived() -> Schemas {
    let documents = schemas().into_iter();
    documents
        .map(|Document { wire_type, schema }| (wire_type.to_owned(), schema))
        .collect()
}

pub(super) fn checked_in() -> Schemas {
    let files = std::fs::read_dir(folder()).unwrap();
    let read = |file: std::io::Result<std::fs::DirEntry>| {
        let path = file.unwrap().path();
        let schema = serde_json::from_slice(&std::fs::read(&path).unwrap());
        let wire_type = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (wire_type, schema.unwrap())
    };
    files.map(read).collect()
}

/// What the change from `promised` to `now` breaks, and what to do about it; empty is nothing.
pub(super) fn objections(promised: &Schemas, now: &Schemas) -> String {
    let (mut text, mut of_envelope) = (String::new(), BTreeSet::new());
    for (wire_type, old) in promised {
        let Some(new) = now.get(wire_type) else {
            text += &gone(wire_type);
            continue;
        };
        let found = breaks(old, new);
        let (own, envelope): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|broken| is_own(&broken.field));
        of_envelope.extend(envelope);
        for broken in &own {
            writeln!(
                text,
                "{wire_type}{}: {}.",
                named(&broken.field),
                broken.what
            )
            .unwrap();
        }
        if own.iter().any(|broken| !broken.field.is_empty()) {
            text += &raise(wire_type);
        }
    }
    for broken in &of_envelope {
        writeln!(
            text,
            "every message{}: {}.",
            named(&broken.field),
            broken.what
        )
        .unwrap();
    }
    if !of_envelope.is_empty() {
        text += "  What to do: the envelope has no version. Put it back; an attribute can only be \
            added, and only as an optional one.\n";
    }
    text
}

fn named(field: &str) -> String {
    if field.is_empty() {
        String::new()
    } else {
        format!(", field `{field}`")
    }
}

fn gone(wire_type: &str) -> String {
    let (name, version) = parted(wire_type);
    format!(
        "{wire_type}: it is not read any more, but a journal, a decision or a dead letter may hold \
         one.\n  What to do: put it back, or read it as another version: `reads {version} as …` in \
         the line of {name} in `register!` (events/src/message.rs; docs/contract.md).\n"
    )
}

fn raise(wire_type: &str) -> String {
    let (name, version) = parted(wire_type);
    format!(
        "  What to do: put it back, or add an optional field instead, or make it a new version: \
         `{name}: … v {}, reads {version} as …` in `register!`, with the old struct and what becomes \
         of it in events/src/message/earlier.rs (docs/contract.md).\n",
        version + 1
    )
}

fn parted(wire_type: &str) -> (&str, u32) {
    let parts = wire_type.rsplit_once(".v");
    parts
        .and_then(|(name, version)| Some((name, version.parse().ok()?)))
        .unwrap_or_else(|| panic!("{wire_type} is not <name>.v<version>"))
}

/// The files to write so that `now` is checked in, or why they must not be written.
pub(super) fn blessed(promised: &Schemas, now: &Schemas) -> Result<Schemas, String> {
    let objections = objections(promised, now);
    if !objections.is_empty() {
        return Err(objections);
    }
    let is_stale =
        |(wire_type, schema): &(&String, &Value)| promised.get(*wire_type) != Some(schema);
    let stale = now.iter().filter(is_stale);
    Ok(stale
        .map(|(name, schema)| (name.clone(), schema.clone()))
        .collect())
}

#[test]
fn every_schema_is_checked_in_and_no_change_breaks_a_reader_of_the_previous_version() {
    let stale = blessed(&checked_in(), &derived()).unwrap_or_else(|objections| {
        panic!("this breaks readers, and BLESS does not help:\n{objections}")
    });
    if std::env::var_os("BLESS").is_some() {
        for (wire_type, schema) in &stale {
            let text = serde_json::to_string_pretty(schema).unwrap() + "\n";
            std::fs::write(folder().join(format!("{wire_type}.json")), text).unwrap();
        }
        return;
    }
    let stale: Vec<_> = stale.keys().collect();
    assert!(
        stale.is_empty(),
        "{stale:?}: run BLESS=1 cargo test -p events"
    );
}
