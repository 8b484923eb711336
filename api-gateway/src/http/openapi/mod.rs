//! The OpenAPI document, made of what each handler's file says of its operation. The router is built
//! from the same lines ([`super::routes`]), so there is no route without a description. Its examples
//! are answers that tests got ([`examples`]).
//!
//! To describe a new route: an [`Operation`] beside its handler; an answer of a new shape is a line
//! in [`schemas`], a new kind of problem one in [`kinds`](super::texts::kinds).

mod document;
pub(super) mod examples;
pub(super) mod failures;
mod schemas;

use events::Reason;

pub(super) use document::document;

use crate::http::texts::kinds::ProblemKind;

/// What callers are told of a route and method.
#[derive(Clone, Copy)]
pub(super) struct Operation {
    id: &'static str,
    summary: &'static str,
    about: &'static str,
    path: &'static [Field],
    query: &'static [Field],
    headers: &'static [Field],
    body: &'static [Field],
    /// With every reason for which it may be refused.
    refusals: &'static [Reason],
    failures: &'static [&'static ProblemKind],
    success: Success,
}

/// What comes when it works.
#[derive(Clone, Copy)]
enum Success {
    /// The envelope with this object, or with the saga's address while it runs.
    Ended(&'static str),
    /// The envelope with what became of dead letters, or with the address of what still runs.
    Run,
    /// The envelope with this object.
    Read(&'static str),
    /// Server-sent events.
    Stream,
    /// Without the envelope: the content type and the object.
    Plain(&'static str, &'static str),
    /// Likewise, and 503 has the same shape.
    Ready(&'static str),
}

/// A parameter, or a member of an object.
#[derive(Clone, Copy)]
pub(super) struct Field {
    name: &'static str,
    kind: Kind,
    is_required: bool,
    about: &'static str,
}

/// The type of a field: a name among the [`schemas`].
#[derive(Clone, Copy)]
pub(super) enum Kind {
    One(&'static str),
    OrNull(&'static str),
    Many(&'static str),
}

pub(super) const fn required(name: &'static str, schema: &'static str) -> Field {
    field(name, Kind::One(schema), true)
}

pub(super) const fn optional(name: &'static str, schema: &'static str) -> Field {
    field(name, Kind::One(schema), false)
}

const fn field(name: &'static str, kind: Kind, is_required: bool) -> Field {
    Field {
        name,
        kind,
        is_required,
        about: "",
    }
}

impl Field {
    pub(super) const fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }
}

/// How long the caller waits; every route that changes something knows it.
const PREFER: Field = optional("Prefer", "Prefer").about(
    "RFC 7240: `wait=N` to wait N seconds for the outcome, or `respond-async` for none; with both, N \
     seconds. Without it, or with more than that, the gateway waits as long as it is set to, 10 \
     seconds by default. `Preference-Applied` says what was honoured. What has ended already is \
     answered at once",
);
const TRACEPARENT: Field =
    optional("traceparent", "Text").about("W3C Trace Context: the saga's messages carry it on");
const IDEMPOTENCY_KEY: Field = optional("Idempotency-Key", "IdempotencyKey").about(
    "Names the saga: a request that is sent again with it, to any replica and at any time later, \
     is the same saga and gets the same answer. A key is of one caller and one route; another request \
     is one whose known fields have other values. What changes or deletes by id needs no key and \
     takes none: sent twice, it is as if sent once",
);
const RUN_KEY: Field = optional("Idempotency-Key", "IdempotencyKey").about(
    "Names the run: a request that is sent again with it begins nothing and tells how far that is. \
     Another gateway, or this one after a restart, knows a run from the first message that it dealt \
     with",
);
pub(super) const ACCEPT_LANGUAGE: Field = optional("Accept-Language", "AcceptLanguage").about(
    "RFC 9110: problems are told in English if it is preferred to Chinese, otherwise in Chinese",
);
pub(super) const ID: Field = required("id", "Uuid");
/// Of every list of objects.
pub(super) const PAGE_NUMBER: Field =
    optional("pageNum", "WholeNumber").about("A number from 1; below is 1");
pub(super) const PAGE_SIZE: Field =
    optional("pageSize", "WholeNumber").about("A number from 1 to 100; any other number is 10");
pub(super) const KEYWORD: Field =
    optional("keyword", "Text").about("Any id of the object, in full; what is no id finds nothing");

/// The one reason for which what always works is refused.
pub(super) const LATE: &[Reason] = &[Reason::DEADLINE_EXCEEDED];

impl Operation {
    /// Starts a saga and waits for its end; `data` is what its envelope has then.
    pub(super) const fn saga(id: &'static str, summary: &'static str, data: &'static str) -> Self {
        let failures = failures::OF_A_COMMAND;
        Self {
            headers: &[PREFER, TRACEPARENT, ACCEPT_LANGUAGE],
            ..Self::new(id, summary, Success::Ended(data), failures)
        }
    }

    /// The same, once for each key.
    pub(super) const fn keyed_saga(
        id: &'static str,
        summary: &'static str,
        data: &'static str,
    ) -> Self {
        let failures = failures::OF_A_KEYED_COMMAND;
        Self {
            headers: &[IDEMPOTENCY_KEY, PREFER, TRACEPARENT, ACCEPT_LANGUAGE],
            ..Self::new(id, summary, Success::Ended(data), failures)
        }
    }

    /// Deals with dead letters and waits until that is done.
    pub(super) const fn run(id: &'static str, summary: &'static str) -> Self {
        let failures = failures::OF_A_KEYED_COMMAND;
        Self {
            headers: &[RUN_KEY, PREFER, ACCEPT_LANGUAGE],
            ..Self::new(id, summary, Success::Run, failures)
        }
    }

    /// Answers with the object that has the `id`.
    pub(super) const fn find(id: &'static str, summary: &'static str, data: &'static str) -> Self {
        Self {
            query: &[ID],
            headers: &[ACCEPT_LANGUAGE],
            ..Self::new(id, summary, Success::Read(data), failures::OF_A_LOOK_UP)
        }
    }

    /// Answers with a page of objects.
    pub(super) const fn list(id: &'static str, summary: &'static str, data: &'static str) -> Self {
        Self {
            headers: &[ACCEPT_LANGUAGE],
            ..Self::new(id, summary, Success::Read(data), failures::OF_A_LIST)
        }
    }

    /// Answers without the envelope.
    pub(super) const fn plain(
        id: &'static str,
        summary: &'static str,
        content_type: &'static str,
        schema: &'static str,
    ) -> Self {
        Self::new(id, summary, Success::Plain(content_type, schema), &[])
    }

    /// Answers 200 or 503 with the same object.
    pub(super) const fn ready(id: &'static str, summary: &'static str, data: &'static str) -> Self {
        Self::new(id, summary, Success::Ready(data), &[])
    }

    pub(super) const fn stream(id: &'static str, summary: &'static str) -> Self {
        Self::new(id, summary, Success::Stream, &[])
    }

    const fn new(
        id: &'static str,
        summary: &'static str,
        success: Success,
        failures: &'static [&'static ProblemKind],
    ) -> Self {
        Self {
            id,
            summary,
            about: "",
            path: &[],
            query: &[],
            headers: &[],
            body: &[],
            refusals: &[],
            failures,
            success,
        }
    }

    pub(super) const fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    pub(super) const fn path(self, path: &'static [Field]) -> Self {
        Self { path, ..self }
    }

    pub(super) const fn query(self, query: &'static [Field]) -> Self {
        Self { query, ..self }
    }

    pub(super) const fn headers(self, headers: &'static [Field]) -> Self {
        Self { headers, ..self }
    }

    pub(super) const fn body(self, body: &'static [Field]) -> Self {
        Self { body, ..self }
    }

    pub(super) const fn refused_with(self, refusals: &'static [Reason]) -> Self {
        Self { refusals, ..self }
    }

    /// Instead of those that it has so far.
    pub(super) const fn fails_with(self, failures: &'static [&'static ProblemKind]) -> Self {
        Self { failures, ..self }
    }
}
