//! `docs/http.md`: every route with a real request and the answer that this test gets to it, on both
//! systems the same. `BLESS=1 cargo test -p system-tests --test routes document` writes it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use system_tests::http::Connection;

use crate::{on_embedded, on_servers};

/// A request, what it is for, and what later requests call an id of its answer.
struct Line {
    about: &'static str,
    request: (&'static str, &'static str, &'static str),
    learns: &'static [(&'static str, &'static str)],
}

const fn line(
    about: &'static str,
    request: (&'static str, &'static str, &'static str),
    learns: &'static [(&'static str, &'static str)],
) -> Line {
    Line {
        about,
        request,
        learns,
    }
}

const ROUTES: &[Line] = &[
    line(
        "buy a ticket and register with it, both or neither",
        ("POST", "/regist/trans", r#"{"userId":7,"ticketId":42}"#),
        &[("bought", "userTicketId"), ("first", "registId")],
    ),
    line(
        "the same again is refused, and its ticket is taken back",
        ("POST", "/regist/trans", r#"{"userId":7,"ticketId":42}"#),
        &[],
    ),
    line(
        "create a ticket",
        ("POST", "/userTicket", r#"{"userId":7,"ticketId":43}"#),
        &[("ticket", "id")],
    ),
    line(
        "change the fields that are sent",
        ("PUT", "/userTicket", r#"{"id":"{ticket}","ticketId":44}"#),
        &[],
    ),
    line("one ticket", ("GET", "/userTicket?id={ticket}", ""), &[]),
    line(
        "tickets by their fields or by `keyword` (any id of theirs), newest first",
        (
            "GET",
            "/userTicket/list?userId=7&ticketId=42&pageNum=1&pageSize=10",
            "",
        ),
        &[],
    ),
    line(
        "register with a ticket of the user",
        (
            "POST",
            "/regist",
            r#"{"userId":7,"userTicketId":"{ticket}"}"#,
        ),
        &[("regist", "id")],
    ),
    line(
        "a ticket that a registration has stays as it is",
        ("PUT", "/userTicket", r#"{"id":"{ticket}","ticketId":45}"#),
        &[],
    ),
    line("one registration", ("GET", "/regist?id={regist}", ""), &[]),
    line(
        "registrations by their fields or by `keyword`, newest first",
        ("GET", "/regist/list?userTicketId={ticket}", ""),
        &[],
    ),
    line(
        "delete a registration; its ticket stays",
        ("DELETE", "/regist", r#"{"id":"{first}"}"#),
        &[],
    ),
    line(
        "give a registration another ticket",
        (
            "PUT",
            "/regist",
            r#"{"id":"{regist}","userTicketId":"{bought}"}"#,
        ),
        &[],
    ),
    line(
        "undo a registration; none there is a success",
        (
            "POST",
            "/regist/regist-rollback",
            r#"{"userId":7,"userTicketId":"{bought}"}"#,
        ),
        &[],
    ),
    line(
        "delete registrations, 100 at most",
        ("DELETE", "/regist/delete-batch", r#"{"ids":["{regist}"]}"#),
        &[],
    ),
    line(
        "delete a ticket, and the registration made with it; none there is a success",
        ("DELETE", "/userTicket", r#"{"id":"{ticket}"}"#),
        &[],
    ),
    line(
        "undo a purchase: the same",
        ("POST", "/userTicket/add-rollback", r#"{"id":"{ticket}"}"#),
        &[],
    ),
    line(
        "delete tickets, 100 at most",
        (
            "DELETE",
            "/userTicket/delete-batch",
            r#"{"ids":["{bought}"]}"#,
        ),
        &[],
    ),
    line(
        "what is deleted is gone",
        ("GET", "/regist?id={regist}", ""),
        &[],
    ),
    line(
        "what is wrong is told by field",
        ("POST", "/regist", r#"{"userId":-1}"#),
        &[],
    ),
];

const HEAD: &str = "# Every route

Written by a test from what the running system answers; ids and times are made alike. Bodies are \
JSON, whatever the content type says. A change answers when its saga has ended, or after \
`--wait-limit` with `202`, `Location: /sagas/{id}` and `Retry-After`. A problem \
(`application/problem+json`) has a true HTTP status, the original's `code` and `message`, and \
`errors` by field. `503` and `504` come with nothing done or a saga to ask for; `GET /sagas/{id}` \
tells.

`pageNum` below 1 is 1; `pageSize` below 1 or above 100 is 10.

| | request | answer |
|---|---|---|
";

const TAIL: &str = "
## Who may do what

Without `--jwt-keys` and `--jwt-secret-file` everybody may do everything. With one of them every \
route but `/livez` and `/readyz` needs `Authorization: Bearer <JWT>`, signed with RS256, EdDSA or \
HS256, with `exp` and `sub`, of `--jwt-issuer` and for `--jwt-audience` if these are set. A token \
whose `scope` holds the word `operator` is an operator's, who may do everything. Any other acts for \
the user whose `userId` its `sub` is:

| | the user itself | another one |
|---|---|---|
| `POST` with a `userId`: `/regist/trans`, `/userTicket`, `/regist`, `/regist/regist-rollback` | may | 403 |
| `PUT`, `DELETE`, `delete-batch`, `/userTicket/add-rollback`: whose it is is asked of its owner; a batch with one of another user deletes nothing | may; what is not there is nobody's | 403 |
| `PUT` with another `userId`: giving it away | 403 | 403 |
| `GET` by `id`, `/sagas/{id}`, `/sagas/{id}/events` | may | 404, as if it were not there: an id that comes from an `Idempotency-Key` can be guessed |
| `GET` of a list, of `/sagas` too | sees its own | 403 if `userId` asks for it |
| `/metrics`, which tells how much is sold | 403 | 403 |

A request without a token is 401 with `WWW-Authenticate: Bearer`, one with a bad token 401 with \
`error=\"invalid_token\"` and the reason, and 403 comes with `error=\"insufficient_scope\"`. An \
`Idempotency-Key` is its caller's own: another `sub` may use the same. Between the question whose a \
ticket is and its change an operator may give it to another user; the change is then still done. A \
registration's change is refused then, and its deletion does nothing.
";

fn document(address: SocketAddr) -> String {
    let (mut connection, mut ids) = (Connection::open(address).unwrap(), HashMap::new());
    let mut text = HEAD.to_owned();
    for Line {
        about,
        request: (method, path, body),
        learns,
    } in ROUTES
    {
        let (path, body) = (filled_in(path, &ids), filled_in(body, &ids));
        let answer = connection.request(method, &path, &body).unwrap();
        let data = &answer.json()["data"];
        for (name, field) in *learns {
            ids.insert(*name, data[*field].as_str().unwrap().to_owned());
        }
        let sent = match body.as_str() {
            "" => String::new(),
            body => format!("<br>`{body}`"),
        };
        text += &format!(
            "| {about} | `{method} {path}`{sent} | {}<br>`{}` |\n",
            answer.status, answer.body
        );
    }
    alike(&text) + TAIL
}

fn filled_in(template: &str, ids: &HashMap<&str, String>) -> String {
    let fill_in =
        |text: String, (name, id): (&&str, &String)| text.replace(&format!("{{{name}}}"), id);
    ids.iter().fold(template.to_owned(), fill_in)
}

/// Each id as the number of its first appearance, and all times as one.
fn alike(text: &str) -> String {
    let mut known: Vec<&str> = Vec::new();
    let (mut alike, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let word = rest
            .get(..36)
            .filter(|word| uuid::Uuid::parse_str(word).is_ok());
        let time = rest
            .find('Z')
            .and_then(|end| rest.get(..=end))
            .filter(|t| is_time(t));
        if let Some(id) = word {
            let place = known.iter().position(|seen| *seen == id);
            let place = place.unwrap_or_else(|| {
                known.push(id);
                known.len() - 1
            });
            alike += &format!("0193a4f0-6c1b-7d3e-9f00-{:012}", place + 1);
            rest = &rest[36..];
        } else if let Some(time) = time {
            alike += "2026-11-25T12:00:00.123456Z";
            rest = &rest[time.len()..];
        } else {
            alike.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    alike
}

fn is_time(text: &str) -> bool {
    text.len() <= 27 && text.parse::<events::Timestamp>().is_ok()
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/http.md")
}

#[test]
fn the_document_says_what_the_embedded_system_answers() {
    on_embedded(|address| {
        let answered = document(address);
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path(), &answered).unwrap();
        }
        let written = std::fs::read_to_string(path()).unwrap_or_default();
        assert_eq!(answered, written, "BLESS=1 writes it");
    });
}

#[test]
fn the_document_says_what_rabbitmq_and_postgresql_answer() {
    on_servers(|address| {
        let written = std::fs::read_to_string(path()).unwrap_or_default();
        assert_eq!(document(address), written);
    });
}
