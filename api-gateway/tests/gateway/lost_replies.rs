//! Callers whose answer never came: the queue of replies was away, and only the ledger heard the end.

use std::time::Duration;

use events::{Event, Reason};
use reqwest::StatusCode;
use saga::bus::Health;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::fake_bus::FakeBus;
use crate::running::{GOOD, Running};
use crate::stories::{compensated, completed};

/// Longer than any test takes.
const FOR_EVER: Duration = Duration::from_secs(3_600);
const PATIENCE: Duration = Duration::from_secs(20);

/// The journal has the saga of the command that was published, and no reply comes.
async fn lose_the_reply(gateway: &Running, story: impl Fn(&Event) -> Vec<Event>) {
    while gateway.bus.published.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let command = gateway.bus.last_published();
    gateway.bus.record([&command]);
    gateway.bus.record(&story(&command));
}

#[tokio::test]
async fn an_end_that_only_the_ledger_heard_of_is_answered_as_the_outcome() {
    for (story, status) in [
        (completed as fn(&Event) -> Vec<Event>, StatusCode::OK),
        (
            |command| compensated(command, Reason::ALREADY_REGISTERED),
            StatusCode::CONFLICT,
        ),
    ] {
        let bus = FakeBus::without_workers();
        let gateway = Running::waiting(bus, Duration::from_millis(500)).await;
        let (response, ()) = tokio::join!(gateway.post(GOOD), lose_the_reply(&gateway, story));
        assert_eq!(response.status(), status);
        let body: Value = response.json().await.unwrap();
        match status {
            StatusCode::OK => assert!(body["data"]["registId"].is_string(), "{body}"),
            _ => assert_eq!(body["reason"], json!("already_registered")),
        }
    }
}

#[tokio::test]
async fn after_an_outage_of_the_broker_nobody_waits_for_an_answer_that_was_lost_in_it() {
    let gateway = Running::waiting(FakeBus::without_workers(), FOR_EVER).await;
    let outage = async {
        lose_the_reply(&gateway, completed).await;
        let waiting_for = "the broker".to_owned();
        gateway
            .bus
            .health
            .send_replace(Health::Down { waiting_for });
        gateway.bus.health.send_replace(Health::Up);
    };
    let answered = async { tokio::join!(gateway.post(GOOD), outage) };
    let (response, ()) = timeout(PATIENCE, answered).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
}
