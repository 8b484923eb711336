//! What callers cannot do however they try: hold connections by sending slowly, open any number of
//! them, or wait for any number of sagas.

use std::io::ErrorKind;
use std::time::Duration;

use api_gateway::{AuthConfig, Limits, RateLimit};
use events::SagaId;
use reqwest::StatusCode;
use saga::bus::Health;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fake_bus::FakeBus;
use crate::running::{GOOD, Running};
use crate::stories::completed;
use crate::tokens::{KeyFiles, Signer, claims};

async fn limited(limits: Limits) -> Running {
    Running::limited(FakeBus::new(completed), limits, AuthConfig::default()).await
}

async fn connect(gateway: &Running) -> TcpStream {
    let address = gateway.url.strip_prefix("http://").unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// Everything that the gateway says until it closes the connection.
async fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_head_that_does_not_arrive_ends_its_connection() {
    let head_within = Duration::from_millis(200);
    let gateway = limited(Limits {
        head_within,
        ..Limits::default()
    })
    .await;
    let mut half = connect(&gateway).await;
    half.write_all(b"POST /regist/trans HTTP/1.1\r\nhost: x\r\nx-more: ")
        .await
        .unwrap();
    let silent = connect(&gateway).await;
    rest(half).await;
    assert_eq!(rest(silent).await, "");
    assert_eq!(gateway.post(GOOD).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_408() {
    let body_within = Duration::from_millis(200);
    let gateway = limited(Limits {
        body_within,
        ..Limits::default()
    })
    .await;
    let mut half = connect(&gateway).await;
    half.write_all(b"POST /regist/trans HTTP/1.1\r\nhost: x\r\ncontent-length: 26\r\n\r\n{\"user")
        .await
        .unwrap();
    let answer = rest(half).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("/problems/body-too-slow"), "{answer}");
    assert!(gateway.bus.published.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_head_over_the_limit_is_431() {
    let gateway = limited(Limits::default()).await;
    let mut large = connect(&gateway).await;
    let head = format!("GET /livez HTTP/1.1\r\nx: {}", "x".repeat(40_000));
    large.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(large).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

/// One for the client that the test itself has, and one more.
fn two_connections() -> Limits {
    Limits {
        max_connections: 2,
        ..Limits::default()
    }
}

const LIVEZ: &[u8] = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn who_connects_beyond_the_limit_waits_until_another_one_leaves() {
    let gateway = limited(two_connections()).await;
    let holder = connect(&gateway).await;
    let mut waits = connect(&gateway).await;
    waits.write_all(LIVEZ).await.unwrap();
    // What others send later is answered long since.
    for _ in 0..20 {
        assert_eq!(gateway.get("/livez").await.status(), StatusCode::OK);
    }
    let early = waits.try_read(&mut [0]).unwrap_err();
    assert_eq!(early.kind(), ErrorKind::WouldBlock, "it was accepted");
    drop(holder);
    assert!(rest(waits).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn who_takes_nothing_of_its_answers_is_cut_off() {
    let gateway = limited(Limits {
        taken_within: Duration::from_millis(200),
        ..two_connections()
    })
    .await;
    let mut greedy = connect(&gateway).await;
    // More than the system keeps for it.
    let asked = 500;
    let request = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(asked);
    greedy.write_all(request.as_bytes()).await.unwrap();
    // There is room for this one when the other is gone.
    let mut waits = connect(&gateway).await;
    waits.write_all(LIVEZ).await.unwrap();
    assert!(rest(waits).await.starts_with("HTTP/1.1 200 "));
    let mut got = Vec::new();
    let _reset = greedy.read_to_end(&mut got).await;
    let one = gateway
        .get("/openapi.json")
        .await
        .bytes()
        .await
        .unwrap()
        .len();
    assert!(
        got.len() < asked * one,
        "{} of {asked} times {one}",
        got.len()
    );
}

#[tokio::test]
async fn who_reads_slowly_gets_all_of_its_answers() {
    let gateway = limited(Limits {
        taken_within: Duration::from_millis(200),
        ..Limits::default()
    })
    .await;
    let one = gateway.get("/openapi.json").await.bytes().await.unwrap();
    let mut slow = connect(&gateway).await;
    let last = "GET /openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let request = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(99) + last;
    slow.write_all(request.as_bytes()).await.unwrap();
    let (mut got, mut some) = (0, vec![0; 4 * one.len()]);
    loop {
        let read = slow.read(&mut some).await.unwrap();
        if read == 0 {
            break;
        }
        got += read;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(got > 100 * one.len(), "{got} bytes");
}

#[tokio::test]
async fn a_broker_that_is_known_to_be_away_is_503_at_once_with_nothing_started() {
    let gateway = limited(Limits::default()).await;
    // It would take longer than any caller waits.
    *gateway.bus.confirms_after.lock().unwrap() = Duration::from_secs(3600);
    let waiting_for = "it blocks publishers".to_owned();
    let down = Health::Down { waiting_for };
    gateway.bus.health.send_replace(down);
    let response = gateway.post(GOOD).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    let body: Value = response.json().await.unwrap();
    let detail = body["detail"].as_str().unwrap();
    assert!(
        detail.contains("it blocks publishers") && detail.contains("什么都没有开始"),
        "{detail}"
    );
    assert!(gateway.bus.published.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_caller_that_waits_for_too_many_sagas_is_429_and_others_are_not() {
    let (files, key) = (KeyFiles::new(), Signer::secret());
    let limits = Limits {
        max_sagas_per_caller: 1,
        ..Limits::default()
    };
    let auth = files.config(&[&Signer::ed25519("one")]);
    let gateway = Running::limited(FakeBus::without_workers(), limits, auth).await;
    let [own, operator] =
        [("7", ""), ("9", "operator")].map(|(subject, scope)| key.token(&claims(subject, scope)));
    let waits = gateway.send(&own, ("POST", "/regist/trans", GOOD));
    let published = || gateway.bus.published.lock().unwrap().len();
    let others = async {
        while published() == 0 {
            tokio::task::yield_now().await;
        }
        let second = gateway.send(&own, ("POST", "/regist/trans", GOOD)).await;
        assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(second.headers()["retry-after"], "1");
        let body: Value = second.json().await.unwrap();
        assert_eq!(body["type"], json!("/problems/too-many-requests"));
        assert_eq!(published(), 1);
        let first = gateway.bus.last_published();
        let other = gateway.send(&operator, ("POST", "/regist/trans", GOOD));
        let release = async {
            while published() == 1 {
                tokio::task::yield_now().await;
            }
            let second = gateway.bus.last_published();
            for command in [first, second] {
                gateway.bus.reply(completed(&command).remove(1));
            }
        };
        let (other, ()) = tokio::join!(other, release);
        assert_eq!(other.status(), StatusCode::OK);
    };
    let (first, ()) = tokio::join!(waits, others);
    assert_eq!(first.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_batch_that_is_too_large_for_its_caller_asks_nothing_and_another_only_a_little_at_a_time()
{
    let (files, key) = (KeyFiles::new(), Signer::secret());
    let limits = Limits {
        max_sagas_per_caller: 99,
        ..Limits::default()
    };
    let auth = files.config(&[&Signer::ed25519("one")]);
    let gateway = Running::limited(FakeBus::without_workers(), limits, auth).await;
    let owned = |_: &str| json!({"ownedBy": 7}).to_string();
    *gateway.bus.owner.lock().unwrap() = Some(Box::new(owned));
    let own = key.token(&claims("7", ""));
    let delete = async |count: usize| {
        let ids: Vec<SagaId> = (0..count).map(|_| SagaId::mint()).collect();
        let url = format!("{}/userTicket/delete-batch", gateway.url);
        let request = gateway.client.delete(url).bearer_auth(&own);
        let request = request.header("prefer", "respond-async");
        let body = json!({"ids": ids}).to_string();
        request.body(body).send().await.unwrap()
    };
    let asked_at_once = || gateway.bus.asking.lock().unwrap().1;
    let response = delete(100).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(asked_at_once(), 0);
    assert!(gateway.bus.published.lock().unwrap().is_empty());
    assert_eq!(delete(99).await.status(), StatusCode::ACCEPTED);
    assert!((1..=8).contains(&asked_at_once()), "{}", asked_at_once());
    assert_eq!(gateway.bus.published.lock().unwrap().len(), 99);
    // Its places are free again.
    assert_eq!(delete(99).await.status(), StatusCode::ACCEPTED);
}

fn two_an_hour() -> Limits {
    let (requests, window) = (2, Duration::from_secs(3600));
    Limits {
        rate_limit: Some(RateLimit { requests, window }),
        ..Limits::default()
    }
}

#[tokio::test]
async fn without_a_rate_limit_nothing_is_said_of_one() {
    let gateway = limited(Limits::default()).await;
    let response = gateway.post(GOOD).await;
    assert!(!response.headers().contains_key("ratelimit"));
    assert!(!response.headers().contains_key("ratelimit-policy"));
}

#[tokio::test]
async fn who_sends_too_much_is_429_and_told_when_to_come_again() {
    let gateway = limited(two_an_hour()).await;
    for left in ["\"default\";r=1;t=1800", "\"default\";r=0;t=3600"] {
        let response = gateway.post(GOOD).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(
            response.headers()["ratelimit-policy"],
            "\"default\";q=2;w=3600"
        );
        assert_eq!(response.headers()["ratelimit"], left);
    }
    let before = gateway.bus.published.lock().unwrap().len();
    let response = gateway.post(GOOD).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let after: u64 = response.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=1800).contains(&after), "{after}");
    assert!(response.headers().contains_key("ratelimit"));
    let body: Value = response.json().await.unwrap();
    assert_eq!(
        (&body["type"], &body["code"]),
        (&json!("/problems/too-many-requests"), &json!(1002))
    );
    assert_eq!(gateway.bus.published.lock().unwrap().len(), before);
    assert_eq!(gateway.get("/livez").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn each_token_has_its_own_rate_and_bad_tokens_use_up_their_senders() {
    let (files, key) = (KeyFiles::new(), Signer::secret());
    let auth = files.config(&[&Signer::ed25519("one")]);
    let gateway = Running::limited(FakeBus::new(completed), two_an_hour(), auth).await;
    let status = async |token: &str| gateway.send(token, ("GET", "/sagas", "")).await.status();
    let [own, other] = ["7", "8"].map(|subject| key.token(&claims(subject, "")));
    for (token, expected) in [
        (&*own, StatusCode::OK),
        (&own, StatusCode::OK),
        (&own, StatusCode::TOO_MANY_REQUESTS),
        (&other, StatusCode::OK),
        ("bad", StatusCode::UNAUTHORIZED),
        ("bad", StatusCode::UNAUTHORIZED),
        ("bad", StatusCode::TOO_MANY_REQUESTS),
        (&other, StatusCode::OK),
    ] {
        assert_eq!(status(token).await, expected, "{token}");
    }
}
