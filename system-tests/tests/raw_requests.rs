//! Requests that no client library would send: bytes, cut JSON, deep nesting, huge numbers, wrong
//! encodings, odd headers and queries, over plain sockets to the whole system. Whatever comes, the
//! answer is the envelope or a problem document, and never a fault of the system's own.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use system_tests::deployment::Embedded;
use system_tests::http::{Connection, Response};
use system_tests::seed::{random, seed};

/// Some ten seconds on a small machine.
const REQUESTS: usize = 3_000;
/// Past the gateway's limit for bodies.
const LONG: usize = 20_000;

const METHODS: &[&str] = &[
    "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW",
];
const PATHS: &[&str] = &[
    "/",
    "/regist",
    "/userTicket/list",
    "/regist/trans",
    "/sagas/%00",
    "/sagas/%ff%fe/events",
    "/sagas/%zz",
    "//regist//trans",
    "/regist/../regist",
    "/%2e%2e/%2f",
    "/problems/%00",
    "/dead-letters/messages/%ff",
];
#[rustfmt::skip]
const PARTS: &[&str] = &[
    "id", "userId", "ticketId", "userTicketId", "ids", "keyword", "pageNum", "pageSize", "status",
    "cursor", "limit", "=", "&", "?", "%", "%0", "%00", "%ff", "%F0%9F%8E%AB", "+", "7", "-1", "1e9",
    "18446744073709551616", "170141183460469231731687303715884105728", "null", "[]", "{}", ";",
    "'", "\"", "0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f", "completed", "9223372036854775807_",
];
#[rustfmt::skip]
const VALUES: &[&str] = &[
    "7", "-7", "0", "1e400", "-0", "1.0", "18446744073709551616", "\"7\"", "\"\"", "null", "true",
    "[]", "{}", "[null]", "\"0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f\"", "\"\\u0000\"", "\"\\ud800\"",
    "\"\u{202e}\u{1f3ab}\"", "[\"0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f\"]", "NaN", "07",
];
const HEADERS: &[&str] = &[
    "Prefer: respond-async",
    "Prefer: wait=18446744073709551616",
    "Prefer: wait=-1, wait=, ;;=",
    "Prefer: \u{1f3ab}",
    "Idempotency-Key: ",
    "Idempotency-Key: \"",
    "Idempotency-Key: a b",
    "Idempotency-Key: \u{fc}",
    "Idempotency-Key: one\r\nIdempotency-Key: two",
    "Last-Event-ID: end",
    "Last-Event-ID: \u{1f3ab}",
    "traceparent: 00-zz-zz-zz",
    "Content-Type: text/plain; charset=utf-16",
    "Content-Type: ;;;",
    "Content-Encoding: gzip",
    "Accept: application/xml;q=0, */*;q=7",
    "Accept-Encoding: br;q=x",
    "Expect: 100-continuing",
    "X-Odd: \u{1}",
];

#[test]
fn whatever_is_sent_the_answer_is_the_envelope_or_a_problem_and_no_fault_of_the_systems_own() {
    let mut system = Embedded::create();
    system.service.start_and_wait();
    let (address, mut dice) = (system.service.address(), random(seed()));
    let routes = routes(address);
    let mut seen = BTreeMap::<u16, usize>::new();
    for _ in 0..REQUESTS {
        let Sent { bytes, told } = sent(&mut dice, &routes);
        // A connection for each: what is no HTTP ends its own.
        let answer = Connection::open(address).and_then(|mut connection| connection.send(&bytes));
        let answer = answer.unwrap_or_else(|error| panic!("no answer to {told}: {error}"));
        check(&answer, &told);
        *seen.entry(answer.status).or_default() += 1;
    }
    println!("{seen:?}");
    for status in [200, 400, 404, 405, 413] {
        assert!(seen.contains_key(&status), "{status} is not among {seen:?}");
    }
    assert!(system.service.stop().success());
}

struct Sent {
    bytes: Vec<u8>,
    told: String,
}

/// Method and path of every route that answers in JSON, as the system itself tells of them.
fn routes(address: SocketAddr) -> Vec<(String, String)> {
    let document = Connection::open(address).unwrap().get("/openapi.json");
    let document = document.unwrap().json();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f");
        for (method, operation) in methods.as_object().unwrap() {
            let tag = operation["tags"][0].as_str().unwrap();
            if !["machines", "problems"].contains(&tag) {
                routes.push((method.to_uppercase(), path.clone()));
            }
        }
    }
    routes
}

fn sent(dice: &mut StdRng, routes: &[(String, String)]) -> Sent {
    let (method, path) = match dice.random_ratio(3, 4) {
        true => routes.choose(dice).unwrap().clone(),
        false => {
            let (method, path) = (METHODS.choose(dice).unwrap(), PATHS.choose(dice).unwrap());
            ((*method).to_owned(), (*path).to_owned())
        }
    };
    let target = format!("{path}{}", query(dice));
    let headers: String = (0..dice.random_range(0..4))
        .map(|_| format!("{}\r\n", HEADERS.choose(dice).unwrap()))
        .collect();
    let body = body(dice);
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    let shown = String::from_utf8_lossy(&body[..body.len().min(200)]);
    Sent {
        told: format!("{head:?} {shown:?}"),
        bytes: [head.into_bytes(), body].concat(),
    }
}

fn query(dice: &mut StdRng) -> String {
    let parts: String = (0..dice.random_range(0..8))
        .map(|_| *PARTS.choose(dice).unwrap())
        .collect();
    if parts.is_empty() {
        parts
    } else {
        format!("?{parts}")
    }
}

fn body(dice: &mut StdRng) -> Vec<u8> {
    match dice.random_range(0..8) {
        0 => Vec::new(),
        1 => (0..dice.random_range(0..300))
            .map(|_| dice.random())
            .collect(),
        2 => ["[", "{\"a\":", "{\"userId\":["]
            .choose(dice)
            .unwrap()
            .repeat(1_000)
            .into_bytes(),
        3 => format!("{{\"userId\":{}}}", "9".repeat(dice.random_range(1..LONG))).into_bytes(),
        4 => object(dice)
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect(),
        5 => {
            let mut cut = object(dice).into_bytes();
            cut.truncate(dice.random_range(0..=cut.len()));
            cut
        }
        6 => {
            let mut bent = object(dice).into_bytes();
            let place = dice.random_range(0..bent.len());
            bent[place] = dice.random();
            bent
        }
        _ => object(dice).into_bytes(),
    }
}

fn object(dice: &mut StdRng) -> String {
    let member = |dice: &mut StdRng| {
        let name = PARTS[..5].choose(dice).unwrap();
        format!("\"{name}\":{}", VALUES.choose(dice).unwrap())
    };
    let members: Vec<String> = (0..dice.random_range(0..5)).map(|_| member(dice)).collect();
    format!("{{{}}}", members.join(","))
}

fn check(answer: &Response, told: &str) {
    assert!((200..500).contains(&answer.status), "{told}: {answer:?}");
    let kind = answer.header("content-type").unwrap_or_default();
    match answer.status {
        // What is no HTTP is answered by the server before any route, and the connection ends.
        400 if answer.body.is_empty() => {
            assert_eq!(
                answer.header("connection"),
                Some("close"),
                "{told}: {answer:?}"
            );
        }
        200 | 202 => {
            assert_eq!(answer.json()["code"], answer.status, "{told}: {answer:?}");
            assert!(answer.json()["data"].is_object(), "{told}: {answer:?}");
        }
        _ => {
            assert_eq!(kind, "application/problem+json", "{told}: {answer:?}");
            assert_eq!(answer.json()["status"], answer.status, "{told}: {answer:?}");
            assert!(answer.json()["errors"].is_array(), "{told}: {answer:?}");
        }
    }
}
