//! The document put together: each route's operation, then the schemas and problems they refer to.

use serde_json::{Map, Value, json};

use super::examples::{self, Example, shown};
use super::failures::{self, EVERYWHERE, HEADERS, Header, OF_A_PROBLEM, OF_A_RATE};
use super::schemas::{self, object, refer};
use super::{Field, Operation, Success};
use crate::http::auth::is_open;
use crate::http::routes::Described;
use crate::http::texts::kinds::{ProblemKind, REFUSED};

/// Only where authentication is set up.
const TOKEN: &str = "Needed where the gateway has keys (`--jwt-keys`, `--jwt-secret-file`): `sub` is \
    the caller's `userId`, and a `scope` with the word `operator` lets it act for everybody.";
const PROBLEM: &str = "application/problem+json";
const JSON: &str = "application/json";

const STREAM: &str = "\
Each message of the saga as an event with its id and type, `data` as in the saga's timeline; last an \
event `end` with the saga itself. A comment comes every 15 s while nothing happens.";

const ABOUT: &str = "\
Buy a ticket and register for its event: both happen or neither does.

**Success** is `{\"code\":200,\"message\":\"success\",\"data\":…}`. **An error** is a problem document \
(RFC 9457, `application/problem+json`) with a true status; programs look at its `type` and, of a \
refusal (409), at its `reason`. People open the `type`, which is the address of a page, and read the \
texts in Chinese, or in English if `Accept-Language` prefers it. What is answered where no operation \
is: 404 `route-not-found`, 405 `method-not-allowed` with `Allow`. `HEAD` is answered wherever `GET` is.

**A change is a saga**: the answer comes when it has ended, or as 202 with `Location` after as long \
as the caller waits (`Prefer`). `GET /sagas/{id}` tells what becomes of it, and \
`GET /sagas/{id}/events` tells it as it happens. `POST` with an `Idempotency-Key` may be sent again.

**Bodies** are JSON objects of at most 16384 bytes, whatever their content type says. Unknown fields \
and parameters are passed over; one given twice is refused, and an empty parameter of a query is as \
good as none. `userId` and `ticketId` are the caller's own numbers, any from 0 to 2^64-1, as a number or a \
string; all other ids are UUIDs.";

/// OpenAPI 3.1, of these routes.
pub(in crate::http) fn document(routes: &[Described]) -> Value {
    let examples = examples::all();
    let mut paths = Map::new();
    for route in routes {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_lowercase()] = Of {
            route,
            examples: &examples,
        }
        .operation();
    }
    let response = |kind: &ProblemKind| {
        let of_kind = examples
            .iter()
            .filter(|example| example.is_problem(kind.name));
        let answers = shown(of_kind, |example| Some(&example.answer.body));
        let (name, about) = (failures::name(kind), failures::about(kind));
        (name, problem(kind, &about, &refer("Problem"), &answers))
    };
    let responses: Map<String, Value> = failures::all().map(response).collect();
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "ticket-saga",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "security": [{}, {"token": []}],
        "components": {
            "schemas": schemas::all(),
            "responses": responses,
            "headers": all_headers(),
            "securitySchemes": {"token": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": TOKEN,
            }},
        },
    })
}

/// One route with the examples there are.
struct Of<'a> {
    route: &'a Described,
    examples: &'a [Example],
}

impl Of<'_> {
    fn operation(&self) -> Value {
        let Operation {
            id,
            summary,
            about,
            body,
            ..
        } = self.route.operation;
        let mut operation = json!({
            "operationId": id,
            "summary": summary,
            "tags": [self.tag()],
            "responses": self.responses(),
        });
        if is_open(self.route.path) {
            operation["security"] = json!([]);
        }
        if !about.is_empty() {
            operation["description"] = json!(about);
        }
        let parameters = self.parameters();
        if !parameters.is_empty() {
            operation["parameters"] = json!(parameters);
        }
        if !body.is_empty() {
            operation["requestBody"] = self.request_body();
        }
        operation
    }

    /// The first part of the path.
    fn tag(&self) -> &str {
        let first = self.route.path.split('/').nth(1);
        match first.unwrap_or_default() {
            kind @ ("userTicket" | "regist" | "sagas" | "dead-letters" | "problems") => kind,
            _ => "machines",
        }
    }

    fn parameters(&self) -> Vec<Value> {
        let Operation {
            path,
            query,
            headers,
            ..
        } = self.route.operation;
        let in_path = path.iter().map(|field| {
            let route = self.route.path;
            let mut found = self.own().filter(|example| example.answer.status == 200);
            let sent = found.find_map(|example| example.in_path(route, field.name));
            parameter("path", field, sent)
        });
        let in_query = query.iter().map(|field| {
            let sent = self.own().find_map(|example| example.query(field.name));
            parameter("query", field, sent)
        });
        let in_headers = headers.iter().map(|field| {
            let sent = self.own().find_map(|example| example.header(field.name));
            parameter("header", field, sent)
        });
        in_path.chain(in_query).chain(in_headers).collect()
    }

    fn request_body(&self) -> Value {
        let schema = object("", self.route.operation.body);
        // What is refused shows among the problems.
        let good = self.own().filter(|example| example.answer.status == 200);
        let examples = shown(good, |example| example.body.as_ref());
        json!({"required": true, "content": {JSON: {"schema": schema, "examples": examples}}})
    }

    fn responses(&self) -> Map<String, Value> {
        let operation = &self.route.operation;
        let mut responses: Map<String, Value> = self.successes().into_iter().collect();
        let of_callers: &[&ProblemKind] = match is_open(self.route.path) {
            true => &[],
            false => EVERYWHERE,
        };
        for kind in operation.failures.iter().chain(of_callers) {
            let reference = format!("#/components/responses/{}", failures::name(kind));
            responses.insert(kind.status.to_string(), json!({"$ref": reference}));
        }
        if !operation.refusals.is_empty() {
            responses.insert(REFUSED.status.to_string(), self.refused());
        }
        responses
    }

    /// Each operation has its own reasons.
    fn refused(&self) -> Value {
        let reasons: Vec<&str> = self
            .route
            .operation
            .refusals
            .iter()
            .map(|reason| reason.as_str())
            .collect();
        let schema = json!({
            "allOf": [refer("Problem")],
            "required": ["sagaId", "reason"],
            "properties": {"reason": {"enum": reasons}},
        });
        let told = |example: &&Example| {
            example
                .reason()
                .is_some_and(|reason| reasons.contains(&reason))
        };
        let of_kind = self
            .examples
            .iter()
            .filter(|example| example.is_problem(REFUSED.name))
            .filter(told);
        let examples = shown(of_kind, |example| Some(&example.answer.body));
        let about = failures::about(&REFUSED);
        let about = format!("{about} Reasons: `{}`.", reasons.join("`, `"));
        problem(&REFUSED, &about, &schema, &examples)
    }

    fn successes(&self) -> Vec<(String, Value)> {
        let asked = "What was asked for.";
        match self.route.operation.success {
            Success::Ended(data) => self.now_or_later("It is done.", data, "Running"),
            Success::Run => {
                let over = "It is over; `status` says how it ended.";
                self.now_or_later(over, "DeadLetterRun", "DeadLetterRunning")
            }
            Success::Read(data) => {
                let read = (JSON, envelope(200, "success", data));
                vec![self.success(200, asked, read, &[])]
            }
            Success::Plain(kind, schema) => {
                vec![self.success(200, asked, (kind, refer(schema)), &[])]
            }
            Success::Ready(schema) => vec![
                self.success(200, "Callers can be served.", (JSON, refer(schema)), &[]),
                self.success(
                    503,
                    "They cannot be served yet.",
                    (JSON, refer(schema)),
                    &[],
                ),
            ],
            Success::Stream => {
                let over = "After `Last-Event-ID: end`: there is nothing more to come.";
                let stream = ("text/event-stream", refer("Stream"));
                vec![
                    self.success(200, STREAM, stream, &[]),
                    (
                        "204".to_owned(),
                        json!({"description": over, "headers": self.headers(&[])}),
                    ),
                ]
            }
        }
    }

    fn now_or_later(&self, now: &str, ended: &str, running: &str) -> Vec<(String, Value)> {
        let later = "It is not done yet; `Location` says where to ask.";
        let later_headers = &["Location", "Preference-Applied", "Retry-After"];
        let ended = (JSON, envelope(200, "success", ended));
        let running = (JSON, envelope(202, "accepted", running));
        vec![
            self.success(200, now, ended, &["Preference-Applied"]),
            self.success(202, later, running, later_headers),
        ]
    }

    fn success(
        &self,
        status: u16,
        about: &str,
        (content_type, schema): (&str, Value),
        headers: &[&str],
    ) -> (String, Value) {
        let examples = self.answers(status);
        let content = json!({content_type: {"schema": schema, "examples": examples}});
        let headers = self.headers(headers);
        let response = json!({"description": about, "headers": headers, "content": content});
        (status.to_string(), response)
    }

    /// These, and those that every caller of the operation gets.
    fn headers(&self, names: &[&str]) -> Value {
        let of_callers = if is_open(self.route.path) {
            &[]
        } else {
            OF_A_RATE
        };
        headers(&[names, of_callers].concat())
    }

    fn own(&self) -> impl Iterator<Item = &Example> {
        let Described { method, path, .. } = self.route;
        self.examples
            .iter()
            .filter(|example| example.is_of(method, path))
    }

    /// What it was answered with this status, or what others were.
    fn answers(&self, status: u16) -> Map<String, Value> {
        let answers = |examples: &mut dyn Iterator<Item = &Example>| {
            let with_status = examples.filter(|example| example.answer.status == status);
            shown(with_status, |example| Some(&example.answer.body))
        };
        match (answers(&mut self.own()), status) {
            (none, 202) if none.is_empty() => {
                let is_run = matches!(self.route.operation.success, Success::Run);
                let alike = |example: &&Example| example.is_of_a_run() == is_run;
                answers(&mut self.examples.iter().filter(alike))
            }
            (own, _) => own,
        }
    }
}

fn envelope(code: u16, message: &str, data: &str) -> Value {
    json!({
        "type": "object",
        "required": ["code", "message", "data"],
        "properties": {
            "code": {"const": code},
            "message": {"const": message},
            "data": refer(data),
        },
    })
}

fn problem(
    kind: &ProblemKind,
    about: &str,
    schema: &Value,
    examples: &Map<String, Value>,
) -> Value {
    json!({
        "description": about,
        "headers": headers(&[kind.headers, OF_A_PROBLEM, OF_A_RATE].concat()),
        "content": {PROBLEM: {"schema": schema, "examples": examples}},
    })
}

/// Told of once, and referred to.
fn all_headers() -> Value {
    let described = HEADERS.iter().map(|header| {
        let Header {
            schema,
            about,
            is_always_there,
            ..
        } = header;
        let told = json!({
            "description": about, "required": is_always_there, "schema": refer(schema),
        });
        (header.name.to_owned(), told)
    });
    Value::Object(described.collect())
}

fn headers(names: &[&str]) -> Value {
    let known = HEADERS.iter().map(|header| header.name);
    let refer = |name: &str| {
        let reference = format!("#/components/headers/{name}");
        (name.to_owned(), json!({"$ref": reference}))
    };
    let told = known.filter(|name| names.contains(name)).map(refer);
    Value::Object(told.collect())
}

fn parameter(place: &str, field: &Field, sent: Option<&str>) -> Value {
    let super::Kind::One(schema) = field.kind else {
        unreachable!("parameters are scalars")
    };
    let mut parameter = json!({
        "name": field.name,
        "in": place,
        "required": field.is_required,
        "schema": refer(schema),
    });
    if !field.about.is_empty() {
        parameter["description"] = json!(field.about);
    }
    if place == "query" && !field.is_required {
        parameter["allowEmptyValue"] = json!(true);
    }
    if let Some(sent) = sent {
        parameter["example"] = serde_json::from_str(sent).unwrap_or_else(|_| json!(sent));
    }
    parameter
}
