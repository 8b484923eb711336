//! A caller acts for itself, an operator for everybody: on every route, by user and by id.

use events::{RegistId, SagaId, UserTicketId};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::fake_bus::FakeBus;
use crate::running::{GOOD, Running, Sent};
use crate::stories::completed;
use crate::tokens::{KeyFiles, Signer, claims};

/// A gateway, and the tokens of user 7, of user 8, of an operator, and of somebody who is no user.
struct Office {
    gateway: Running,
    own: String,
    other: String,
    operator: String,
    stranger: String,
}

impl Office {
    async fn open() -> Self {
        let (files, key) = (KeyFiles::new(), Signer::secret());
        let auth = files.config(&[&Signer::ed25519("one")]);
        let token = |subject, scope| key.token(&claims(subject, scope));
        Self {
            gateway: Running::guarded(FakeBus::without_workers(), auth).await,
            own: token("7", "openid tickets"),
            other: token("8", "operators not-operator"),
            operator: token("back-office", "openid operator"),
            stranger: token("somebody", ""),
        }
    }

    /// Every object is user 7's, except the one with this id, which is not there.
    fn objects_but(&self, absent: &str) {
        let absent = absent.to_owned();
        let id = UserTicketId::mint();
        let found = json!({"found": {
            "id": id, "createdAt": "2026-11-25T12:00:00Z", "updatedAt": "2026-11-25T12:00:00Z",
            "userId": 7, "ticketId": 42, "userTicketId": id,
        }});
        let owner = move |question: &str| match question.contains(&absent) {
            true => json!("notFound").to_string(),
            false if question.contains("ownerOf") => json!({"ownedBy": 7}).to_string(),
            false => found.to_string(),
        };
        *self.gateway.bus.owner.lock().unwrap() = Some(Box::new(owner));
    }

    /// As the bearer of this token, without waiting for the end of a saga.
    async fn send(&self, token: &str, (method, path, body): Sent<'_>) -> Response {
        let url = format!("{}{path}", self.gateway.url);
        let request = self.gateway.client.request(method.parse().unwrap(), url);
        let request = request.bearer_auth(token).header("prefer", "respond-async");
        request.body(body.to_owned()).send().await.unwrap()
    }

    fn published(&self) -> usize {
        self.gateway.bus.published.lock().unwrap().len()
    }

    async fn allows(&self, token: &str, sent: Sent<'_>) {
        let before = self.published();
        let response = self.send(token, sent).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED, "{sent:?}");
        assert!(self.published() > before, "{sent:?}");
    }

    /// There is no such object for this caller.
    async fn knows_nothing_of(&self, token: &str, sent: Sent<'_>) {
        let before = self.published();
        let response = self.send(token, sent).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{sent:?}");
        assert_eq!(self.published(), before, "nothing was started: {sent:?}");
    }

    async fn forbids(&self, token: &str, sent: Sent<'_>) {
        let before = self.published();
        let response = self.send(token, sent).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{sent:?}");
        let challenge = "Bearer error=\"insufficient_scope\", scope=\"operator\"";
        assert_eq!(response.headers()["www-authenticate"], challenge);
        let body: Value = response.json().await.unwrap();
        assert_eq!(
            (&body["code"], &body["message"], &body["type"]),
            (
                &json!(403),
                &json!("您没有访问权限！"),
                &json!("/problems/forbidden")
            ),
            "{body}"
        );
        assert_eq!(self.published(), before, "nothing was started: {sent:?}");
    }
}

#[tokio::test]
async fn a_foreign_user_id_is_403_but_for_an_operator() {
    let office = Office::open().await;
    let pair = r#"{"userId":7,"userTicketId":"0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f"}"#;
    for sent in [
        ("POST", "/regist/trans", GOOD),
        ("POST", "/userTicket", GOOD),
        ("POST", "/regist", pair),
        ("POST", "/regist/regist-rollback", pair),
    ] {
        office.allows(&office.own, sent).await;
        office.allows(&office.operator, sent).await;
        office.forbids(&office.other, sent).await;
        office.forbids(&office.stranger, sent).await;
    }
}

#[tokio::test]
async fn what_is_named_by_its_id_is_changed_and_deleted_by_its_owner_and_operators() {
    let office = Office::open().await;
    office.objects_but("nothing");
    let [one, many] = [
        r#"{"id":"0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f"}"#,
        r#"{"ids":["0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f","0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e10"]}"#,
    ];
    let ticket = r#"{"id":"0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f","ticketId":43}"#;
    for sent in [
        ("DELETE", "/userTicket", one),
        ("POST", "/userTicket/add-rollback", one),
        ("DELETE", "/userTicket/delete-batch", many),
        ("PUT", "/userTicket", ticket),
        ("DELETE", "/regist", one),
        ("DELETE", "/regist/delete-batch", many),
        ("PUT", "/regist", one),
    ] {
        office.allows(&office.own, sent).await;
        // The saga is found among those of the user.
        let command = office.gateway.bus.last_published();
        let user = command.message.particulars().user_id;
        assert_eq!(user.map(|id| id.0), Some(7), "{sent:?}");
        office.allows(&office.operator, sent).await;
        office.forbids(&office.other, sent).await;
        office.forbids(&office.stranger, sent).await;
    }
}

#[tokio::test]
async fn nothing_is_given_to_another_user_but_by_an_operator() {
    let office = Office::open().await;
    office.objects_but("nothing");
    let gift = r#"{"id":"0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f","userId":8}"#;
    for path in ["/userTicket", "/regist"] {
        office.forbids(&office.own, ("PUT", path, gift)).await;
        office.forbids(&office.other, ("PUT", path, gift)).await;
        office.allows(&office.operator, ("PUT", path, gift)).await;
    }
}

#[tokio::test]
async fn a_batch_with_one_of_another_user_deletes_nothing() {
    let office = Office::open().await;
    office.objects_but("nothing");
    let own = r#"{"ids":["0193a4f0-6c1b-7d3e-9f00-000000000001",
        "0193a4f0-6c1b-7d3e-9f00-000000000002"]}"#;
    for path in ["/userTicket/delete-batch", "/regist/delete-batch"] {
        office.forbids(&office.other, ("DELETE", path, own)).await;
        office.allows(&office.own, ("DELETE", path, own)).await;
    }
}

#[tokio::test]
async fn a_ticket_that_never_was_there_is_deleted_by_operators_only() {
    let office = Office::open().await;
    office.objects_but("0193a4f0-6c1b-7d3e-9f00-000000000001");
    let one = r#"{"id":"0193a4f0-6c1b-7d3e-9f00-000000000001"}"#;
    let many = r#"{"ids":["0193a4f0-6c1b-7d3e-9f00-000000000001",
        "0193a4f0-6c1b-7d3e-9f00-000000000002"]}"#;
    for sent in [
        ("DELETE", "/userTicket", one),
        ("POST", "/userTicket/add-rollback", one),
        ("DELETE", "/userTicket/delete-batch", many),
    ] {
        // The deletion would close the id, and whose it will be nobody knows yet.
        office.knows_nothing_of(&office.own, sent).await;
        office.knows_nothing_of(&office.other, sent).await;
        office.forbids(&office.stranger, sent).await;
        office.allows(&office.operator, sent).await;
    }
}

#[tokio::test]
async fn a_registration_that_never_was_there_is_as_good_as_deleted() {
    let office = Office::open().await;
    office.objects_but("0193a4f0-6c1b-7d3e-9f00-000000000001");
    let one = r#"{"id":"0193a4f0-6c1b-7d3e-9f00-000000000001"}"#;
    let many = r#"{"ids":["0193a4f0-6c1b-7d3e-9f00-000000000001"]}"#;
    for sent in [
        ("DELETE", "/regist", one),
        ("DELETE", "/regist/delete-batch", many),
    ] {
        office.allows(&office.own, sent).await;
        office.allows(&office.operator, sent).await;
        office.forbids(&office.stranger, sent).await;
    }
}

#[tokio::test]
async fn an_owner_that_does_not_answer_lets_nobody_change_by_id() {
    let office = Office::open().await;
    let one = r#"{"id":"0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f"}"#;
    let response = office.send(&office.own, ("DELETE", "/userTicket", one));
    assert_eq!(response.await.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(office.published(), 0);
    office
        .allows(&office.operator, ("DELETE", "/userTicket", one))
        .await;
}

#[tokio::test]
async fn another_users_object_reads_like_none() {
    let office = Office::open().await;
    let absent = RegistId::mint().to_string();
    office.objects_but(&absent);
    for path in ["/userTicket", "/regist"] {
        let here = format!("{path}?id={}", UserTicketId::mint());
        let get = |token| office.send(token, ("GET", &here, ""));
        assert_eq!(get(&office.own).await.status(), StatusCode::OK);
        assert_eq!(get(&office.operator).await.status(), StatusCode::OK);
        let gone = format!("{path}?id={absent}");
        let gone = office.send(&office.other, ("GET", &gone, "")).await;
        let gone = gone.text().await.unwrap();
        for nobody in [&office.other, &office.stranger] {
            let hidden = get(nobody).await;
            assert_eq!(hidden.status(), StatusCode::NOT_FOUND);
            let hidden = hidden.text().await.unwrap();
            let id = here.rsplit_once('=').unwrap().1;
            assert_eq!(hidden.replace(id, &absent), gone);
        }
    }
}

#[tokio::test]
async fn a_list_shows_a_caller_its_own_and_an_operator_everybodys() {
    let office = Office::open().await;
    // The owner answers with the question.
    let echo = |question: &str| {
        let total = if question.contains(r#""userId":7"#) {
            7
        } else {
            99
        };
        json!({"listed": {"total": total, "list": []}}).to_string()
    };
    *office.gateway.bus.owner.lock().unwrap() = Some(Box::new(echo));
    for path in ["/userTicket/list", "/regist/list"] {
        let own = format!("{path}?userId=7");
        for (token, path, total) in [
            (&office.own, path, 7),
            (&office.own, &own, 7),
            (&office.operator, path, 99),
            (&office.operator, &own, 7),
        ] {
            let body: Value = office
                .send(token, ("GET", path, ""))
                .await
                .json()
                .await
                .unwrap();
            assert_eq!(body["data"]["total"], json!(total), "{path}");
        }
        office.forbids(&office.other, ("GET", &own, "")).await;
        office.forbids(&office.stranger, ("GET", path, "")).await;
    }
}

#[tokio::test]
async fn another_users_saga_is_as_good_as_none() {
    let office = Office::open().await;
    let bus = &office.gateway.bus;
    office
        .send(&office.own, ("POST", "/regist/trans", GOOD))
        .await;
    let command = bus.last_published();
    let find = format!("/sagas/{}", command.saga_id);
    let watch = format!("{find}/events");
    let unknown = SagaId::mint();
    // First as this gateway remembers it, then as the ledger has it.
    for _ in 0..2 {
        for (token, there) in [
            (&office.own, true),
            (&office.operator, true),
            (&office.other, false),
            (&office.stranger, false),
        ] {
            let status = match there {
                true => StatusCode::OK,
                false => StatusCode::NOT_FOUND,
            };
            for path in [&find, &watch] {
                let response = office.send(token, ("GET", path, "")).await;
                assert_eq!(response.status(), status, "{path}");
            }
        }
        let hidden = office.send(&office.other, ("GET", &find, "")).await;
        let none = format!("/sagas/{unknown}");
        let none = office.send(&office.other, ("GET", &none, "")).await;
        let hidden = hidden.text().await.unwrap();
        let hidden = hidden.replace(&command.saga_id.to_string(), &unknown.to_string());
        assert_eq!(hidden, none.text().await.unwrap());
        bus.record([&command]);
        bus.record(&completed(&command));
        office.gateway.projected(2).await;
    }
}

#[tokio::test]
async fn the_list_of_sagas_shows_a_caller_its_own() {
    let office = Office::open().await;
    let bus = &office.gateway.bus;
    for (token, sent) in [
        (&office.own, GOOD),
        (&office.other, r#"{"userId":8,"ticketId":42}"#),
    ] {
        office.send(token, ("POST", "/regist/trans", sent)).await;
        bus.record([&bus.last_published()]);
    }
    office.gateway.projected(1).await;
    for (token, path, users) in [
        (&office.own, "/sagas", json!([7])),
        (&office.own, "/sagas?userId=7&status=running", json!([7])),
        (&office.other, "/sagas", json!([8])),
        (&office.operator, "/sagas", json!([8, 7])),
        (&office.operator, "/sagas?userId=7", json!([7])),
    ] {
        let response = office.send(token, ("GET", path, "")).await;
        let body: Value = response.json().await.unwrap();
        let list = body["data"]["list"].as_array().unwrap();
        let shown: Value = list.iter().map(|saga| saga["userId"].clone()).collect();
        assert_eq!(shown, users, "{path}");
    }
    office
        .forbids(&office.own, ("GET", "/sagas?userId=8", ""))
        .await;
    office
        .forbids(&office.stranger, ("GET", "/sagas", ""))
        .await;
}

#[tokio::test]
async fn an_idempotency_key_is_its_callers_own() {
    let office = Office::open().await;
    let mut sagas = Vec::new();
    for token in [&office.own, &office.own, &office.operator] {
        let headers = [
            ("authorization", &*format!("Bearer {token}")),
            ("idempotency-key", "k-1"),
            ("prefer", "respond-async"),
        ];
        office.gateway.post_with(GOOD, &headers).await;
        sagas.push(office.gateway.bus.last_published().saga_id);
    }
    assert_eq!(sagas[0], sagas[1]);
    assert_ne!(sagas[0], sagas[2]);
}

#[tokio::test]
async fn only_operators_read_the_metrics() {
    let office = Office::open().await;
    office.forbids(&office.own, ("GET", "/metrics", "")).await;
    let response = office.send(&office.operator, ("GET", "/metrics", "")).await;
    assert_eq!(response.status(), StatusCode::OK);
}
