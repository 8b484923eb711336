//! A saga that is no longer kept is gone from the ledger and from nowhere else: its request, sent
//! again with the same key, is answered as before and does nothing.

use std::net::SocketAddr;

use system_tests::audit::{Databases, settle};
use system_tests::deployment::{Embedded, Servers, Services};
use system_tests::http::{self, Connection, Response};
use system_tests::process::wait_until;

use super::{LIMIT, metric};

/// Gone with the first sweep, which is made at the start.
const KEEP: [&str; 2] = ["--keep-ended", "1ms"];
const BODY: &str = r#"{"userId":7,"ticketId":42}"#;

#[test]
fn a_removed_saga_is_answered_to_its_key_as_before_and_done_once_embedded() {
    let mut system = Embedded::create();
    system.service.start_and_wait();
    let first = done(system.service.address(), &system.databases);
    system.restart_with(&KEEP);
    is_answered_again(&first, system.service.address(), &system.databases);
}

#[test]
fn a_removed_saga_is_answered_to_its_key_as_before_and_done_once_on_rabbitmq() {
    let servers = Servers::start_new();
    let mut services = Services::on(&servers, 1);
    services.start_and_wait();
    let first = done(services.gateway.address(), &servers.databases());
    services.gateway.stop();
    services.gateway = servers.gateway("api-gateway", &KEEP);
    services.gateway.start_and_wait();
    is_answered_again(&first, services.gateway.address(), &servers.databases());
}

fn buy(gateway: SocketAddr) -> Response {
    let mut connection = Connection::open(gateway).expect("a connection");
    let headers = [("idempotency-key", "once")];
    connection
        .request_with("POST", "/regist/trans", &headers, BODY)
        .expect("an answer")
}

fn done(gateway: SocketAddr, databases: &Databases) -> Response {
    let answer = buy(gateway);
    assert_eq!(answer.status, 200, "{answer:?}");
    wait_until("ending", LIMIT, || {
        let world = databases.read();
        world.ledger.values().any(|status| status == "completed")
    });
    answer
}

fn is_answered_again(first: &Response, gateway: SocketAddr, databases: &Databases) {
    let id = first.json()["data"]["sagaId"].clone();
    let path = format!("/sagas/{}", id.as_str().expect("an id"));
    wait_until("removing it", LIMIT, || {
        http::get(gateway, &path).expect("an answer").status == 404
    });
    assert_eq!(metric(gateway, "ledger_removed_sagas_total "), 1.0);
    let again = buy(gateway);
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    wait_until("knowing it again", LIMIT, || {
        !databases.read().ledger.is_empty()
    });
    let totals = settle(databases, &[], LIMIT);
    assert_eq!(totals.completed, 1);
    let world = databases.read();
    assert_eq!((world.tickets.len(), world.registrations.len()), (1, 1));
}
