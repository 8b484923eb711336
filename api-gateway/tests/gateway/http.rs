//! What callers get when nothing is wrong with their request.

use std::time::Duration;

use events::choreography::PURCHASE_AND_REGISTER;
use events::{Event, Reason, UserTicketId};
use reqwest::{Response, StatusCode};
use saga::bus::Health;
use serde_json::{Value, json};

use crate::fake_bus::FakeBus;
use crate::running::{GOOD, Running};
use crate::stories::{compensated, completed, rejected};

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

#[tokio::test]
async fn a_purchase_that_works_is_answered_with_its_ids() {
    let gateway = Running::with(FakeBus::new(completed)).await;
    let response = gateway.post(GOOD).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "content-type"), "application/json");
    let body: Value = response.json().await.unwrap();
    let command = gateway.bus.last_published();
    let ids = command.message.particulars();
    assert_eq!(
        (&body["code"], &body["message"]),
        (&json!(200), &json!("success"))
    );
    assert_eq!(body["data"]["sagaId"], json!(command.saga_id));
    assert_eq!(body["data"]["userTicketId"], json!(ids.user_ticket_id));
    assert_eq!(
        (&body["data"]["userId"], &body["data"]["ticketId"]),
        (&json!(7), &json!(42))
    );
    let regist_id = body["data"]["registId"].as_str().unwrap();
    assert!(uuid::Uuid::parse_str(regist_id).is_ok());
}

#[tokio::test]
async fn the_command_says_who_waits_until_when_and_in_which_trace() {
    let gateway = Running::with(FakeBus::new(completed)).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let url = format!("{}/regist/trans", gateway.url);
    let post = gateway.client.post(url).header("traceparent", trace);
    post.body(GOOD).send().await.unwrap();
    let command = gateway.bus.last_published();
    let instance = command.reply_to.clone().unwrap();
    assert!(
        instance.starts_with("gateway-") && !instance.contains('.'),
        "{instance}"
    );
    assert_eq!(command.source, "api-gateway");
    assert_eq!(command.traceparent.as_deref(), Some(trace));
    assert_eq!(
        command.deadline,
        Some(command.time + PURCHASE_AND_REGISTER.deadline)
    );
    assert_eq!(
        command.id,
        Event::id_of(command.saga_id, command.message_type())
    );
    assert_eq!(command.saga_id.0.get_version_num(), 7);
    gateway.post(GOOD).await;
    let other = gateway.bus.last_published().traceparent.unwrap();
    assert!(other != trace && other.len() == trace.len());
}

#[tokio::test]
async fn ids_are_taken_as_numbers_and_as_strings_and_keep_all_their_digits() {
    let gateway = Running::with(FakeBus::new(completed)).await;
    let body = r#"{"userId":"0","ticketId":18446744073709551615,"more":{"a":[1]},"more":2}"#;
    let response = gateway.post(body).await;
    assert_eq!(response.status(), StatusCode::OK);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["data"]["userId"], json!(0));
    // More than a JavaScript number holds.
    assert_eq!(body["data"]["ticketId"], json!("18446744073709551615"));
}

#[tokio::test]
async fn a_refusal_is_409_with_the_reason_and_the_originals_message() {
    for (reason, code, message) in [
        ("already_registered", 409, "用户已报名，请勿重复报名！"),
        (
            "deadline_exceeded",
            1002,
            "系统繁忙，报名已超时，请稍后重试！",
        ),
        ("sold_out", 409, "sold_out"),
    ] {
        let why = Reason::from(reason.to_owned());
        let late = why == Reason::DEADLINE_EXCEEDED;
        let bus = FakeBus::new(move |command| match late {
            true => rejected(command, why.clone()),
            false => compensated(command, why.clone()),
        });
        let gateway = Running::with(bus).await;
        let response = gateway.post(GOOD).await;
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(
            header(&response, "content-type"),
            "application/problem+json"
        );
        let body: Value = response.json().await.unwrap();
        let saga = gateway.bus.last_published().saga_id;
        assert_eq!(body["status"], json!(409));
        assert_eq!(
            (&body["code"], &body["message"]),
            (&json!(code), &json!(message))
        );
        assert_eq!(
            (&body["reason"], &body["sagaId"]),
            (&json!(reason), &json!(saga))
        );
        assert_eq!(body["instance"], json!(format!("/sagas/{saga}")));
        assert!(!body["title"].as_str().unwrap().is_empty());
        assert!(!body["detail"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_saga_that_outlasts_the_callers_patience_is_answered_with_its_address() {
    let bus = FakeBus::without_workers();
    let gateway = Running::waiting(bus, Duration::from_millis(20)).await;
    let response = gateway.post(GOOD).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let saga = gateway.bus.last_published().saga_id;
    assert_eq!(header(&response, "location"), format!("/sagas/{saga}"));
    assert_eq!(header(&response, "retry-after"), "1");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["data"]["sagaId"], json!(saga));
    assert_eq!(body["data"]["status"], json!("running"));
}

#[tokio::test]
async fn a_confirm_may_take_longer_than_the_caller_waits_for_the_outcome() {
    let gateway = Running::waiting(FakeBus::without_workers(), Duration::ZERO).await;
    *gateway.bus.confirms_after.lock().unwrap() = Duration::from_millis(50);
    let response = gateway.post(GOOD).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
}

async fn data(response: Response) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    response.json::<Value>().await.unwrap()["data"].take()
}

#[tokio::test]
async fn a_saga_not_yet_in_the_ledger_is_running_and_then_waits_for_a_step() {
    let bus = FakeBus::without_workers();
    let gateway = Running::waiting(bus, Duration::from_millis(20)).await;
    gateway.post(GOOD).await;
    let command = gateway.bus.last_published();
    let path = format!("/sagas/{}", command.saga_id);
    let before = data(gateway.get(&path).await).await;
    assert_eq!(
        (&before["status"], &before["timeline"]),
        (&json!("running"), &json!([]))
    );
    assert_eq!(
        (&before["userId"], &before["waitingFor"]),
        (&json!(7), &Value::Null)
    );

    let purchased = completed(&command).remove(0);
    gateway.bus.record([&command, &purchased]);
    gateway.projected(1).await;
    let after = data(gateway.get(&path).await).await;
    assert_eq!(after["status"], json!("running"));
    let waits = json!({
        "service": "regist-worker",
        "message": "TicketPurchased",
        "since": purchased.time,
        "overdue": false,
    });
    assert_eq!(after["waitingFor"], waits);
}

#[tokio::test]
async fn a_saga_in_the_ledger_shows_all_that_happened() {
    let gateway = Running::with(FakeBus::without_workers()).await;
    let story = crate::stories::whole();
    gateway.bus.record(&story);
    gateway.projected(2).await;
    let path = format!("/sagas/{}", story[0].saga_id);
    let body: Value = gateway.get(&path).await.json().await.unwrap();
    let ids = story[2].message.particulars();
    let happened = |event: &Event| {
        json!({
            "id": event.id,
            "type": event.message_type().name(),
            "source": event.source,
            "time": event.time,
            "causationId": event.causation_id,
        })
    };
    let data = json!({
        "sagaId": story[0].saga_id,
        "saga": "PurchaseAndRegister",
        "status": "completed",
        "reason": null,
        "waitingFor": null,
        "startedAt": story[0].time,
        "endedAt": story[2].time,
        "userId": 7,
        "ticketId": 42,
        "userTicketId": ids.user_ticket_id,
        "registId": ids.regist_id,
        "timeline": story.iter().map(happened).collect::<Vec<_>>(),
    });
    assert_eq!(
        body,
        json!({"code": 200, "message": "success", "data": data})
    );
}

#[tokio::test]
async fn an_end_that_a_caller_was_told_is_not_taken_back_by_a_ledger_that_is_behind() {
    let refuse = |command: &Event| compensated(command, Reason::ALREADY_REGISTERED);
    let gateway = Running::with(FakeBus::new(refuse)).await;
    gateway.post(GOOD).await;
    let command = gateway.bus.last_published();
    let path = format!("/sagas/{}", command.saga_id);
    let unseen: Value = gateway.get(&path).await.json().await.unwrap();
    assert_eq!(unseen["data"]["status"], json!("compensated"));
    gateway.bus.record([&command]);
    gateway.projected(0).await;
    let behind: Value = gateway.get(&path).await.json().await.unwrap();
    assert_eq!(behind["data"]["status"], json!("compensated"));
    assert_eq!(behind["data"]["reason"], json!("already_registered"));
    assert_eq!(behind["data"]["waitingFor"], Value::Null);
    assert_eq!(behind["data"]["timeline"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_overdue_step_shows_as_such() {
    let gateway = Running::with(FakeBus::without_workers()).await;
    let mut command = crate::stories::command();
    command.time = events::Timestamp::from_micros(0);
    gateway.bus.record([&command]);
    gateway.projected(0).await;
    let path = format!("/sagas/{}", command.saga_id);
    let body: Value = gateway.get(&path).await.json().await.unwrap();
    assert_eq!(body["data"]["waitingFor"]["overdue"], json!(true));
}

#[tokio::test]
async fn readiness_names_bus_and_store_and_what_is_waited_for() {
    let gateway = Running::with(FakeBus::without_workers()).await;
    let ready = gateway.get("/readyz").await;
    assert_eq!(ready.status(), StatusCode::OK);
    let up = json!({"state": "up"});
    let up = json!({"status": "ready", "bus": up, "store": up, "ledger": up});
    assert_eq!(ready.json::<Value>().await.unwrap(), up);
    let down = |what: &str| Health::Down {
        waiting_for: what.to_owned(),
    };
    gateway.bus.health.send_replace(down("the broker"));
    gateway.store.send_replace(down("the database"));
    let waiting = gateway.get("/readyz").await;
    assert_eq!(waiting.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body: Value = waiting.json().await.unwrap();
    assert_eq!(
        body["bus"],
        json!({"state": "down", "waitingFor": "the broker"})
    );
    assert_eq!(
        body["store"],
        json!({"state": "down", "waitingFor": "the database"})
    );
    assert_eq!(gateway.get("/livez").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn metrics_tell_what_was_accepted_what_ended_and_how_long_it_took() {
    let gateway = Running::with(FakeBus::new(completed)).await;
    gateway.post(GOOD).await;
    let command = gateway.bus.last_published();
    let rest = completed(&command);
    gateway.bus.record([&command, &rest[0], &rest[1]]);
    gateway.bus.record_raw(["no event".to_owned()]);
    gateway.projected(3).await;
    let text = gateway.get("/metrics").await.text().await.unwrap();
    for line in [
        "gateway_sagas_accepted_total ",
        "gateway_request_duration_seconds",
        "route=\"/regist/trans\"",
        "gateway_waiting_requests ",
        "gateway_sagas_ended_total{outcome=\"completed\"} ",
        "ledger_undecodable_events_total ",
        "ledger_projected_events_total ",
        "ledger_lag_seconds ",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn a_stop_lets_waiting_callers_have_their_answer() {
    let gateway = Running::with(FakeBus::without_workers()).await;
    let post = gateway.post(GOOD);
    let stop = async {
        while gateway.bus.published.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        gateway.tasks.stop();
        let end = completed(&gateway.bus.last_published()).remove(1);
        gateway.bus.reply(end);
    };
    let (response, ()) = tokio::join!(post, stop);
    assert_eq!(response.status(), StatusCode::OK);
    gateway.tasks.join(saga::SHUTDOWN_LIMIT).await.unwrap();
    let refused = gateway.client.get(format!("{}/livez", gateway.url)).send();
    assert!(refused.await.is_err(), "it accepts no more");
}

#[tokio::test]
async fn a_stop_ends_within_its_limit_when_a_saga_does_not() {
    let gateway = Running::with(FakeBus::without_workers()).await;
    let post = gateway.post(GOOD);
    let stop = async {
        while gateway.bus.published.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        gateway.tasks.stop();
        gateway.tasks.join(saga::SHUTDOWN_LIMIT).await.unwrap();
    };
    let (response, ()) = tokio::join!(post, stop);
    assert_eq!(response.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn who_does_not_wait_for_a_batch_is_told_of_all_its_sagas() {
    let gateway = Running::with(FakeBus::without_workers()).await;
    let ids = [UserTicketId::mint(), UserTicketId::mint()];
    let url = format!("{}/userTicket/delete-batch", gateway.url);
    let request = gateway.client.delete(url).header("prefer", "respond-async");
    let body = json!({ "ids": ids }).to_string();
    let answer = request.body(body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let answer: Value = answer.json().await.unwrap();
    let sagas = answer["data"]["sagaIds"].as_array().unwrap();
    assert_eq!(sagas.len(), 2);
    assert_eq!(answer["data"]["sagaId"], sagas[0]);
    assert_eq!(location, format!("/sagas/{}", sagas[0].as_str().unwrap()));
}
