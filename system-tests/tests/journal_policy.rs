//! An operator bounds the journal by a policy, and no service stumbles over it.

use system_tests::deployment::{Servers, Services};

const JOURNAL: &str = "saga.journal";
const BOUNDS: &str = r#"{"max-age": "2D", "max-length-bytes": 5000000000}"#;

#[test]
fn a_policy_on_the_journal_takes_effect_and_stops_no_service() {
    let servers = Servers::start_new();
    let mut services = Services::on(&servers, 1);
    services.start_and_wait();
    let pattern = r"^saga\.journal$";
    let apply = [
        "set_policy",
        "journal",
        pattern,
        BOUNDS,
        "--apply-to",
        "queues",
    ];
    servers.broker.control(&apply);
    // Each of them declares the journal again, with its own arguments.
    services.all().for_each(|service| {
        service.stop();
        service.start_and_wait();
    });
    let queues = servers
        .broker
        .control(&["-q", "list_queues", "name", "policy"]);
    let journal = format!("{JOURNAL}\tjournal");
    assert!(queues.lines().any(|line| line == journal), "{queues}");
    for service in services.all() {
        let log = service.log();
        assert!(!log.contains("PRECONDITION_FAILED"), "{log}");
    }
}
