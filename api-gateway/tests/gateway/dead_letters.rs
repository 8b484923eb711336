//! What operators do with dead letters over HTTP, on the file of an embedded bus.

use events::Event;
use reqwest::{Response, StatusCode};
use saga::bus::Settlement;
use serde_json::{Value, json};

use crate::fake_bus::FakeBus;
use crate::running::{Running, Sent};
use crate::shelf::{Shelf, park, step};
use crate::tokens::{KeyFiles, Signer, claims};

/// One cause, and another one.
const FAILURES: [&str; 4] = [
    "seat plan 1 is locked",
    "seat plan 2 is locked",
    "seat plan 3 is locked",
    "no such ticket",
];

async fn data(answer: Response) -> Value {
    let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap());
    assert!(status.is_success(), "{status} {body}");
    body["data"].clone()
}

async fn get(gateway: &Running, path: &str) -> Value {
    data(gateway.get(path).await).await
}

async fn post(gateway: &Running, path: &str, body: Value) -> Value {
    data(gateway.send("", ("POST", path, &body.to_string())).await).await
}

async fn count(gateway: &Running) -> Value {
    get(gateway, "/dead-letters/messages").await["total"].clone()
}

#[tokio::test]
async fn what_is_parked_is_shown_by_cause_one_by_one_and_with_its_envelope() {
    let shelf = Shelf::with(&FAILURES).await;
    let gateway = Running::with(shelf.shown()).await;
    let groups = get(&gateway, "/dead-letters").await;
    assert_eq!(groups["total"], 2);
    let group = &groups["list"][0];
    assert_eq!(group["count"], 3, "{group}");
    assert_eq!(group["failure"], "seat plan <n> is locked");
    assert_eq!(group["queue"], step().queue());
    let cause = group["cause"].as_str().unwrap();
    let second = get(&gateway, "/dead-letters?pageSize=1&pageNum=2").await;
    assert_eq!(second["list"], json!([groups["list"][1]]));

    let page = format!("/dead-letters/messages?cause={cause}&pageSize=2&pageNum=2");
    let page = get(&gateway, &page).await;
    assert_eq!(
        (&page["total"], page["list"].as_array().unwrap().len()),
        (&json!(3), 1)
    );
    let saga = shelf.parked[3].saga_id;
    let of_saga = get(&gateway, &format!("/dead-letters/messages?sagaId={saga}")).await;
    assert_eq!(of_saga["list"][0]["failure"], FAILURES[3]);

    let one = format!(
        "/dead-letters/messages/{}?queue={}",
        shelf.id(0),
        step().queue()
    );
    let one = get(&gateway, &one).await;
    assert_eq!(one["history"], json!([]));
    let one = &one["parked"][0];
    assert_eq!(one["failure"], FAILURES[0]);
    assert_eq!(one["envelope"]["id"], shelf.id(0));
    assert_eq!(one["unreadable"], Value::Null);
    let body = Event::from_json(one["body"].as_str().unwrap().as_bytes());
    assert_eq!(body.unwrap(), shelf.parked[0]);

    for path in ["/dead-letters", "/dead-letters/messages"] {
        let unknown = gateway.get(&format!("{path}?queue=no.Such")).await;
        assert_eq!(unknown.status(), StatusCode::BAD_REQUEST, "{path}");
        let unknown: Value = unknown.json().await.unwrap();
        assert_eq!(unknown["errors"][0]["field"], "queue", "{unknown}");
    }
    let none = gateway.get("/dead-letters/messages/unheard-of").await;
    assert_eq!(none.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_requeue_puts_back_step_by_step_what_is_handled() {
    let shelf = Shelf::with(&FAILURES).await;
    shelf.settling(Settlement::Done).await;
    let gateway = Running::with(shelf.shown()).await;
    let one = json!({"ids": [shelf.id(3), "unheard-of"], "watchSeconds": 5});
    let run = post(&gateway, "/dead-letters/requeue", one).await;
    assert_eq!((&run["status"], &run["count"]), (&json!("done"), &json!(1)));
    assert_eq!(run["detail"], "1 of the 2 that were named are parked");

    let rest = json!({"queue": step().queue(), "ramp": [1, 5], "reason": "it is free"});
    let run = post(&gateway, "/dead-letters/requeue", rest).await;
    assert_eq!(
        (&run["status"], &run["count"]),
        (&json!("done"), &json!(3)),
        "{run}"
    );
    assert_eq!(count(&gateway).await, 0);
    let log = get(&gateway, "/dead-letters/log?pageSize=1").await;
    assert_eq!(log["total"], 4);
    let newest = &log["list"][0];
    assert_eq!(
        (&newest["run"], &newest["reason"]),
        (&run["run"], &json!("it is free"))
    );
    assert_eq!(newest["by"], "anybody (callers are not told apart)");
    let path = format!("/dead-letters/runs/{}", run["run"].as_str().unwrap());
    assert_eq!(get(&gateway, &path).await, run);
}

#[tokio::test]
async fn what_fails_again_stops_a_requeue_and_leaves_the_rest() {
    let shelf = Shelf::with(&FAILURES).await;
    let gateway = Running::with(shelf.shown()).await;
    let all = json!({"all": true, "watchSeconds": 1});
    let run = post(&gateway, "/dead-letters/requeue", all.clone()).await;
    assert_eq!(
        (&run["status"], &run["unfinished"], &run["count"]),
        (&json!("notHandled"), &json!(1), &json!(1)),
        "nobody consumes: {run}"
    );
    shelf.settling(park("still locked")).await;
    let run = post(&gateway, "/dead-letters/requeue", all).await;
    assert_eq!(
        (&run["status"], &run["count"]),
        (&json!("cameBack"), &json!(1))
    );
    assert_eq!(run["cameBack"][0]["failure"], "still locked");
    assert_eq!(run["cameBack"][0]["requeued"], 1);
    let id = run["cameBack"][0]["id"].as_str().unwrap();
    let story = get(&gateway, &format!("/dead-letters/messages/{id}")).await;
    assert_eq!(story["history"][0]["run"], run["run"]);
}

#[tokio::test]
async fn a_requeue_goes_on_without_its_caller_and_can_be_stopped() {
    let shelf = Shelf::with(&FAILURES).await;
    let (gateway, other) = (
        Running::with(shelf.shown()).await,
        Running::with(shelf.shown()).await,
    );
    let url = format!("{}/dead-letters/requeue", gateway.url);
    let body = json!({"all": true, "ramp": [1], "watchSeconds": 600}).to_string();
    let begun = async {
        loop {
            let log = get(&gateway, "/dead-letters/log").await;
            if log["total"] == 1 {
                return log;
            }
        }
    };
    let begun = tokio::select! {
        answer = gateway.client.post(&url).body(body).send() => panic!("{answer:?}"),
        begun = begun => begun,
    };
    let id = begun["list"][0]["run"].as_str().unwrap();
    let path = format!("/dead-letters/runs/{id}");
    // The record is written before the deed, and counted after it.
    while get(&gateway, &path).await["count"] != 1 {}
    assert_eq!(get(&gateway, &path).await["status"], "running");

    // Another gateway has it from the record, but cannot stop it.
    let elsewhere = get(&other, &path).await;
    assert_eq!(
        (&elsewhere["status"], &elsewhere["count"]),
        (&json!("elsewhere"), &json!(1))
    );
    let stop = format!("{path}/stop");
    let refused = other.send("", ("POST", &stop, "")).await;
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);

    let stopped = data(gateway.send("", ("POST", &stop, "")).await).await;
    assert_eq!(
        (&stopped["status"], &stopped["count"]),
        (&json!("stopped"), &json!(1))
    );
    assert_ne!(stopped["endedAt"], Value::Null);
    assert_eq!(count(&gateway).await, 3, "the rest is parked");
}

#[tokio::test]
async fn a_requeue_that_is_sent_again_with_its_key_is_the_same_run() {
    let shelf = Shelf::with(&FAILURES).await;
    let gateway = Running::with(shelf.shown()).await;
    let url = |gateway: &Running| format!("{}/dead-letters/requeue", gateway.url);
    let send = async |gateway: &Running, body: &Value| {
        let post = gateway.client.post(url(gateway)).body(body.to_string());
        post.header("idempotency-key", "k-1").send().await.unwrap()
    };
    let one = json!({"ids": [shelf.id(0)], "atOnce": true, "reason": "a test"});
    let first = data(send(&gateway, &one).await).await;
    assert_eq!(
        (&first["status"], &first["count"]),
        (&json!("done"), &json!(1))
    );
    assert_eq!(data(send(&gateway, &one).await).await, first);
    let runs = get(&gateway, "/dead-letters/runs").await;
    assert_eq!(runs, json!({"total": 1, "list": [first]}));

    let another = json!({"ids": [shelf.id(1)], "atOnce": true, "reason": "a test"});
    let refused = send(&gateway, &another).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(count(&gateway).await, 3, "nothing else was put back");

    // After a restart the record knows it.
    let restarted = Running::with(shelf.shown()).await;
    let told = data(send(&restarted, &one).await).await;
    assert_eq!(
        (&told["run"], &told["status"], &told["count"]),
        (&first["run"], &json!("elsewhere"), &json!(1))
    );
    let no_run = json!({"total": 0, "list": []});
    assert_eq!(get(&restarted, "/dead-letters/runs").await, no_run);
    assert_eq!(count(&restarted).await, 3);
}

#[tokio::test]
async fn who_does_not_wait_has_the_address_of_the_run_and_a_stop_leaves_the_rest_parked() {
    let shelf = Shelf::with(&FAILURES).await;
    let (gateway, other) = (
        Running::with(shelf.shown()).await,
        Running::with(shelf.shown()).await,
    );
    let url = format!("{}/dead-letters/requeue", gateway.url);
    let body = json!({"all": true, "ramp": [1], "watchSeconds": 600}).to_string();
    let not_waiting = gateway.client.post(&url).header("prefer", "respond-async");
    let begun = not_waiting.body(body).send().await.unwrap();
    assert_eq!(begun.status(), StatusCode::ACCEPTED);
    let location = begun.headers()["location"].to_str().unwrap().to_owned();
    let begun: Value = begun.json().await.unwrap();
    assert_eq!(
        location,
        format!(
            "/dead-letters/runs/{}",
            begun["data"]["run"].as_str().unwrap()
        )
    );
    while get(&gateway, &location).await["count"] != 1 {}
    gateway.tasks.stop();
    gateway.tasks.join(saga::SHUTDOWN_LIMIT).await.unwrap();
    assert_eq!(count(&other).await, 3);
}

#[tokio::test]
async fn a_drop_says_why_and_the_record_keeps_who_and_the_message() {
    let shelf = Shelf::with(&FAILURES).await;
    let office = Office::open(&shelf).await;
    let gateway = &office.gateway;
    for (body, field) in [
        (json!({"ids": [shelf.id(0)]}), "reason"),
        (json!({"ids": [shelf.id(0)], "reason": " "}), "reason"),
        (json!({"reason": "a test"}), "(body)"),
        (json!({"all": false, "reason": "a test"}), "(body)"),
        (json!({"ids": [], "reason": "a test"}), "ids"),
        (
            json!({"all": true, "sagaId": "x", "reason": "a test"}),
            "sagaId",
        ),
    ] {
        let body = body.to_string();
        let sent = ("POST", "/dead-letters/drop", &*body);
        let refused = gateway.send(&office.operator, sent).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{body}");
        let refused: Value = refused.json().await.unwrap();
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }
    let body = json!({"ids": [shelf.id(0)], "reason": "bought elsewhere"}).to_string();
    let sent = ("POST", "/dead-letters/drop", &*body);
    let run = data(gateway.send(&office.operator, sent).await).await;
    assert_eq!((&run["status"], &run["count"]), (&json!("done"), &json!(1)));
    let path = format!("/dead-letters/messages/{}", shelf.id(0));
    let story = data(gateway.send(&office.operator, ("GET", &path, "")).await).await;
    assert_eq!(story["parked"], json!([]));
    let deed = &story["history"][0];
    assert_eq!(
        (&deed["by"], &deed["action"]),
        (&json!("back-office"), &json!("drop"))
    );
    assert_eq!(deed["reason"], "bought elsewhere");
    let body = deed["message"]["body"].as_str().unwrap();
    assert_eq!(Event::from_json(body.as_bytes()).unwrap(), shelf.parked[0]);
}

#[tokio::test]
async fn a_ramp_that_means_nothing_is_refused_by_its_field() {
    let shelf = Shelf::with(&FAILURES[..1]).await;
    let gateway = Running::with(shelf.shown()).await;
    for (body, field) in [
        (json!({"all": true, "ramp": []}), "ramp"),
        (json!({"all": true, "ramp": [1, 0]}), "ramp"),
        (json!({"all": true, "ramp": [1, 1_001]}), "ramp"),
        (json!({"all": true, "watchSeconds": 86_401}), "watchSeconds"),
        (json!({"all": true, "atOnce": true, "ramp": [1]}), "atOnce"),
        (json!({"all": true, "queue": "no.Such"}), "queue"),
        (json!({"atOnce": true}), "(body)"),
    ] {
        let body = body.to_string();
        let refused = gateway
            .send("", ("POST", "/dead-letters/requeue", &body))
            .await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{body}");
        let refused: Value = refused.json().await.unwrap();
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }
    assert_eq!(count(&gateway).await, 1, "nothing was put back");
}

/// A gateway that tells its callers apart.
struct Office {
    gateway: Running,
    operator: String,
    user: String,
}

impl Office {
    async fn open(shelf: &Shelf) -> Self {
        let (files, key) = (KeyFiles::new(), Signer::secret());
        let auth = files.config(&[&Signer::ed25519("one")]);
        Self {
            gateway: Running::guarded(shelf.shown(), auth).await,
            operator: key.token(&claims("back-office", "operator")),
            user: key.token(&claims("7", "tickets")),
        }
    }
}

#[tokio::test]
async fn only_operators_see_and_touch_dead_letters() {
    let shelf = Shelf::with(&FAILURES).await;
    let office = Office::open(&shelf).await;
    let [one, run] = ["messages", "runs"].map(|of| format!("/dead-letters/{of}/{}", shelf.id(0)));
    let stop = format!("{run}/stop");
    let all: [Sent<'_>; 9] = [
        ("GET", "/dead-letters", ""),
        ("GET", "/dead-letters/messages", ""),
        ("GET", &one, ""),
        ("GET", &run, ""),
        ("POST", &stop, ""),
        ("GET", "/dead-letters/log", ""),
        ("GET", "/dead-letters/runs", ""),
        ("POST", "/dead-letters/requeue", r#"{"all":true}"#),
        ("POST", "/dead-letters/drop", r#"{"all":true,"reason":"x"}"#),
    ];
    for sent in all {
        let refused = office.gateway.send(&office.user, sent).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{sent:?}");
    }
    let seen = office.gateway.send(&office.operator, all[1]).await;
    assert_eq!(data(seen).await["total"], 4, "nothing was done");
}

#[tokio::test]
async fn dead_letters_that_cannot_be_reached_are_told_of_and_looked_at_when_they_can() {
    let gateway = Running::with(FakeBus::without_workers()).await;
    for sent in [
        ("GET", "/dead-letters", ""),
        ("GET", "/dead-letters/log", ""),
        ("POST", "/dead-letters/requeue", r#"{"all":true}"#),
    ] {
        let away = gateway.send("", sent).await;
        assert_eq!(away.status(), StatusCode::SERVICE_UNAVAILABLE, "{sent:?}");
        assert_eq!(away.headers()["retry-after"], "1");
        let away: Value = away.json().await.unwrap();
        let detail = away["detail"].as_str().unwrap();
        assert!(detail.contains("cannot be reached"), "{detail}");
    }
    let shelf = Shelf::with(&FAILURES[..1]).await;
    let path = shelf.folder.path().join("bus.db");
    *gateway.bus.parked_in.lock().unwrap() = Some(path);
    assert_eq!(count(&gateway).await, 1);
}

/// A form or a script of any page that is open in a browser may send a POST to this machine.
#[tokio::test]
async fn a_foreign_page_changes_nothing_where_nobody_shows_who_they_are() {
    let shelf = Shelf::with(&FAILURES[..1]).await;
    let gateway = Running::with(shelf.shown()).await;
    let url = format!("{}/dead-letters/drop", gateway.url);
    let drop = |origin: &str| {
        let request = gateway.client.post(&url).header("origin", origin);
        let body = json!({"all": true, "reason": "a test"}).to_string();
        request.body(body).send()
    };
    for foreign in ["https://example.com", "null", "http://127.0.0.1:1"] {
        let refused = drop(foreign).await.unwrap();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{foreign}");
        let refused: Value = refused.json().await.unwrap();
        assert_eq!(refused["errors"][0]["field"], "Origin", "{refused}");
    }
    assert_eq!(count(&gateway).await, 1);
    // The gateway's own page of routes.
    let own = drop(&gateway.url).await.unwrap();
    assert_eq!(data(own).await["count"], 1);
}
