//! The shapes of what is sent and answered, by name. Objects are lists of fields; a test of the whole
//! system holds every answer against them, with no field more and none less.

use events::progress::Status;
use serde_json::{Map, Value, json};

mod dead_letters;

use super::{Field, Kind, failures, field};
use crate::http::language::Language;
use crate::http::texts::details::{UUID, WHOLE_NUMBER};

/// Digits of a whole number up to 2^64-1, leading zeros included.
const UP_TO_2_64: &str = "^0*(?:[0-9]{1,19}|1[0-7][0-9]{18}|18[0-3][0-9]{17}|184[0-3][0-9]{16}|\
    1844[0-5][0-9]{15}|18446[0-6][0-9]{14}|184467[0-3][0-9]{13}|1844674[0-3][0-9]{12}|\
    184467440[0-6][0-9]{10}|1844674407[0-2][0-9]{9}|18446744073[0-6][0-9]{8}|\
    1844674407370[0-8][0-9]{6}|18446744073709[0-4][0-9]{5}|184467440737095[0-4][0-9]{4}|\
    18446744073709550[0-9]{3}|18446744073709551[0-5][0-9]{2}|1844674407370955160[0-9]|\
    1844674407370955161[0-5])$";

const fn has(name: &'static str, schema: &'static str) -> Field {
    field(name, Kind::One(schema), true)
}

const fn or_null(name: &'static str, schema: &'static str) -> Field {
    field(name, Kind::OrNull(schema), true)
}

const fn many(name: &'static str, schema: &'static str) -> Field {
    field(name, Kind::Many(schema), true)
}

const fn perhaps(name: &'static str, schema: &'static str) -> Field {
    field(name, Kind::One(schema), false)
}

const SAGA_ID: Field = has("sagaId", "Uuid").about("The saga that did it: GET /sagas/{id}");
const DELETED_AT: Field =
    or_null("deletedAt", "Timestamp").about("Always null: what is deleted is not shown");

const USER_TICKET: [Field; 6] = [
    has("id", "Uuid"),
    or_null("createdAt", "Timestamp").about("Null if it cannot be told any more"),
    has("updatedAt", "Timestamp"),
    DELETED_AT,
    or_null("userId", "Number"),
    or_null("ticketId", "Number").about("What is on sale, as the caller numbers it"),
];

const REGIST: [Field; 6] = [
    or_null("id", "Uuid"),
    or_null("createdAt", "Timestamp").about("Null if it cannot be told any more"),
    has("updatedAt", "Timestamp"),
    DELETED_AT,
    or_null("userId", "Number"),
    or_null("userTicketId", "Uuid"),
];

const SAGA: [Field; 11] = [
    has("sagaId", "Uuid"),
    has("saga", "Text").about("Its kind, by the command that starts it"),
    has("status", "SagaStatus"),
    or_null("reason", "Text").about("Why it was refused: one of those at `/problems/refused`, or `not_found`, which was answered as 404"),
    or_null("waitingFor", "WaitingFor").about("The step that has to come, while it runs"),
    or_null("startedAt", "Timestamp"),
    or_null("endedAt", "Timestamp"),
    or_null("userId", "Number"),
    or_null("ticketId", "Number"),
    or_null("userTicketId", "Uuid"),
    or_null("registId", "Uuid"),
];

const PROBLEM: [Field; 10] = [
    has("type", "ProblemType"),
    has("title", "Text").about("The same for all problems of a type, in one language"),
    has("status", "HttpStatus"),
    has("detail", "Text").about("What is wrong this time, and what to do"),
    perhaps("instance", "SagaPath"),
    has("code", "Code"),
    has("message", "Text").about("The original's message"),
    perhaps("sagaId", "Uuid"),
    perhaps("reason", "Text").about("Why a saga was refused"),
    many("errors", "FieldError").about("Empty unless fields of the request are wrong"),
];

const FIELD_ERROR: [Field; 2] = [
    has("field", "Text").about("Of the body, the query, the path or the headers"),
    has("detail", "Text"),
];

const OBJECTS: &[(&str, &str, &[Field])] = &[
    ("UserTicket", "A ticket that a user has", &USER_TICKET),
    ("Regist", "A registration of a user with a ticket", &REGIST),
    (
        "Registered",
        "A ticket bought and a registration made with it",
        &[
            SAGA_ID,
            has("userTicketId", "Uuid"),
            or_null("registId", "Uuid"),
            or_null("userId", "Number"),
            or_null("ticketId", "Number"),
        ],
    ),
    ("Done", "It is done", &[SAGA_ID]),
    (
        "DoneAll",
        "All of it is done",
        &[many("sagaIds", "Uuid").about("The sagas that did it, one for each different id that was sent")],
    ),
    (
        "Running",
        "It is not done yet",
        &[
            SAGA_ID,
            has("status", "StillRunning"),
            perhaps("userTicketId", "Uuid").about("The ticket that it is about, if known"),
            field("sagaIds", Kind::Many("Uuid"), false)
                .about("Of a batch: the sagas that do it, one for each different id that was sent; it is done when all of them have ended, and `Location` is the first"),
        ],
    ),
    (
        "UserTicketList",
        "A page of tickets",
        &[TOTAL, many("list", "UserTicket")],
    ),
    (
        "RegistList",
        "A page of registrations",
        &[TOTAL, many("list", "Regist")],
    ),
    ("SagaInList", "A saga without its timeline", &SAGA),
    (
        "SagaList",
        "A page of sagas, newest first",
        &[
            many("list", "SagaInList"),
            or_null("next", "Text").about("The `cursor` of the next page; null after the last"),
        ],
    ),
    (
        "WaitingFor",
        "The step that a saga waits for",
        &[
            has("service", "Text"),
            has("message", "Text"),
            has("since", "Timestamp"),
            has("overdue", "Flag").about("It takes longer than the step may"),
        ],
    ),
    (
        "Happened",
        "One message of a saga",
        &[
            has("id", "Uuid"),
            has("type", "Text"),
            has("source", "Text"),
            has("time", "Timestamp"),
            or_null("causationId", "Uuid").about("The message that led to it"),
        ],
    ),
    ("Alive", "The process answers", &[has("status", "Text")]),
    (
        "Readiness",
        "Whether callers can be served, and what is waited for",
        &[
            has("status", "Text"),
            has("bus", "Dependency"),
            has("store", "Dependency"),
            has("ledger", "Dependency"),
        ],
    ),
    (
        "Dependency",
        "The state of what the gateway needs",
        &[has("state", "UpOrDown"), perhaps("waitingFor", "Text")],
    ),
    (
        "Problem",
        "RFC 9457, with the original's `code` and `message`",
        &PROBLEM,
    ),
    (
        "FieldError",
        "One wrong field, and what to send instead",
        &FIELD_ERROR,
    ),
];

const TOTAL: Field = has("total", "Count").about("How many there are on all pages");

/// Every schema of the document by its name.
pub(super) fn all() -> Map<String, Value> {
    let mut all = scalars();
    for (name, about, fields) in OBJECTS.iter().chain(dead_letters::OBJECTS) {
        all.insert((*name).to_owned(), object(about, fields));
    }
    let whole_saga = [&SAGA[..], &[many("timeline", "Happened").about(
        "What the ledger has by now: right after the end it may lack the last of it for a moment",
    )]].concat();
    all.insert(
        "Saga".to_owned(),
        object("A saga and all that happened in it", &whole_saga),
    );
    all.insert("DeadLetter".to_owned(), dead_letters::whole());
    for (name, fields) in [("SavedUserTicket", &USER_TICKET), ("SavedRegist", &REGIST)] {
        let fields = [&[SAGA_ID][..], fields].concat();
        all.insert(
            name.to_owned(),
            object("As it is now, and the saga that did it", &fields),
        );
    }
    all
}

/// A JSON object with these fields.
pub(super) fn object(about: &str, fields: &[Field]) -> Value {
    let property = |field: &Field| (field.name.to_owned(), of(field));
    let properties: Map<String, Value> = fields.iter().map(property).collect();
    let required = fields.iter().filter(|field| field.is_required);
    let required: Vec<&str> = required.map(|field| field.name).collect();
    json!({
        "type": "object",
        "description": about,
        "required": required,
        "properties": properties,
    })
}

/// What a field may be, and what it means.
fn of(field: &Field) -> Value {
    let mut schema = match field.kind {
        Kind::One(name) => refer(name),
        Kind::OrNull(name) => json!({"anyOf": [refer(name), {"type": "null"}]}),
        Kind::Many(name) => json!({"type": "array", "items": refer(name)}),
    };
    if !field.about.is_empty() {
        schema["description"] = json!(field.about);
    }
    schema
}

pub(super) fn refer(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn scalars() -> Map<String, Value> {
    let sets = [
        plain(),
        of_callers(),
        of_sagas(),
        of_problems(),
        dead_letters::scalars(),
    ];
    let members = |set: Value| set.as_object().cloned().unwrap_or_default();
    sets.into_iter().flat_map(members).collect()
}

fn plain() -> Value {
    json!({
        "Any": {},
        "Text": {"type": "string"},
        "Flag": {"type": "boolean"},
        "Count": {"type": "integer", "minimum": 0},
        "Seconds": {"type": "integer", "minimum": 0},
        "WholeNumber": {"type": "integer"},
        "Uuid": {"type": "string", "format": "uuid", "description": UUID.english()},
        "Timestamp": {"type": "string", "format": "date-time", "description": "RFC 3339, in UTC"},
        "UpOrDown": {"type": "string", "enum": ["up", "down"]},
    })
}

/// What callers send.
fn of_callers() -> Value {
    let whole_number = WHOLE_NUMBER.english();
    json!({
        "Number": {
            "description": format!(
                "{whole_number}; no fraction, no exponent. Answers have a string beyond 2^53-1, \
                 which a JavaScript number cannot hold"
            ),
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": u64::MAX},
                {"type": "string", "pattern": UP_TO_2_64},
            ],
        },
        "UuidList": {
            "type": "array", "items": refer("Uuid"), "minItems": 1, "maxItems": 100,
        },
        "Limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
        "Cursor": {"type": "string", "pattern": "^-?[0-9]{1,18}_[0-9a-f]{32}$"},
        "AcceptLanguage": {"type": "string", "examples": ["en", "zh-CN, en;q=0.5"]},
        "Prefer": {"type": "string", "examples": ["wait=2", "respond-async"]},
        "IdempotencyKey": {
            "type": "string", "pattern": "^[!-~]+$", "minLength": 1, "maxLength": 255,
            "description": "1 to 255 visible ASCII characters, best a UUID, bare or in quotes",
        },
    })
}

fn of_sagas() -> Value {
    json!({
        "SagaStatus": {
            "type": "string",
            "enum": Status::ALL.map(Status::as_str),
            "description": "It ends as completed, as rejected (nothing was done), or as compensated \
                            (what was done is undone)",
        },
        "ListedStatus": {
            "anyOf": [refer("SagaStatus"), {"type": "string", "const": "overdue"}],
            "description": "`overdue`: it waits longer at a step than the step may take",
        },
        "StillRunning": {"type": "string", "const": Status::Running.as_str()},
        "Path": {"type": "string", "format": "uri-reference", "pattern": "^/"},
        "SagaPath": {"type": "string", "format": "uri-reference", "pattern": "^/sagas/"},
        "Stream": {
            "description": "Server-sent events: `id`, `event` (the message's type) and `data`, a \
                            `Happened`; the last one is `end`, with a `SagaInList`",
        },
    })
}

fn of_problems() -> Value {
    let kinds: Vec<&str> = failures::all().map(|kind| kind.name).collect();
    json!({
        "ProblemType": {
            "type": "string", "format": "uri-reference", "pattern": "^/problems/[a-z-]+$",
            "description": "The kind of problem, for programs; stable, and the address of its page",
        },
        "RateLimit": {
            "type": "string", "pattern": "^\"default\";r=[0-9]+;t=[0-9]+$",
            "examples": ["\"default\";r=99;t=1"],
        },
        "RateLimitPolicy": {
            "type": "string", "pattern": "^\"default\";q=[0-9]+;w=[0-9]+$",
            "examples": ["\"default\";q=100;w=10"],
        },
        "ProblemName": {"type": "string", "enum": kinds},
        "LanguageTag": {"type": "string", "enum": Language::ALL.map(Language::tag)},
        "HttpStatus": {"type": "integer", "minimum": 400, "maximum": 599},
        "Code": {
            "type": "integer",
            "description": "The original's: 403 forbidden, 409 refused, 1001 message handling failed, 1002 busy, \
                            1003 invalid parameter, 1007 not found",
        },
    })
}
