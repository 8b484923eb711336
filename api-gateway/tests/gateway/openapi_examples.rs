//! Examples of what the gateway answers when what it stands on is away, for the OpenAPI document.
//! `BLESS=1 cargo test -p api-gateway` writes them. Ids follow from keys, so they are always the same.

use std::path::PathBuf;
use std::time::Duration;

use api_gateway::{AuthConfig, Limits, RateLimit};
use events::{Event, Reason, SagaId};
use reqwest::Method;
use saga::bus::Health;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::fake_bus::FakeBus;
use crate::running::{GOOD, Running};
use crate::stories::{command, completed, rejected};
use crate::tokens::{KeyFiles, Signer, claims};

const SOME: Uuid = Uuid::from_u128(0x0193_a4f0_6c1b_7d3e_9f00_5a6b_7c8d_9e0f);
const KEY: &str = "order-7-42";

/// A request and its answer.
async fn example(gateway: &Running, about: &str, request: (Method, &str, &str)) -> Value {
    example_of(gateway, about, request, "").await
}

/// By who has this token, if any.
async fn example_of(
    gateway: &Running,
    about: &str,
    request: (Method, &str, &str),
    token: &str,
) -> Value {
    let (method, path, body) = request;
    let url = format!("{}{path}", gateway.url);
    let sent = gateway.client.request(method.clone(), url);
    let sent = match token {
        "" => sent,
        token => sent.bearer_auth(token),
    };
    let sent = match method {
        Method::POST => sent.header("Idempotency-Key", KEY),
        _ => sent,
    };
    let sent = sent.header("Accept-Language", "en");
    let answer = sent.body(body.to_owned()).send().await.unwrap();
    let status = answer.status().as_u16();
    let headers = match method {
        Method::POST => json!({"Idempotency-Key": KEY, "Accept-Language": "en"}),
        _ => json!({"Accept-Language": "en"}),
    };
    json!({
        "about": about,
        "method": method.as_str(),
        "path": path,
        "headers": headers,
        // One too large to show is none.
        "body": serde_json::from_str::<Value>(body).unwrap_or_default(),
        "answer": {"status": status, "body": answer.json::<Value>().await.unwrap()},
    })
}

async fn examples() -> Vec<Value> {
    let buy = (Method::POST, "/regist/trans", GOOD);
    let alone = Running::waiting(FakeBus::without_workers(), Duration::ZERO).await;
    let late = FakeBus::new(|command| rejected(command, Reason::DEADLINE_EXCEEDED));
    let late = Running::with(late).await;
    let away = Running::with(FakeBus::new(completed)).await;
    *away.bus.away.lock().unwrap() = Some("connection refused");
    let unreadable = with_an_unreadable_row().await;
    let too_large = "x".repeat(16 * 1024 + 1);
    let find = format!("/userTicket?id={SOME}");
    let saga = format!("/sagas/{SOME}");
    let examples = vec![
        example(&alone, "it takes longer than the caller waits", buy.clone()).await,
        example(&late, "it was not begun before its deadline", buy.clone()).await,
        example(&away, "the broker is away", buy).await,
        example(
            &alone,
            "the owner of tickets does not answer",
            (Method::GET, &find, ""),
        )
        .await,
        example(
            &alone,
            "a body that is too large",
            (Method::POST, "/userTicket", &too_large),
        )
        .await,
        example(&unreadable, "a damaged record", (Method::GET, &saga, "")).await,
    ];
    let waiting_for = "the broker".to_owned();
    away.bus.health.send_replace(Health::Down { waiting_for });
    let waits = example(
        &away,
        "it waits for its broker",
        (Method::GET, "/readyz", ""),
    )
    .await;
    let slow = a_slow_body().await;
    [examples, vec![waits, slow], kept_out().await].concat()
}

/// Half a body, and nothing more.
async fn a_slow_body() -> Value {
    let limits = Limits {
        body_within: Duration::from_secs(1),
        ..Limits::default()
    };
    let bus = FakeBus::without_workers();
    let gateway = Running::limited(bus, limits, AuthConfig::default()).await;
    let address = gateway.url.strip_prefix("http://").unwrap();
    let mut half = TcpStream::connect(address).await.unwrap();
    let head = "POST /userTicket HTTP/1.1\r\nhost: x\r\naccept-language: en\r\ncontent-length: 26";
    half.write_all(format!("{head}\r\n\r\n{{\"user").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    half.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    json!({
        "about": "half a body",
        "method": "POST",
        "path": "/userTicket",
        "headers": {"Accept-Language": "en"},
        "body": null,
        "answer": {"status": 408, "body": serde_json::from_str::<Value>(body).unwrap()},
    })
}

/// Who may not, or not so often.
async fn kept_out() -> Vec<Value> {
    let buy = (Method::POST, "/regist/trans", GOOD);
    let (files, key) = (KeyFiles::new(), Signer::secret());
    let auth = files.config(&[&Signer::ed25519("one")]);
    let guarded = Running::guarded(FakeBus::new(completed), auth).await;
    let limits = Limits {
        rate_limit: Some(RateLimit {
            requests: 1,
            window: Duration::from_secs(3600),
        }),
        ..Limits::default()
    };
    let limited = Running::limited(FakeBus::new(completed), limits, AuthConfig::default()).await;
    limited.post(GOOD).await;
    let another = key.token(&claims("8", ""));
    vec![
        example(&guarded, "no token", buy.clone()).await,
        example_of(&guarded, "the token of another user", buy.clone(), &another).await,
        example(&limited, "one request too many", buy).await,
    ]
}

async fn with_an_unreadable_row() -> Running {
    let gateway = Running::with(FakeBus::new(completed)).await;
    let mut command = command();
    command.saga_id = SagaId(SOME);
    command.id = Event::id_of(command.saga_id, command.message_type());
    gateway.bus.record([&command]);
    gateway.projected(0).await;
    let database = &gateway.database;
    database.execute("UPDATE saga SET timeline = 'x'").await;
    gateway
}

#[tokio::test]
async fn the_examples_of_trouble_are_what_the_gateway_answers() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = path.join("src/http/openapi/examples/gateway.json");
    let answered = serde_json::to_string_pretty(&examples().await).unwrap() + "\n";
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &answered).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(answered, written, "BLESS=1 writes it");
}
