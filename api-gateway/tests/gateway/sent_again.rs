//! What callers ask of a POST beside its body: that it may be sent again (`Idempotency-Key`), and
//! how long to wait (`Prefer`).

use std::time::Duration;

use events::Reason;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::fake_bus::FakeBus;
use crate::running::{GOOD, Running};
use crate::stories::{compensated, completed};

const KEY: (&str, &str) = (
    "idempotency-key",
    "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"",
);
const OTHER_FIELDS: &str = r#"{"userId":7,"ticketId":43}"#;

async fn body(response: Response) -> Value {
    response.json().await.unwrap()
}

#[tokio::test]
async fn a_request_sent_again_with_its_key_is_not_done_again_and_has_the_same_answer() {
    let refuse = |command: &_| compensated(command, Reason::ALREADY_REGISTERED);
    for (bus, status) in [
        (FakeBus::new(completed), StatusCode::OK),
        (FakeBus::new(refuse), StatusCode::CONFLICT),
    ] {
        let gateway = Running::with(bus).await;
        let first = gateway.post_with(GOOD, &[KEY]).await;
        let again = gateway.post_with(GOOD, &[KEY]).await;
        assert_eq!((first.status(), again.status()), (status, status));
        assert_eq!(body(first).await, body(again).await);
        assert_eq!(gateway.bus.published.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_replica_that_knows_nothing_of_it_starts_the_same_saga() {
    let mut commands = Vec::new();
    for _ in 0..2 {
        let gateway = Running::with(FakeBus::new(completed)).await;
        gateway.post_with(GOOD, &[KEY]).await;
        let command = gateway.bus.last_published();
        commands.push((command.saga_id, command.id, command.message));
    }
    assert_eq!(commands[0], commands[1]);
}

#[tokio::test]
async fn a_key_with_other_fields_is_422_and_starts_nothing() {
    let gateway = Running::with(FakeBus::without_workers()).await;
    let running = gateway
        .post_with(GOOD, &[KEY, ("prefer", "respond-async")])
        .await;
    assert_eq!(running.status(), StatusCode::ACCEPTED);
    let reused = gateway.post_with(OTHER_FIELDS, &[KEY]).await;
    assert_eq!(reused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let problem = body(reused).await;
    assert_eq!(problem["type"], json!("/problems/idempotency-key-reused"));
    assert_eq!(problem["sagaId"], Value::Null);
    assert_eq!(gateway.bus.published.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_answer_that_was_given_to_other_fields_is_422() {
    let elsewhere = Running::with(FakeBus::new(completed)).await;
    elsewhere.post_with(GOOD, &[KEY]).await;
    let decided = elsewhere.bus.last_published();
    // The workers repeat what they decided, whatever they are sent now.
    let gateway = Running::with(FakeBus::new(move |_| completed(&decided))).await;
    for _ in 0..2 {
        let reused = gateway.post_with(OTHER_FIELDS, &[KEY]).await;
        assert_eq!(reused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
    let first = gateway.post_with(GOOD, &[KEY]).await;
    assert_eq!(first.status(), StatusCode::OK);
}

#[tokio::test]
async fn requests_with_one_key_at_the_same_time_all_get_the_answer() {
    let gateway = Running::with(FakeBus::without_workers()).await;
    let end = async {
        while gateway.bus.published.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let [_, registered] = completed(&gateway.bus.last_published()).try_into().unwrap();
        gateway.bus.reply(registered);
    };
    let (one, other, ()) = tokio::join!(
        gateway.post_with(GOOD, &[KEY]),
        gateway.post_with(GOOD, &[KEY]),
        end
    );
    assert_eq!(
        (one.status(), other.status()),
        (StatusCode::OK, StatusCode::OK)
    );
    assert_eq!(body(one).await, body(other).await);
}

#[tokio::test]
async fn a_key_that_cannot_be_one_is_400_and_starts_nothing() {
    let gateway = Running::with(FakeBus::new(completed)).await;
    let response = gateway
        .post_with(GOOD, &[("idempotency-key", "two words")])
        .await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        body(response).await["errors"][0]["field"],
        json!("Idempotency-Key")
    );
    assert!(gateway.bus.published.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_caller_that_does_not_wait_gets_the_address_of_its_saga() {
    let gateway = Running::with(FakeBus::without_workers()).await;
    let response = gateway
        .post_with(GOOD, &[("prefer", "respond-async")])
        .await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let headers = response.headers().clone();
    let saga = gateway.bus.last_published().saga_id;
    assert_eq!(headers["preference-applied"], "respond-async");
    assert_eq!(headers["location"], format!("/sagas/{saga}"));
    assert_eq!(headers["retry-after"], "1");
    assert_eq!(body(response).await["data"]["status"], json!("running"));
}

#[tokio::test]
async fn a_caller_waits_no_longer_than_it_prefers() {
    let gateway = Running::waiting(FakeBus::without_workers(), Duration::from_secs(3_600)).await;
    let response = gateway.post_with(GOOD, &[("prefer", "wait=1")]).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(response.headers()["preference-applied"], "wait=1");
}
