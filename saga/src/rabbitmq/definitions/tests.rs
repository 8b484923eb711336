use super::*;
use crate::retry::RetryPolicy;

fn printed(namespace: &str, part: Part) -> Value {
    definitions(namespace, "/", &RetryPolicy::default().delays, part)
}

/// `docs/definitions.json`: what the command prints without flags.
/// `BLESS=1 cargo test -p saga --lib up_to_date` writes it.
#[test]
fn the_generated_definitions_are_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/definitions.json");
    let definitions = printed("", Part::All);
    if std::env::var_os("BLESS").is_some() {
        let text = serde_json::to_string_pretty(&definitions).unwrap() + "\n";
        std::fs::write(path, text).unwrap();
    }
    let checked_in = std::fs::read(path).unwrap_or_default();
    let checked_in: Value = serde_json::from_slice(&checked_in).unwrap_or_default();
    assert!(
        checked_in == definitions,
        "docs/definitions.json is stale: run BLESS=1 cargo test -p saga --lib up_to_date"
    );
}

#[test]
fn everything_of_a_namespace_is_in_it_users_included() {
    let definitions = printed("staging", Part::All);
    for kind in ["users", "exchanges", "queues"] {
        let all = definitions[kind].as_array().unwrap();
        assert!(!all.is_empty());
        for one in all {
            let name = one["name"].as_str().unwrap();
            assert!(name.starts_with("staging."), "{kind}: {name}");
        }
    }
    for permission in definitions["permissions"].as_array().unwrap() {
        for right in ["configure", "write", "read"] {
            let pattern = permission[right].as_str().unwrap();
            let names = pattern.trim_matches(['^', '(', ')', '$']).split('|');
            for name in names.filter(|name| *name != r"amq\.default") {
                assert!(name.starts_with(r"staging\."), "{right}: {name}");
            }
        }
    }
}

/// An import sets each permission anew, and takes the password of each user who is in it.
#[test]
fn the_topology_alone_takes_nothing_from_anybody() {
    let kinds = |part| {
        let definitions = printed("", part);
        let kinds = definitions.as_object().unwrap().keys().cloned();
        kinds.collect::<Vec<_>>()
    };
    assert_eq!(kinds(Part::Topology), ["bindings", "exchanges", "queues"]);
    assert_eq!(kinds(Part::Permissions), ["permissions"]);
}
