//! Lists of sagas, and one saga as a stream of events.

use events::Reason;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::fake_bus::FakeBus;
use crate::running::Running;
use crate::stories::{command, compensated, completed};
use crate::tokens::{KeyFiles, Signer, claims};

/// A gateway whose ledger has these sagas, in this order: a completed one, one that runs, and a
/// compensated one.
async fn with_three() -> (Running, [String; 3]) {
    let gateway = Running::with(FakeBus::without_workers()).await;
    let [good, running, refused] = [(); 3].map(|()| command());
    let ends = [
        completed(&good),
        compensated(&refused, Reason::ALREADY_REGISTERED),
    ]
    .concat();
    let ids = [&good, &running, &refused].map(|event| event.saga_id.to_string());
    let all = [vec![good, running, refused], ends].concat();
    gateway.bus.record(&all);
    let last = i64::try_from(all.len()).unwrap() - 1;
    gateway.projected(last).await;
    (gateway, ids)
}

async fn listed(gateway: &Running, query: &str) -> (Vec<String>, Value) {
    let response = gateway.get(&format!("/sagas{query}")).await;
    assert_eq!(response.status(), StatusCode::OK, "{query}");
    let body: Value = response.json().await.unwrap();
    let list = body["data"]["list"].as_array().unwrap().iter();
    let ids = list.map(|saga| saga["sagaId"].as_str().unwrap().to_owned());
    (ids.collect(), body["data"]["next"].clone())
}

#[tokio::test]
async fn sagas_are_listed_newest_first_by_status_and_user() {
    let (gateway, [good, running, refused]) = with_three().await;
    for (query, expected) in [
        ("", vec![&refused, &running, &good]),
        ("?status=running", vec![&running]),
        ("?status=compensated", vec![&refused]),
        ("?userId=7&status=completed", vec![&good]),
        ("?userId=8", vec![]),
    ] {
        let (ids, next) = listed(&gateway, query).await;
        assert_eq!(ids.iter().collect::<Vec<_>>(), expected, "{query}");
        assert_eq!(next, Value::Null);
    }
}

#[tokio::test]
async fn a_list_goes_on_where_its_cursor_says() {
    let (gateway, [good, running, refused]) = with_three().await;
    let (first, next) = listed(&gateway, "?limit=2").await;
    assert_eq!(first, [refused, running]);
    let cursor = next.as_str().unwrap();
    let (second, next) = listed(&gateway, &format!("?limit=2&cursor={cursor}")).await;
    assert_eq!((second, next), (vec![good], Value::Null));
}

#[tokio::test]
async fn a_wrong_parameter_of_a_list_is_named() {
    let gateway = Running::with(FakeBus::without_workers()).await;
    let response = gateway
        .get("/sagas?status=done&limit=0&cursor=x&userId=-1")
        .await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let body: Value = response.json().await.unwrap();
    let fields = body["errors"].as_array().unwrap().iter();
    let fields: Vec<_> = fields
        .map(|error| error["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["status", "userId", "cursor", "limit"]);
}

/// The stream whole, as its events: name, id, and data.
async fn streamed(gateway: &Running, id: &str, last: &str) -> Vec<(String, String, Value)> {
    let url = format!("{}/sagas/{id}/events", gateway.url);
    let get = gateway.client.get(url).header("last-event-id", last);
    let response = get.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.unwrap();
    let field = |event: &str, name: &str| {
        let prefix = format!("{name}: ");
        let line = event.lines().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_default().to_owned()
    };
    let events = text.split("\n\n").filter(|event| event.contains("data: "));
    events
        .map(|event| {
            let data = serde_json::from_str(&field(event, "data")).unwrap();
            (field(event, "event"), field(event, "id"), data)
        })
        .collect()
}

#[tokio::test]
async fn a_saga_is_streamed_to_its_end_and_goes_on_after_the_last_event() {
    let gateway = Running::with(FakeBus::without_workers()).await;
    let begun = command();
    let rest = compensated(&begun, Reason::ALREADY_REGISTERED);
    gateway.bus.record([&begun]);
    gateway.projected(0).await;
    let id = begun.saga_id.to_string();
    let (events, ()) = tokio::join!(streamed(&gateway, &id, ""), async {
        gateway.bus.record(&rest);
    });
    let names: Vec<&str> = events.iter().map(|(name, ..)| name.as_str()).collect();
    let messages = [
        "PurchaseAndRegister",
        "TicketPurchased",
        "RegistrationFailed",
        "TicketDeleted",
    ];
    assert_eq!(names, [&messages[..], &["end"]].concat());
    let (_, _, end) = events.last().unwrap();
    assert_eq!(
        (&end["status"], &end["reason"]),
        (&json!("compensated"), &json!("already_registered"))
    );
    let again = streamed(&gateway, &id, &events[1].1).await;
    assert_eq!(again, events[2..]);
    let url = format!("{}/sagas/{id}/events", gateway.url);
    let all = gateway.client.get(url).header("last-event-id", "end");
    assert_eq!(all.send().await.unwrap().status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_stream_of_an_unknown_saga_is_404() {
    let gateway = Running::with(FakeBus::without_workers()).await;
    let unknown = format!("/sagas/{}/events", command().saga_id);
    assert_eq!(gateway.get(&unknown).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_stop_ends_a_stream() {
    let (gateway, [_, running, _]) = with_three().await;
    let url = format!("{}/sagas/{running}/events", gateway.url);
    let mut response = gateway.client.get(url).send().await.unwrap();
    let first = response
        .chunk()
        .await
        .unwrap()
        .expect("what happened so far");
    assert!(first.starts_with(b"id: "), "{first:?}");
    gateway.tasks.stop();
    assert!(response.chunk().await.unwrap().is_none());
}

#[tokio::test]
async fn a_caller_has_so_many_streams_and_leaves_the_others_to_others() {
    let (files, key) = (KeyFiles::new(), Signer::secret());
    let auth = files.config(&[&Signer::ed25519("one")]);
    let gateway = Running::guarded(FakeBus::without_workers(), auth).await;
    let begun = command();
    gateway.bus.record([&begun]);
    gateway.projected(0).await;
    let path = format!("/sagas/{}/events", begun.saga_id);
    let [own, operator] =
        [("7", ""), ("9", "operator")].map(|(subject, scope)| key.token(&claims(subject, scope)));
    let watch = |token| gateway.send(token, ("GET", &path, ""));
    let mut streams = Vec::new();
    for _ in 0..32 {
        streams.push(watch(&own).await);
    }
    assert!(
        streams
            .iter()
            .all(|stream| stream.status() == StatusCode::OK)
    );
    let one_more = watch(&own).await;
    assert_eq!(one_more.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(one_more.headers()["retry-after"], "1");
    let body: Value = one_more.json().await.unwrap();
    assert_eq!(body["type"], json!("/problems/too-many-requests"));
    assert_eq!(body["sagaId"], json!(begun.saga_id));
    assert_eq!(watch(&operator).await.status(), StatusCode::OK);
    streams.pop();
    while watch(&own).await.status() != StatusCode::OK {
        tokio::task::yield_now().await;
    }
}
