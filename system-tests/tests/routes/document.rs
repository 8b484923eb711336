//! `docs/http.md`, and the examples of the OpenAPI document: every route with a real request and the
//! answer that this test gets to it, on both systems the same.
//! `BLESS=1 cargo test -p system-tests --test routes document` writes them.

use std::collections::{BTreeMap, HashMap};
use std::iter;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};
use system_tests::http::{Connection, Response};

use crate::lines::{LINES, Line};
use crate::{on_embedded_after, on_servers_after, parked};

const HEAD: &str = "# Every route

Written by a test from what the running system answers; ids and times are made alike. The same, with \
every parameter, header and problem, is the OpenAPI document [openapi.json](openapi.json): a running \
gateway serves it at `/openapi.json`, and a page to read it at `/docs`.

Bodies are JSON, whatever the content type says. A change answers when its saga has ended, or after \
`--wait-limit` with `202`, `Location: /sagas/{id}` and `Retry-After`. A problem \
(`application/problem+json`) has a true HTTP status, the original's `code` and `message`, and \
`errors` by field; its texts are in Chinese, or in English if `Accept-Language` prefers it, and its \
`type` is the address of a page about it. `503` and `504` come with nothing done or a saga to ask for; \
`GET /sagas/{id}` tells.

Dead letters are for operators ([what to do with them](operations.md#dead-letters)). A requeue or a \
drop goes on without its caller: it answers when it is over, or after `--wait-limit` with `202` and \
`Location: /dead-letters/runs/{id}`, and how it ended is its `status`. `Prefer` shortens the wait as it \
does that for a saga, and with an `Idempotency-Key` it may be sent again: it is the same run.

`pageNum` below 1 is 1; `pageSize` below 1 or above 100 is 10.

| | request | answer |
|---|---|---|
";
/// Headers of answers that callers act on.
const TOLD: [&str; 4] = [
    "allow",
    "content-language",
    "location",
    "preference-applied",
];

const TAIL: &str = "
## Who may do what

Without `--jwt-keys` and `--jwt-secret-file` everybody may do everything. With one of them every \
route but `/livez`, `/readyz`, `/docs`, `/openapi.json` and `/problems` needs `Authorization: Bearer <JWT>`, signed with RS256, EdDSA or \
HS256, with `exp` and `sub`, of `--jwt-issuer` and for `--jwt-audience` if these are set. A token \
whose `scope` holds the word `operator` is an operator's, who may do everything. Any other acts for \
the user whose `userId` its `sub` is:

| | the user itself | another one |
|---|---|---|
| `POST` with a `userId`: `/regist/trans`, `/userTicket`, `/regist`, `/regist/regist-rollback` | may | 403 |
| `PUT`, `DELETE`, `delete-batch`, `/userTicket/add-rollback`: whose it is is asked of its owner; a batch with one of another user deletes nothing | may | 403 |
| the same of a ticket that is not there, or not any more | 404: its deletion would close the id, and it may be another user's one day | 404 |
| the same of a registration that is not there: its deletion does nothing | may | may |
| `PUT` with another `userId`: giving it away | 403 | 403 |
| `GET` by `id`, `/sagas/{id}`, `/sagas/{id}/events` | may | 404, as if it were not there: an id that comes from an `Idempotency-Key` can be guessed |
| `GET` of a list, of `/sagas` too | sees its own | 403 if `userId` asks for it |
| `/metrics`, which tells how much is sold, and everything below `/dead-letters` | 403 | 403 |

A request without a token is 401 with `WWW-Authenticate: Bearer`, one with a bad token 401 with \
`error=\"invalid_token\"` and the reason, and 403 comes with `error=\"insufficient_scope\"`. An \
`Idempotency-Key` is its caller's own: another `sub` may use the same. Between the question whose a \
ticket is and its change an operator may give it to another user; the change is then still done. A \
registration's change is refused then, and its deletion does nothing.

## Limits

| what | how much | beyond it |
|---|---|---|
| the head of a request | 32 KiB, within 20 s | 431, or the connection ends |
| a body | 16 KiB, within 10 s | 413, 408 |
| an answer of which the caller takes nothing | 20 s | the connection ends |
| connections | `--max-connections` | they wait to be accepted |
| who waits for a saga | `--max-sagas`, of one `sub` `--max-sagas-per-caller`; a batch counts each of its ids | 503, 429 |
| streams of events | 512, of one `sub` 32 | 503, 429 |
| requests in a while | `--rate-limit`, of a `sub` or else of an address | 429 |

`429` and `503` come with `Retry-After`, and with a rate limit every answer with `RateLimit` and \
`RateLimit-Policy`.
";

/// A line as it was sent, and what came back.
struct Exchange {
    line: &'static Line,
    path: String,
    body: String,
    answer: Response,
}

/// RabbitMQ alone knows where a message was published to, and the documents are the same for both.
const PUBLISHED_TO: (&str, &str) = (
    r#""exchange":"saga.commands","routingKey":"PurchaseAndRegister""#,
    r#""exchange":null,"routingKey":null"#,
);

fn exchanges(address: SocketAddr) -> Vec<Exchange> {
    let (mut connection, mut ids) = (Connection::open(address).unwrap(), HashMap::new());
    let mut exchange = |line: &'static Line| {
        let (path, body) = (filled_in(line.path, &ids), filled_in(line.body, &ids));
        let answer = connection.request_with(line.method, &path, line.headers, &body);
        let mut answer = answer.unwrap();
        answer.body = answer.body.replace(PUBLISHED_TO.0, PUBLISHED_TO.1);
        for (name, field) in line.learns {
            let answer = answer.json();
            let id = match field.strip_prefix('/') {
                Some(_) => answer.pointer(field).and_then(Value::as_str),
                None => answer["data"][field].as_str().or(answer[field].as_str()),
            };
            ids.insert(*name, id.unwrap().to_owned());
        }
        Exchange {
            line,
            path,
            body,
            answer,
        }
    };
    LINES.iter().map(&mut exchange).collect()
}

/// As a table for people.
fn table(exchanges: &[Exchange]) -> String {
    let mut text = HEAD.to_owned();
    for exchange in exchanges {
        let Exchange { line, answer, .. } = exchange;
        let headers = line.headers.iter();
        let headers = headers.map(|(name, value)| format!("{name}: {value}"));
        let first = format!("{} {}", line.method, exchange.path);
        let request = iter::once(first)
            .chain(headers)
            .chain([exchange.body.clone()]);
        let told = TOLD.map(|name| header_line(answer, name));
        let answered = told
            .into_iter()
            .chain(answer.body.lines().map(str::to_owned));
        let (request, answered) = (cell(request), cell(answered));
        let (about, status) = (line.about, answer.status);
        text += &format!("| {about} | {request} | {status}<br>{answered} |\n");
    }
    alike(&text) + TAIL
}

fn header_line(answer: &Response, name: &str) -> String {
    let header = answer.header(name);
    header.map_or_else(String::new, |value| format!("{name}: {value}"))
}

/// Lines in one cell of the table, as they were on the wire.
fn cell(lines: impl IntoIterator<Item = String>) -> String {
    let quoted = |line: String| format!("`{line}`");
    let lines: Vec<String> = (lines.into_iter())
        .filter(|line| !line.is_empty())
        .map(quoted)
        .collect();
    lines.join("<br>")
}

/// As the gateway's document wants them.
fn examples(exchanges: &[Exchange]) -> String {
    let example = |exchange: &Exchange| {
        let Exchange {
            line,
            path,
            body,
            answer,
        } = exchange;
        let headers: BTreeMap<_, _> = line.headers.iter().copied().collect();
        json!({
            "about": line.about,
            "method": line.method,
            "path": path,
            "headers": headers,
            "body": value(body),
            "answer": {"status": answer.status, "body": value(&answer.body)},
        })
    };
    let examples: Vec<Value> = exchanges.iter().map(example).collect();
    alike(&(serde_json::to_string_pretty(&examples).unwrap() + "\n"))
}

/// JSON, or the text that is none.
fn value(text: &str) -> Value {
    match text {
        "" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
    }
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
        } else if rest.get(..CURSOR.len()).is_some_and(is_cursor) {
            alike += CURSOR;
            rest = &rest[CURSOR.len()..];
        } else {
            alike.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    alike
}

/// Where a list goes on: a time in microseconds, and a saga.
const CURSOR: &str = "1795703451174873_01a218442e267098a87195069db71017";

fn is_cursor(text: &str) -> bool {
    let parts = text.split_once('_');
    parts.is_some_and(|(time, saga)| {
        time.len() == 16 && time.parse::<u64>().is_ok() && uuid::Uuid::parse_str(saga).is_ok()
    })
}

fn is_time(text: &str) -> bool {
    text.len() <= 27 && text.parse::<events::Timestamp>().is_ok()
}

/// What is written, and where.
fn documents(address: SocketAddr) -> [(&'static str, String); 2] {
    let exchanges = exchanges(address);
    [
        ("docs/http.md", table(&exchanges)),
        (
            "api-gateway/src/http/openapi/examples/system.json",
            examples(&exchanges),
        ),
    ]
}

fn place(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path)
}

#[test]
fn the_documents_say_what_the_embedded_system_answers() {
    on_embedded_after(parked::on_embedded, |address| {
        for (path, answered) in documents(address) {
            if std::env::var_os("BLESS").is_some() {
                std::fs::write(place(path), &answered).unwrap();
            }
            let written = std::fs::read_to_string(place(path)).unwrap_or_default();
            assert_eq!(answered, written, "{path}: BLESS=1 writes it");
        }
    });
}

#[test]
fn the_documents_say_what_rabbitmq_and_postgresql_answer() {
    on_servers_after(parked::on_servers, |address| {
        for (path, answered) in documents(address) {
            let written = std::fs::read_to_string(place(path)).unwrap_or_default();
            assert_eq!(answered, written, "{path}");
        }
    });
}
