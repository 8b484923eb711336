//! What callers get when something is wrong: a true status, a problem, and what to do instead.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::fake_bus::FakeBus;
use crate::running::{GOOD, Running};
use crate::stories::completed;

async fn problem(response: Response, status: StatusCode, code: u16, message: &str) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], json!(status.as_u16()), "{body}");
    assert_eq!(
        (&body["code"], &body["message"]),
        (&json!(code), &json!(message)),
        "{body}"
    );
    for member in ["type", "title", "detail"] {
        assert!(!body[member].as_str().unwrap().is_empty(), "{body}");
    }
    assert!(body["errors"].is_array(), "{body}");
    body
}

async fn invalid(response: Response) -> Value {
    problem(response, StatusCode::BAD_REQUEST, 1003, "无效的参数！").await
}

fn wrong_fields(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().unwrap();
    errors
        .iter()
        .map(|error| error["field"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn every_wrong_field_is_named_with_what_to_send() {
    let gateway = Running::with(FakeBus::new(completed)).await;
    for (body, wrong) in [
        (r#"{}"#, vec!["userId", "ticketId"]),
        (r#"{"userId":7}"#, vec!["ticketId"]),
        (r#"{"ticketId":42}"#, vec!["userId"]),
        (r#"{"userId":-1,"ticketId":-9}"#, vec!["userId", "ticketId"]),
        (
            r#"{"userId":7,"ticketId":18446744073709551616}"#,
            vec!["ticketId"],
        ),
        (
            r#"{"userId":"18446744073709551616","ticketId":42}"#,
            vec!["userId"],
        ),
        (r#"{"userId":null,"ticketId":42}"#, vec!["userId"]),
        (r#"{"userId":1.5,"ticketId":42}"#, vec!["userId"]),
        (r#"{"userId":1e3,"ticketId":42}"#, vec!["userId"]),
        (
            r#"{"userId":true,"ticketId":[42]}"#,
            vec!["userId", "ticketId"],
        ),
        (
            r#"{"userId":"","ticketId":"+1"}"#,
            vec!["userId", "ticketId"],
        ),
        (
            r#"{"userId":"0x1","ticketId":" 1"}"#,
            vec!["userId", "ticketId"],
        ),
        (r#"{"userId":7,"ticketId":42,"userId":7}"#, vec!["userId"]),
        (
            r#"{"userId":7,"\u0075serId":8,"ticketId":-1}"#,
            vec!["userId", "ticketId"],
        ),
        (r#"{"userID":7,"ticketId":42}"#, vec!["userId"]),
    ] {
        let problem = invalid(gateway.post(body).await).await;
        assert_eq!(wrong_fields(&problem), wrong, "{body}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(wrong.iter().all(|field| detail.contains(field)), "{detail}");
        assert!(
            detail.contains(r#"请发送 {"userId": 7, "ticketId": 42}"#),
            "{detail}"
        );
    }
    assert!(gateway.bus.published.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_told_so() {
    let gateway = Running::with(FakeBus::new(completed)).await;
    for body in [
        &b""[..],
        b"userId=7&ticketId=42",
        b"[7,42]",
        b"null",
        b"\"text\"",
        br#"{"userId":7,"ticketId":42"#,
        br#"{"userId":7,"ticketId":42} more"#,
        br#"{"userId":7,"ticketId":007}"#,
        b"\xff\xfe",
        b"{\"userId\":7,\"ticketId\":\"\xff\"}",
    ] {
        let problem = invalid(gateway.post(body).await).await;
        assert_eq!(wrong_fields(&problem), ["(body)"], "{problem}");
    }
    let deep = "[".repeat(10_000);
    invalid(gateway.post(deep).await).await;
    assert!(gateway.bus.published.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_content_type_does_not_matter() {
    let gateway = Running::with(FakeBus::new(completed)).await;
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "nonsense",
    ] {
        let url = format!("{}/regist/trans", gateway.url);
        let post = gateway.client.post(url).header("content-type", kind);
        let response = post.body(GOOD).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{kind}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let gateway = Running::with(FakeBus::new(completed)).await;
    let body = format!(
        r#"{{"userId":7,"ticketId":42,"x":"{}"}}"#,
        "x".repeat(16 * 1024)
    );
    let response = gateway.post(body).await;
    problem(
        response,
        StatusCode::PAYLOAD_TOO_LARGE,
        1003,
        "无效的参数！",
    )
    .await;
}

#[tokio::test]
async fn an_unknown_route_is_404_and_a_wrong_method_405_with_the_right_ones() {
    let gateway = Running::with(FakeBus::new(completed)).await;
    let missing = gateway.get("/regist/tran").await;
    problem(missing, StatusCode::NOT_FOUND, 1007, "查询失败").await;
    for (method, path, allowed) in [
        (Method::GET, "/regist/trans", "POST"),
        (Method::POST, "/sagas/x", "GET,HEAD"),
        (Method::DELETE, "/metrics", "GET,HEAD"),
    ] {
        let url = format!("{}{path}", gateway.url);
        let response = gateway.client.request(method, url).send().await.unwrap();
        assert_eq!(response.headers()["allow"], allowed);
        problem(
            response,
            StatusCode::METHOD_NOT_ALLOWED,
            1003,
            "无效的参数！",
        )
        .await;
    }
}

#[tokio::test]
async fn a_made_up_method_makes_no_series_of_its_own() {
    let gateway = Running::with(FakeBus::new(completed)).await;
    let (method, url) = (Method::from_bytes(b"BREW").unwrap(), &gateway.url);
    let response = gateway.client.request(method, url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let metrics = gateway.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("method=\"other\""), "{metrics}");
    assert!(!metrics.contains("BREW"), "{metrics}");
}

#[tokio::test]
async fn a_saga_id_that_is_no_uuid_is_400_and_an_unknown_one_404() {
    let gateway = Running::with(FakeBus::new(completed)).await;
    for id in [
        "7",
        "not-a-uuid",
        "%ff",
        "01934f00-0000-7000-8000-00000000000",
    ] {
        let response = gateway.get(&format!("/sagas/{id}")).await;
        assert_eq!(wrong_fields(&invalid(response).await), ["id"]);
    }
    let response = gateway
        .get("/sagas/01934f00-0000-7000-8000-000000000001")
        .await;
    let unknown = problem(response, StatusCode::NOT_FOUND, 1007, "查询失败").await;
    let detail = unknown["detail"].as_str().unwrap();
    assert!(detail.contains("01934f00-0000-7000-8000-000000000001"));
}

#[tokio::test]
async fn a_broker_that_is_away_is_503_with_where_to_ask() {
    let gateway = Running::with(FakeBus::new(completed)).await;
    *gateway.bus.away.lock().unwrap() = Some("connection refused");
    let response = gateway.post(GOOD).await;
    assert_eq!(response.headers()["retry-after"], "1");
    let body = problem(response, StatusCode::SERVICE_UNAVAILABLE, 1002, "系统繁忙!").await;
    let saga = body["sagaId"].as_str().unwrap();
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("命令可能已被接受，也可能没有"), "{detail}");
    assert!(detail.contains(&format!("GET /sagas/{saga}")), "{detail}");
    assert!(detail.contains("connection refused"), "{detail}");
    assert!(detail.contains("如果它在 20"), "{detail}");
    // Nothing is pretended about it.
    let asked = gateway.get(&format!("/sagas/{saga}")).await;
    assert_eq!(asked.status(), StatusCode::NOT_FOUND);
    *gateway.bus.away.lock().unwrap() = None;
    assert_eq!(gateway.post(GOOD).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn nothing_is_started_before_its_end_could_reach_the_caller() {
    let (gateway, mut front) =
        Running::open(FakeBus::new(completed), Duration::from_secs(10)).await;
    let response = gateway.post(GOOD).await;
    let body = problem(response, StatusCode::SERVICE_UNAVAILABLE, 1002, "系统繁忙!").await;
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("什么都没有开始"), "{detail}");
    let ready = gateway.get("/readyz").await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    front.take_replies(&gateway.tasks).await.unwrap();
    assert_eq!(gateway.get("/readyz").await.status(), StatusCode::OK);
    assert_eq!(gateway.post(GOOD).await.status(), StatusCode::OK);
}

const UNKNOWN: &str = "/sagas/01934f00-0000-7000-8000-000000000001";

#[tokio::test]
async fn nothing_is_said_to_be_unknown_while_the_journal_cannot_be_opened() {
    let bus = FakeBus::new(completed);
    *bus.no_journal.lock().unwrap() = Some("is no stream");
    let (gateway, mut front) = Running::open(bus, Duration::from_secs(10)).await;
    front.take_replies(&gateway.tasks).await.unwrap();
    front.project(&gateway.tasks);
    let said = |readiness: &Value| readiness["ledger"]["waitingFor"].to_string();
    let mut readiness = gateway.ledger_is("down").await;
    while !said(&readiness).contains("is no stream") {
        readiness = gateway.ledger_is("down").await;
    }
    assert!(
        said(&readiness).contains("not projecting since"),
        "{readiness}"
    );
    assert_eq!(readiness["status"], json!("ready"), "callers are answered");
    let response = gateway.get(UNKNOWN).await;
    assert_eq!(response.headers()["retry-after"], "1");
    problem(response, StatusCode::SERVICE_UNAVAILABLE, 1002, "系统繁忙!").await;
    assert_eq!(gateway.post(GOOD).await.status(), StatusCode::OK);
    *gateway.bus.no_journal.lock().unwrap() = None;
    gateway.ledger_is("up").await;
    assert_eq!(gateway.get(UNKNOWN).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn nothing_is_said_to_be_unknown_while_the_ledger_is_behind_the_journal() {
    let gateway = Running::with(FakeBus::new(completed)).await;
    let mut old = crate::stories::command();
    old.time = events::Timestamp::from_micros(0);
    gateway.bus.record([&old]);
    gateway.ledger_is("down").await;
    let response = gateway.get(UNKNOWN).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    // Nothing more comes: the journal ends with something old.
    gateway.ledger_is("up").await;
    assert_eq!(gateway.get(UNKNOWN).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_500_with_who_has_to_act() {
    let gateway = Running::with(FakeBus::new(completed)).await;
    let command = crate::stories::command();
    gateway.bus.record([&command]);
    gateway.projected(0).await;
    gateway
        .database
        .execute("UPDATE saga SET timeline = 'x'")
        .await;
    let response = gateway.get(&format!("/sagas/{}", command.saga_id)).await;
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let body = problem(response, status, 1001, "消息处理失败！").await;
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("需要操作员"), "{detail}");
}

#[tokio::test]
async fn a_ledger_that_is_away_is_503_for_a_saga_this_instance_knows_nothing_of() {
    let gateway = Running::with(FakeBus::new(completed)).await;
    gateway.post(GOOD).await;
    gateway.ledger.away.send_replace(true);
    let response = gateway.get(UNKNOWN).await;
    assert_eq!(response.headers()["retry-after"], "1");
    problem(response, StatusCode::SERVICE_UNAVAILABLE, 1002, "系统繁忙!").await;
    let own = gateway.bus.last_published().saga_id;
    let response = gateway.get(&format!("/sagas/{own}")).await;
    assert_eq!(response.status(), StatusCode::OK);
}
