//! Who may depend on whom. Without these rules a participant could reach into another one, or past
//! the bus to the broker, and the measure of the design (a third participant is one new folder)
//! would be lost one convenient line at a time.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::MetadataCommand;

/// Crates with a place of their own. Every other crate is a participant, also one that is added
/// after these lines were written.
const NOT_PARTICIPANTS: &[&str] = &[
    "events",
    "saga",
    "api-gateway",
    "all-in-one",
    "dead-letters",
    "event-replay",
    "bench",
    "simulation",
    "system-tests",
];

/// These may name all of ours, and nobody may name them.
const TOPS: &[&str] = &[
    "all-in-one",
    "dead-letters",
    "event-replay",
    "bench",
    "simulation",
    "system-tests",
];

/// Only the runtime speaks to the broker. `bench` is the one exception: its bare relay measures the
/// broker *without* our runtime.
const MAY_NAME_LAPIN: &[&str] = &["saga", "bench"];

/// Crate by crate, what its `Cargo.toml` names, tests and build scripts included.
struct Workspace(BTreeMap<String, BTreeSet<String>>);

impl Workspace {
    fn read() -> Self {
        let metadata = MetadataCommand::new()
            .no_deps()
            .exec()
            .expect("cargo metadata");
        let names = |package: &cargo_metadata::Package| {
            let named = package.dependencies.iter();
            named.map(|dependency| dependency.name.clone()).collect()
        };
        let packages = metadata.packages.iter();
        Self(
            packages
                .map(|package| (package.name.to_string(), names(package)))
                .collect(),
        )
    }

    fn names(&self, package: &str) -> &BTreeSet<String> {
        let found = self.0.get(package);
        found.unwrap_or_else(|| panic!("there is no crate {package}"))
    }

    fn participants(&self) -> impl Iterator<Item = &str> {
        let all = self.0.keys().map(String::as_str);
        all.filter(|name| !NOT_PARTICIPANTS.contains(name))
    }

    /// Panics unless the crate names, of ours, only the allowed ones.
    fn may_only_name(&self, package: &str, allowed: &[&str]) {
        let ours = self.names(package).iter().map(String::as_str);
        let wrong: Vec<_> = ours
            .filter(|name| self.0.contains_key(*name) && !allowed.contains(name))
            .collect();
        assert!(wrong.is_empty(), "{package} may not depend on {wrong:?}");
    }

    fn may_not_name(&self, package: &str, forbidden: &[&str]) {
        let names = self.names(package).iter().map(String::as_str);
        let wrong: Vec<_> = names.filter(|name| forbidden.contains(name)).collect();
        assert!(wrong.is_empty(), "{package} may not depend on {wrong:?}");
    }
}

#[test]
fn the_contract_depends_on_nothing_of_ours_and_on_no_runtime() {
    let workspace = Workspace::read();
    workspace.may_only_name("events", &[]);
    workspace.may_not_name("events", &["tokio", "lapin", "sqlx", "axum"]);
}

#[test]
fn the_runtime_knows_the_contract_and_no_participant() {
    let workspace = Workspace::read();
    workspace.may_only_name("saga", &["events"]);
    workspace.may_not_name("saga", &["axum"]);
}

#[test]
fn a_participant_knows_no_other_participant_nor_the_broker_nor_http() {
    let workspace = Workspace::read();
    let participants: Vec<&str> = workspace.participants().collect();
    assert!(participants.contains(&"ticket-worker") && participants.contains(&"regist-worker"));
    for participant in participants {
        workspace.may_only_name(participant, &["events", "saga"]);
        workspace.may_not_name(participant, &["lapin", "axum"]);
    }
}

#[test]
fn the_gateway_knows_no_worker_and_not_the_broker() {
    let workspace = Workspace::read();
    workspace.may_only_name("api-gateway", &["events", "saga"]);
    workspace.may_not_name("api-gateway", &["lapin"]);
}

#[test]
fn only_the_runtime_names_the_broker_client() {
    let workspace = Workspace::read();
    let speaks = |package: &&String| workspace.names(package).contains("lapin");
    for package in workspace.0.keys().filter(speaks) {
        assert!(
            MAY_NAME_LAPIN.contains(&package.as_str()),
            "{package} names lapin; use saga::bus"
        );
    }
}

#[test]
fn nobody_depends_on_what_stands_on_top() {
    let workspace = Workspace::read();
    for package in workspace.0.keys() {
        workspace.may_not_name(package, TOPS);
    }
}
