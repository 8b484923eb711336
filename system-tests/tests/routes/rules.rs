//! What each route does, one call after the other.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::caller::Caller;
use crate::{on_embedded, on_servers};

const NOBODYS: &str = "0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f";

/// Users of their own for each rule, because all of them play on one system.
fn every_rule_of_the_routes(address: SocketAddr) {
    let mut caller = Caller::new(address);
    a_created_ticket_is_found_listed_changed_and_deleted(&mut caller);
    a_registration_needs_a_live_free_ticket_of_its_user(&mut caller);
    deleting_a_ticket_cancels_its_registration_and_not_the_other_way_round(&mut caller);
    a_rollback_done_twice_is_a_success(&mut caller);
    a_registration_can_be_given_another_ticket(&mut caller);
    a_batch_deletes_all_and_an_unknown_id_is_a_success(&mut caller);
    lists_are_filtered_paged_and_newest_first(&mut caller);
    what_is_wrong_with_a_request_is_told_by_field(&mut caller);
}

fn exists(caller: &mut Caller, kind: &str, id: &str) -> bool {
    let found = caller.get(&format!("/{kind}?id={id}"));
    if found.status == 404 {
        assert_eq!(found.body["code"], 1007, "{found:?}");
    }
    found.status == 200
}

fn a_created_ticket_is_found_listed_changed_and_deleted(caller: &mut Caller) {
    let created = caller.add_ticket(100, 1);
    let id = created.id();
    let found = caller.get(&format!("/userTicket?id={id}"));
    for field in [
        "id",
        "createdAt",
        "updatedAt",
        "deletedAt",
        "userId",
        "ticketId",
    ] {
        assert_eq!(found.data()[field], created.data()[field], "{field}");
    }
    let changed = caller.call("PUT", "/userTicket", &json!({"id": id, "ticketId": 2}));
    let data = changed.data();
    assert_eq!(
        (&data["userId"], &data["ticketId"]),
        (&json!(100), &json!(2))
    );
    let found = caller.get(&format!("/userTicket?id={id}"));
    assert_eq!(found.data()["ticketId"], 2);
    assert_eq!(found.data()["createdAt"], created.data()["createdAt"]);
    assert_eq!(found.data()["updatedAt"], data["updatedAt"]);
    assert_eq!(caller.delete_ticket(&id).status, 200);
    assert!(!exists(caller, "userTicket", &id));
    let too_late = caller.call("PUT", "/userTicket", &json!({"id": id, "ticketId": 3}));
    assert_eq!(
        (too_late.status, &too_late.body["code"]),
        (404, &json!(1007))
    );
}

fn a_registration_needs_a_live_free_ticket_of_its_user(caller: &mut Caller) {
    let ticket = caller.add_ticket(200, 1).id();
    for (user, ticket, reason) in [
        (200, NOBODYS, "ticket_not_found"),
        (201, &ticket, "not_the_users_ticket"),
    ] {
        let refused = caller.register(user, ticket);
        assert_eq!((refused.status, refused.reason()), (409, reason));
    }
    let regist = caller.register(200, &ticket);
    assert_eq!(regist.status, 200, "{regist:?}");
    let again = caller.register(200, &ticket);
    assert_eq!(again.reason(), "already_registered");
    assert_eq!(again.body["message"], "用户已报名，请勿重复报名！");
    // A second ticket for the same, and its refusal deletes nothing.
    let second = caller.add_ticket(200, 1).id();
    assert_eq!(caller.register(200, &second).reason(), "already_registered");
    assert!(exists(caller, "userTicket", &second));
    assert_eq!(caller.trans(200, 1).reason(), "already_registered");
    // While it is registered it stays as it is; afterwards it is free.
    let change = json!({"id": ticket, "userId": 201});
    assert_eq!(
        caller.call("PUT", "/userTicket", &change).reason(),
        "ticket_in_use"
    );
    assert_eq!(caller.delete_regist(&regist.id()).status, 200);
    assert_eq!(caller.call("PUT", "/userTicket", &change).status, 200);
    assert_eq!(caller.register(201, &ticket).status, 200);
    caller.delete_ticket(&second);
    assert_eq!(caller.register(200, &second).reason(), "ticket_deleted");
}

fn deleting_a_ticket_cancels_its_registration_and_not_the_other_way_round(caller: &mut Caller) {
    for buy in [Caller::trans, bought_and_registered] {
        let bought = buy(caller, 300, 1);
        let (ticket, regist) = (bought.text("userTicketId"), bought.text("registId"));
        assert!(exists(caller, "regist", &regist));
        assert_eq!(caller.delete_regist(&regist).status, 200);
        assert!(exists(caller, "userTicket", &ticket) && !exists(caller, "regist", &regist));
        let regist = caller.register(300, &ticket).id();
        assert_eq!(caller.delete_ticket(&ticket).status, 200);
        assert!(!exists(caller, "userTicket", &ticket) && !exists(caller, "regist", &regist));
    }
}

/// The same as `trans` in two calls.
fn bought_and_registered(caller: &mut Caller, user: u64, ticket: u64) -> crate::caller::Answer {
    let user_ticket = caller.add_ticket(user, ticket).id();
    let mut registered = caller.register(user, &user_ticket);
    registered.body["data"]["registId"] = json!(registered.id());
    registered
}

fn a_rollback_done_twice_is_a_success(caller: &mut Caller) {
    let bought = caller.trans(400, 1);
    let (ticket, regist) = (bought.text("userTicketId"), bought.text("registId"));
    let pair = json!({"userId": 400, "userTicketId": ticket});
    let others = json!({"userId": 401, "userTicketId": ticket});
    assert_eq!(
        caller
            .call("POST", "/regist/regist-rollback", &others)
            .status,
        200
    );
    assert!(exists(caller, "regist", &regist), "it is another user's");
    for _ in 0..2 {
        assert_eq!(
            caller.call("POST", "/regist/regist-rollback", &pair).status,
            200
        );
        assert!(!exists(caller, "regist", &regist) && exists(caller, "userTicket", &ticket));
    }
    let undone = json!({"id": ticket});
    for _ in 0..2 {
        assert_eq!(
            caller
                .call("POST", "/userTicket/add-rollback", &undone)
                .status,
            200
        );
        assert!(!exists(caller, "userTicket", &ticket));
    }
}

fn a_registration_can_be_given_another_ticket(caller: &mut Caller) {
    let bought = caller.trans(500, 1);
    let (old, regist) = (bought.text("userTicketId"), bought.text("registId"));
    let new = caller.add_ticket(500, 2).id();
    let change = json!({"id": regist, "userTicketId": new});
    let changed = caller.call("PUT", "/regist", &change);
    assert_eq!(changed.status, 200, "{changed:?}");
    let found = caller.get(&format!("/regist?id={regist}"));
    assert_eq!(found.data()["userTicketId"], json!(new));
    assert_eq!(found.data()["updatedAt"], changed.data()["updatedAt"]);
    // The same again changes nothing; the old ticket is free; the new one is not.
    assert_eq!(caller.call("PUT", "/regist", &change).status, 200);
    let foreign = json!({"id": regist, "userId": 501});
    assert_eq!(
        caller.call("PUT", "/regist", &foreign).reason(),
        "not_the_users_ticket"
    );
    assert_eq!(caller.register(500, &old).status, 200);
    let taken = json!({"id": regist, "userTicketId": old});
    assert_eq!(
        caller.call("PUT", "/regist", &taken).reason(),
        "already_registered"
    );
    caller.delete_ticket(&new);
    assert!(!exists(caller, "regist", &regist));
    assert_eq!(caller.call("PUT", "/regist", &change).status, 404);
}

fn a_batch_deletes_all_and_an_unknown_id_is_a_success(caller: &mut Caller) {
    let bought: Vec<_> = (1..4).map(|ticket| caller.trans(600, ticket)).collect();
    let regists: Vec<_> = bought.iter().map(|one| one.text("registId")).collect();
    let tickets: Vec<_> = bought.iter().map(|one| one.text("userTicketId")).collect();
    let some = json!({"ids": [regists[0], regists[1], NOBODYS, regists[0]]});
    assert_eq!(
        caller.call("DELETE", "/regist/delete-batch", &some).status,
        200
    );
    let left: Vec<bool> = regists
        .iter()
        .map(|id| exists(caller, "regist", id))
        .collect();
    assert_eq!(left, [false, false, true]);
    let all = json!({"ids": tickets});
    assert_eq!(
        caller
            .call("DELETE", "/userTicket/delete-batch", &all)
            .status,
        200
    );
    assert!(!tickets.iter().any(|id| exists(caller, "userTicket", id)));
    assert!(!exists(caller, "regist", &regists[2]));
    for path in ["/userTicket", "/regist"] {
        assert_eq!(
            caller.call("DELETE", path, &json!({"id": NOBODYS})).status,
            200
        );
    }
}

fn lists_are_filtered_paged_and_newest_first(caller: &mut Caller) {
    let ids: Vec<_> = (0..12)
        .map(|ticket| caller.add_ticket(700, ticket).id())
        .collect();
    let newest_first: Vec<_> = ids.iter().rev().cloned().collect();
    let page = |caller: &mut Caller, query: &str| -> (Value, Vec<String>) {
        let answer = caller.get(&format!("/userTicket/list?{query}"));
        let rows = answer.data()["list"].as_array().unwrap().clone();
        let ids = rows
            .iter()
            .map(|row| row["id"].as_str().unwrap().to_owned());
        (answer.data()["total"].clone(), ids.collect())
    };
    let first = page(caller, "userId=700");
    assert_eq!(first, (json!(12), newest_first[..10].to_vec()));
    assert_eq!(page(caller, "userId=700&pageNum=-1&pageSize=101"), first);
    let far = "9".repeat(50);
    let outside = format!("userId=700&pageNum=-{far}&pageSize={far}");
    assert_eq!(page(caller, &outside), first);
    let beyond = format!("userId=700&pageNum={far}");
    assert_eq!(page(caller, &beyond), (json!(12), Vec::new()));
    let second = page(caller, "userId=700&pageNum=2&pageSize=5");
    assert_eq!(second, (json!(12), newest_first[5..10].to_vec()));
    assert_eq!(page(caller, "userId=700&pageNum=9").1.len(), 0);
    assert_eq!(
        page(caller, "userId=700&ticketId=3"),
        (json!(1), vec![ids[3].clone()])
    );
    assert_eq!(
        page(caller, &format!("keyword={}", ids[4])).1,
        [ids[4].clone()]
    );
    assert_eq!(page(caller, "keyword=700").0, json!(12));
    assert_eq!(page(caller, "keyword=nothing").0, json!(0));
    let regist = caller.register(700, &ids[0]).id();
    for query in [
        "userId=700",
        &format!("userTicketId={}", ids[0]),
        &format!("id={regist}"),
    ] {
        let listed = caller.get(&format!("/regist/list?{query}"));
        assert_eq!(listed.data()["total"], 1, "{query}");
        assert_eq!(listed.data()["list"][0]["id"], json!(regist));
    }
}

/// A method, a path, a body, and the fields that are wrong.
type Wrong = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
);

#[rustfmt::skip]
const WRONG: &[Wrong] = &[
    ("GET", "/userTicket", "null", &["id"]),
    ("GET", "/regist?id=7", "null", &["id"]),
    ("GET", "/userTicket/list?userId=x&pageNum=y", "null", &["pageNum", "userId"]),
    ("GET", "/regist/list?userId=1&userId=2", "null", &["userId"]),
    ("POST", "/userTicket", r#"{"userId":-1}"#, &["userId", "ticketId"]),
    ("POST", "/regist", r#"{"userTicketId":7}"#, &["userId", "userTicketId"]),
    ("PUT", "/userTicket", r#"{"userId":"x"}"#, &["id", "userId"]),
    ("PUT", "/regist", r#"{"id":1}"#, &["id"]),
    ("DELETE", "/userTicket", "{}", &["id"]),
    ("DELETE", "/userTicket/delete-batch", r#"{"ids":[]}"#, &["ids"]),
    ("DELETE", "/regist/delete-batch", r#"{"ids":"all"}"#, &["ids"]),
    ("POST", "/userTicket/add-rollback", "[]", &["(body)"]),
    ("POST", "/regist/regist-rollback", "{}", &["userId", "userTicketId"]),
];

fn what_is_wrong_with_a_request_is_told_by_field(caller: &mut Caller) {
    for (method, path, body, fields) in WRONG {
        let body = serde_json::from_str(body).unwrap();
        let answer = caller.call(method, path, &body);
        let errors = answer.body["errors"].as_array().unwrap();
        let told: Vec<_> = errors
            .iter()
            .map(|e| e["field"].as_str().unwrap())
            .collect();
        let (code, status) = (&answer.body["code"], answer.status);
        assert_eq!(
            (status, code, &told[..]),
            (400, &json!(1003), *fields),
            "{method} {path}"
        );
    }
}

#[test]
fn every_rule_of_the_routes_holds_on_the_embedded_system() {
    on_embedded(every_rule_of_the_routes);
}

#[test]
fn every_rule_of_the_routes_holds_on_rabbitmq_and_postgresql() {
    on_servers(every_rule_of_the_routes);
}
