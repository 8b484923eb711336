//! In which language callers are told what is wrong: the original's Chinese, or English for who would
//! rather read that. Nothing but the texts differs.

use std::time::Duration;

use api_gateway::{AuthConfig, Limits, RateLimit};
use events::Reason;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::fake_bus::FakeBus;
use crate::running::{GOOD, Running, Sent};
use crate::stories::{compensated, rejected};
use crate::tokens::{KeyFiles, Signer};

async fn send(gateway: &Running, (method, path, body): Sent<'_>, languages: &str) -> Response {
    let method: Method = method.parse().unwrap();
    let url = format!("{}{path}", gateway.url);
    let request = gateway.client.request(method, url).body(body.to_owned());
    let request = match languages {
        "" => request,
        languages => request.header("accept-language", languages),
    };
    request.send().await.unwrap()
}

/// A problem in the language that is expected of it, and all of its texts.
async fn told(
    gateway: &Running,
    sent: Sent<'_>,
    languages: &str,
    tag: &str,
) -> (Value, Vec<String>) {
    let response = send(gateway, sent, languages).await;
    let header = |name: &str| response.headers()[name].to_str().unwrap();
    assert_eq!(
        header("content-type"),
        "application/problem+json",
        "{sent:?}"
    );
    assert_eq!(header("content-language"), tag, "{sent:?} {languages:?}");
    assert_eq!(header("vary"), "Accept-Language", "{sent:?}");
    let mut body: Value = response.json().await.unwrap();
    let mut texts = Vec::new();
    let mut take = |text: &mut Value| texts.push(text.take().as_str().unwrap().to_owned());
    for name in ["title", "detail", "message"] {
        take(&mut body[name]);
    }
    for error in body["errors"].as_array_mut().unwrap() {
        take(&mut error["detail"]);
    }
    (body, texts)
}

fn is_chinese(text: &str) -> bool {
    text.chars()
        .any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter))
}

/// Checks that a request is told in both languages what is wrong with it.
async fn is_told_in_both(gateway: &Running, sent: Sent<'_>, status: StatusCode) {
    let (chinese, texts) = told(gateway, sent, "", "zh-CN").await;
    assert_eq!(chinese["status"], json!(status.as_u16()), "{sent:?}");
    assert!(texts.iter().all(|text| is_chinese(text)), "{texts:?}");
    let preferred = "de, en-GB;q=0.8, zh;q=0.7";
    let (english, texts) = told(gateway, sent, preferred, "en").await;
    assert!(!texts.iter().any(|text| is_chinese(text)), "{texts:?}");
    // But for a saga of its own, nothing else differs.
    let same = |mut body: Value| {
        for name in ["sagaId", "instance"] {
            body.as_object_mut().unwrap().remove(name);
        }
        body
    };
    assert_eq!(same(chinese), same(english), "{sent:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_in_both_languages() {
    let gateway = Running::with(FakeBus::without_workers()).await;
    let large = "x".repeat(16 * 1024 + 1);
    let find = "/userTicket?id=0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f";
    let many = format!(
        "{{\"ids\":[{}]}}",
        vec!["\"0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f\""; 101].join(",")
    );
    for (sent, status) in [
        (("POST", "/regist/trans", ""), 400),
        (("POST", "/regist/trans", "[7]"), 400),
        (("POST", "/regist/trans", "{"), 400),
        (
            ("POST", "/regist/trans", r#"{"userId":-1,"userId":2}"#),
            400,
        ),
        (("DELETE", "/regist/delete-batch", &*many), 400),
        (
            ("GET", "/userTicket/list?id=x&pageNum=y&pageNum=z", ""),
            400,
        ),
        (("GET", "/sagas?status=gone&cursor=x&limit=0", ""), 400),
        (("GET", "/sagas/x", ""), 400),
        (
            ("GET", "/sagas/0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f", ""),
            404,
        ),
        (("GET", "/tickets", ""), 404),
        (("GET", "/regist/trans", ""), 405),
        (("POST", "/userTicket", &large), 413),
        (("GET", find, ""), 504),
    ] {
        is_told_in_both(&gateway, sent, StatusCode::from_u16(status).unwrap()).await;
    }
    *gateway.bus.away.lock().unwrap() = Some("connection refused");
    let buy = ("POST", "/regist/trans", GOOD);
    is_told_in_both(&gateway, buy, StatusCode::SERVICE_UNAVAILABLE).await;
    gateway.ledger.away.send_replace(true);
    is_told_in_both(
        &gateway,
        ("GET", "/sagas", ""),
        StatusCode::SERVICE_UNAVAILABLE,
    )
    .await;
}

#[tokio::test]
async fn a_refusal_is_told_in_both_languages() {
    for reason in [
        Reason::ALREADY_REGISTERED,
        Reason::TICKET_NOT_FOUND,
        Reason::NOT_THE_USERS_TICKET,
        Reason::TICKET_DELETED,
        Reason::TICKET_IN_USE,
        Reason::CHANGED_MEANWHILE,
        Reason::NOTHING_NAMED,
    ] {
        let refuse = move |command: &_| compensated(command, reason.clone());
        let gateway = Running::with(FakeBus::new(refuse)).await;
        let buy = ("POST", "/regist/trans", GOOD);
        is_told_in_both(&gateway, buy, StatusCode::CONFLICT).await;
    }
    for (reason, status) in [
        (Reason::DEADLINE_EXCEEDED, StatusCode::CONFLICT),
        (Reason::NOT_FOUND, StatusCode::NOT_FOUND),
    ] {
        let refuse = move |command: &_| rejected(command, reason.clone());
        let gateway = Running::with(FakeBus::new(refuse)).await;
        is_told_in_both(&gateway, ("POST", "/regist/trans", GOOD), status).await;
    }
}

#[tokio::test]
async fn who_may_not_is_told_so_in_both_languages() {
    let (files, buy) = (KeyFiles::new(), ("POST", "/regist/trans", GOOD));
    let auth = files.config(&[&Signer::ed25519("one")]);
    let guarded = Running::guarded(FakeBus::without_workers(), auth).await;
    is_told_in_both(&guarded, buy, StatusCode::UNAUTHORIZED).await;
    let (requests, window) = (1, Duration::from_secs(3600));
    let limits = Limits {
        rate_limit: Some(RateLimit { requests, window }),
        ..Limits::default()
    };
    let limited = Running::limited(FakeBus::without_workers(), limits, AuthConfig::default()).await;
    limited.get("/sagas").await;
    is_told_in_both(
        &limited,
        ("GET", "/sagas", ""),
        StatusCode::TOO_MANY_REQUESTS,
    )
    .await;
}

#[tokio::test]
async fn the_head_of_a_problem_is_that_of_its_body() {
    let gateway = Running::with(FakeBus::without_workers()).await;
    let get = send(&gateway, ("GET", "/sagas/x", ""), "en").await;
    let head = send(&gateway, ("HEAD", "/sagas/x", ""), "en").await;
    for name in ["content-type", "content-language", "content-length", "vary"] {
        assert_eq!(head.headers()[name], get.headers()[name], "{name}");
    }
    assert_eq!(head.text().await.unwrap(), "");
}

#[tokio::test]
async fn a_success_says_the_same_in_every_language() {
    let gateway = Running::with(FakeBus::without_workers()).await;
    let response = send(&gateway, ("GET", "/livez", ""), "en").await;
    assert!(!response.headers().contains_key("content-language"));
}
