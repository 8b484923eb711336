//! Callers with tokens on the whole system: each has its own, operators have everybody's, and a new
//! secret counts without a restart.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};
use system_tests::http::{Connection, Response};
use tempfile::NamedTempFile;

use crate::{on_embedded_with, on_servers_with};

const FIRST: &str = "the first secret, long enough for it";
const SECOND: &str = "the second secret, just as long as it";

fn token(secret: &str, subject: &str, scope: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let claims = json!({"sub": subject, "scope": scope, "exp": now.as_secs() + 600});
    let part = |json: Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let message = format!("{}.{}", part(json!({"alg": "HS256"})), part(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

struct Caller {
    connection: Connection,
    token: String,
}

impl Caller {
    fn new(address: SocketAddr, token: String) -> Self {
        let connection = Connection::open(address).unwrap();
        Self { connection, token }
    }

    fn send(&mut self, method: &str, path: &str, body: &str) -> Response {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("authorization", &*bearer)];
        (self.connection.request_with(method, path, &headers, body)).unwrap()
    }

    /// The data of a success.
    fn data(&mut self, method: &str, path: &str, body: &str) -> Value {
        let response = self.send(method, path, body);
        assert_eq!(response.status, 200, "{method} {path}: {response:?}");
        response.json()["data"].clone()
    }

    fn status(&mut self, method: &str, path: &str, body: &str) -> u16 {
        self.send(method, path, body).status
    }
}

fn each_has_its_own(address: SocketAddr) {
    let caller = |subject, scope| Caller::new(address, token(FIRST, subject, scope));
    let (mut own, mut other) = (caller("7", ""), caller("8", ""));
    let mut operator = caller("back-office", "operator");
    let purchase = r#"{"userId":7,"ticketId":42}"#;
    let bought = own.data("POST", "/regist/trans", purchase);
    assert_eq!(other.status("POST", "/regist/trans", purchase), 403);
    let [ticket, regist] = ["userTicketId", "registId"].map(|id| bought[id].as_str().unwrap());
    for (list, find) in [
        ("/userTicket/list", format!("/userTicket?id={ticket}")),
        ("/regist/list", format!("/regist?id={regist}")),
    ] {
        assert_eq!(own.data("GET", list, "")["total"], 1);
        assert_eq!(operator.data("GET", list, "")["total"], 1);
        assert_eq!(other.data("GET", list, "")["total"], 0);
        assert_eq!(own.status("GET", &find, ""), 200);
        assert_eq!(other.status("GET", &find, ""), 404);
    }
    let [this_ticket, this_regist] = [ticket, regist].map(|id| json!({"id": id}).to_string());
    assert_eq!(other.status("DELETE", "/userTicket", &this_ticket), 403);
    assert_eq!(other.status("DELETE", "/regist", &this_regist), 403);
    assert_eq!(own.status("GET", &format!("/regist?id={regist}"), ""), 200);
    operator.data("DELETE", "/regist", &this_regist);
    // Its owner deletes the ticket and sees the saga; nobody else does.
    let deleted = own.data("DELETE", "/userTicket", &this_ticket);
    let saga = format!("/sagas/{}", deleted["sagaId"].as_str().unwrap());
    assert_eq!(own.data("GET", &saga, "")["status"], "completed");
    assert_eq!(other.status("GET", &saga, ""), 404);
    assert_eq!(operator.status("GET", &saga, ""), 200);
    // What is deleted is deleted again with success by who had it, and by nobody else.
    for (path, body) in [("/userTicket", &this_ticket), ("/regist", &this_regist)] {
        own.data("DELETE", path, body);
        operator.data("DELETE", path, body);
        assert_eq!(other.status("DELETE", path, body), 403);
    }
}

/// The id that a ticket gets from a key can be guessed by who knows the key. Closing it before it is
/// there is not for other users.
fn nobody_closes_anothers_ticket_before_it_is_there(address: SocketAddr) {
    let caller = |subject, scope| Caller::new(address, token(FIRST, subject, scope));
    let (mut own, mut other) = (caller("70", ""), caller("80", ""));
    let guessed = json!({"id": uuid::Uuid::now_v7()}).to_string();
    let batch = json!({"ids": [uuid::Uuid::now_v7()]}).to_string();
    for caller in [&mut own, &mut other] {
        assert_eq!(caller.status("DELETE", "/userTicket", &guessed), 404);
        assert_eq!(
            caller.status("POST", "/userTicket/add-rollback", &guessed),
            404
        );
        assert_eq!(
            caller.status("DELETE", "/userTicket/delete-batch", &batch),
            404
        );
        assert_eq!(caller.data("GET", "/sagas", "")["list"], json!([]));
    }
}

/// Runs on a system that takes tokens of the first secret and then of the second.
fn with_secrets(run: impl FnOnce(&[&str], &dyn Fn(SocketAddr))) {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), FIRST).unwrap();
    let flags = ["--jwt-secret-file", file.path().to_str().unwrap()];
    run(&flags, &|address| {
        each_has_its_own(address);
        nobody_closes_anothers_ticket_before_it_is_there(address);
        let status = |secret| {
            let mut caller = Caller::new(address, token(secret, "7", ""));
            caller.status("GET", "/sagas", "")
        };
        assert_eq!((status(FIRST), status(SECOND)), (200, 401));
        std::fs::write(file.path(), SECOND).unwrap();
        // It is read at once, but for a moment after the last bad token.
        while status(SECOND) != 200 {
            sleep(Duration::from_millis(10));
        }
        assert_eq!(status(FIRST), 401);
    });
}

#[test]
fn callers_are_told_apart_on_the_embedded_system() {
    with_secrets(|flags, claim| on_embedded_with(flags, claim));
}

#[test]
fn callers_are_told_apart_on_rabbitmq_and_postgresql() {
    with_secrets(|flags, claim| on_servers_with(flags, claim));
}
