//! The README's first session over HTTP, on each way to run the system.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use system_tests::audit::{Databases, settle};
use system_tests::deployment::{Embedded, Servers, Services};
use system_tests::http;
use system_tests::http::Response;
use system_tests::process::wait_until;
use uuid::Uuid;

/// The ledger follows the journal, it is not ahead of an answer.
const LEDGER_LIMIT: Duration = Duration::from_secs(30);

#[test]
fn the_first_session_works_on_the_embedded_system() {
    let mut system = Embedded::create();
    system.service.start_and_wait();
    session(system.service.address(), &system.databases, 1);
    assert!(system.service.stop().success());
}

#[test]
fn the_first_session_works_on_rabbitmq_and_postgresql() {
    let servers = Servers::start_new();
    let mut services = Services::on(&servers, 2);
    services.start_and_wait();
    session(services.gateway.address(), &servers.databases(), 1);
    for service in services.all() {
        assert!(service.stop().success());
        assert!(!service.is_ready());
    }

    // The same servers, and all services in one process.
    let mut all_in_one = servers.all_in_one();
    all_in_one.start_and_wait();
    session(all_in_one.address(), &servers.databases(), 2);
    assert!(all_in_one.stop().success());
    assert_eq!(servers.parked(), []);
}

/// What a new user tries, with a user that this system has not seen yet.
fn session(address: SocketAddr, databases: &Databases, user: u64) {
    let order = json!({"userId": user, "ticketId": 42}).to_string();
    let first = send(address, &order);
    buys_and_registers(address, &first);
    let second = send(address, &order);
    is_refused_with_the_reason(address, &second);
    bad_bodies_are_refused_and_name_the_field(address);

    let totals = settle(databases, &[], LEDGER_LIMIT);
    assert_eq!(
        totals.completed,
        usize::try_from(user).expect("a small number")
    );
    let refused: Uuid = text(&second.json(), "sagaId").parse().expect("a UUID");
    let left = databases.read().tickets;
    assert!(left.iter().all(|ticket| ticket.saga != refused), "{left:?}");
}

fn buys_and_registers(address: SocketAddr, answer: &Response) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    assert_eq!(
        (&body["code"], &body["message"]),
        (&json!(200), &json!("success"))
    );
    for id in ["sagaId", "userTicketId", "registId"] {
        let minted: Uuid = text(&body["data"], id).parse().expect("a UUID");
        assert_eq!(minted.get_version_num(), 7, "{id}");
    }
    let saga = saga(address, &text(&body["data"], "sagaId"), "completed");
    let steps = [
        "PurchaseAndRegister",
        "TicketPurchased",
        "RegistrationCompleted",
    ];
    assert_eq!(timeline(&saga), steps);
}

fn is_refused_with_the_reason(address: SocketAddr, answer: &Response) {
    assert_eq!(answer.status, 409, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    let problem = answer.json();
    assert_eq!(problem["reason"], "already_registered");
    assert_eq!(problem["code"], 409);
    assert_eq!(problem["message"], "用户已报名，请勿重复报名！");
    let saga = saga(address, &text(&problem, "sagaId"), "compensated");
    assert_eq!(saga["reason"], "already_registered");
    let steps = [
        "PurchaseAndRegister",
        "TicketPurchased",
        "RegistrationFailed",
        "TicketDeleted",
    ];
    assert_eq!(timeline(&saga), steps);
}

fn bad_bodies_are_refused_and_name_the_field(address: SocketAddr) {
    for (body, field) in [
        (r#"{"ticketId": 42}"#, "userId"),
        (r#"{"userId": 1}"#, "ticketId"),
        (r#"{"userId": -1, "ticketId": 42}"#, "userId"),
        (
            r#"{"userId": 1, "ticketId": 18446744073709551616}"#,
            "ticketId",
        ),
        (r#"{"userId": 1, "ticketId": "x"}"#, "ticketId"),
    ] {
        let answer = send(address, body);
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        let problem = answer.json();
        let named: Vec<String> = list(&problem["errors"]).map(|e| text(e, "field")).collect();
        assert_eq!(named, [field], "{body}: {answer:?}");
        assert_eq!(problem["code"], 1003);
    }
    for body in ["", "no JSON", "[1, 42]"] {
        let answer = send(address, body);
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        let detail = answer.body;
        assert!(
            detail.contains("userId") && detail.contains("ticketId"),
            "{body}: {detail}"
        );
    }
}

/// The saga as the gateway shows it, once it shows it as ended like this with all its messages.
fn saga(address: SocketAddr, id: &str, status: &str) -> Value {
    let mut shown = Value::Null;
    wait_until(&format!("{status} in the ledger"), LEDGER_LIMIT, || {
        let answer = http::get(address, &format!("/sagas/{id}")).expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        shown = answer.json()["data"].clone();
        let steps = if status == "completed" { 3 } else { 4 };
        shown["status"] == status && list(&shown["timeline"]).count() == steps
    });
    shown
}

fn send(address: SocketAddr, body: &str) -> Response {
    http::post(address, "/regist/trans", body).expect("an answer")
}

fn timeline(saga: &Value) -> Vec<String> {
    list(&saga["timeline"])
        .map(|entry| text(entry, "type"))
        .collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value, field: &str) -> String {
    let text = value[field].as_str();
    text.unwrap_or_else(|| panic!("no {field} in {value}"))
        .to_owned()
}
