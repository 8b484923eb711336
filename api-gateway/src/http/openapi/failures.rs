//! The kinds of problem, as the document tells of them, and which of them any route may answer with.

/// One kind of problem: a response that operations refer to.
#[derive(Clone, Copy)]
pub(in crate::http) struct Failure {
    /// Its name among the document's responses.
    pub(super) name: &'static str,
    pub(super) status: u16,
    /// The last part of the problem's `type`.
    pub(super) kind: &'static str,
    pub(super) about: &'static str,
    /// Names among [`HEADERS`].
    pub(super) headers: &'static [&'static str],
}

pub(in crate::http) const INVALID: Failure = Failure {
    name: "InvalidParameter",
    status: 400,
    kind: "invalid-parameter",
    about: "Something is wrong with the request; `errors` names each field and what to send instead. \
            A fault of the body as a whole is the field `(body)`.",
    headers: &[],
};

pub(in crate::http) const NOT_FOUND: Failure = Failure {
    name: "NotFound",
    status: 404,
    kind: "not-found",
    about: "There is no such object, or it is deleted.",
    headers: &[],
};

pub(in crate::http) const SAGA_NOT_FOUND: Failure = Failure {
    name: "SagaNotFound",
    status: 404,
    kind: "saga-not-found",
    about: "No such saga is known. One that another gateway has just accepted shows in a moment.",
    headers: &[],
};

/// Not referred to: its reasons are each operation's own.
pub(super) const REFUSED: Failure = Failure {
    name: "Refused",
    status: 409,
    kind: "refused",
    about: "A step refused, and what was done before is undone. `reason` says why, for programs; \
            `message` and `detail` for people; `sagaId` names the saga.",
    headers: &[],
};

pub(in crate::http) const TOO_LARGE: Failure = Failure {
    name: "BodyTooLarge",
    status: 413,
    kind: "body-too-large",
    about: "The body has more than 16384 bytes.",
    headers: &[],
};

pub(in crate::http) const KEY_REUSED: Failure = Failure {
    name: "IdempotencyKeyReused",
    status: 422,
    kind: "idempotency-key-reused",
    about: "The Idempotency-Key was used for a request with other fields. Take a new key for a new \
            request.",
    headers: &[],
};

pub(in crate::http) const UNREADABLE: Failure = Failure {
    name: "SagaUnreadable",
    status: 500,
    kind: "saga-unreadable",
    about: "The record of the saga is damaged, or of a later build; an operator has to act.",
    headers: &[],
};

pub(in crate::http) const UNAVAILABLE: Failure = Failure {
    name: "Unavailable",
    status: 503,
    kind: "unavailable",
    about: "The system cannot do this now: the broker or a database is away, or too many wait \
            already. With a `sagaId`, the command may or may not have been accepted; `detail` says \
            what to do. Without one, nothing was done.",
    headers: &["Retry-After"],
};

pub(in crate::http) const NO_ANSWER: Failure = Failure {
    name: "NoAnswer",
    status: 504,
    kind: "no-answer",
    about: "The service that owns the data does not answer in time. Ask again.",
    headers: &[],
};

pub(in crate::http) const OF_A_CHANGE: &[Failure] = &[INVALID, NOT_FOUND, TOO_LARGE, UNAVAILABLE];
pub(in crate::http) const OF_A_CHANGE_THAT_READS: &[Failure] =
    &[INVALID, NOT_FOUND, TOO_LARGE, UNAVAILABLE, NO_ANSWER];
pub(in crate::http) const OF_A_SAGA: &[Failure] =
    &[INVALID, SAGA_NOT_FOUND, UNREADABLE, UNAVAILABLE];

/// What any operation may answer with.
pub(super) const EVERYWHERE: &[Failure] = &[UNAUTHORIZED, FORBIDDEN, TOO_MANY];

const UNAUTHORIZED: Failure = Failure {
    name: "Unauthorized",
    status: 401,
    kind: "unauthorized",
    about: "Authentication is set up, and the token is missing or bad; `WWW-Authenticate` says which.",
    headers: &["WWW-Authenticate"],
};

const FORBIDDEN: Failure = Failure {
    name: "Forbidden",
    status: 403,
    kind: "forbidden",
    about: "The caller acts for itself alone: for other users its token needs the scope `operator`.",
    headers: &["WWW-Authenticate"],
};

const TOO_MANY: Failure = Failure {
    name: "TooManyRequests",
    status: 429,
    kind: "too-many-requests",
    about: "The caller asks for too much at a time; nothing was done.",
    headers: &["Retry-After"],
};

/// What is answered where no operation is.
pub(super) const NOWHERE: [Failure; 2] = [
    Failure {
        name: "RouteNotFound",
        status: 404,
        kind: "route-not-found",
        about: "There is no such route.",
        headers: &[],
    },
    Failure {
        name: "MethodNotAllowed",
        status: 405,
        kind: "method-not-allowed",
        about: "The route has other methods: those that `Allow` lists.",
        headers: &["Allow"],
    },
];

/// Every kind of problem there is.
pub(super) fn all() -> impl Iterator<Item = Failure> {
    let named = [
        INVALID,
        NOT_FOUND,
        SAGA_NOT_FOUND,
        REFUSED,
        TOO_LARGE,
        KEY_REUSED,
        UNREADABLE,
        UNAVAILABLE,
        NO_ANSWER,
    ];
    named
        .into_iter()
        .chain(EVERYWHERE.iter().copied())
        .chain(NOWHERE)
}

/// Headers of answers: name, schema, and what they say.
pub(super) const HEADERS: &[(&str, &str, &str)] = &[
    ("Allow", "Text", "The methods that the route has"),
    ("Location", "Path", "Where it can be asked for"),
    (
        "Preference-Applied",
        "Text",
        "Which preferences of `Prefer` were honoured; left out if none was",
    ),
    (
        "WWW-Authenticate",
        "Text",
        "RFC 6750: what is wrong with the token, or the scope that is needed",
    ),
    (
        "Retry-After",
        "Seconds",
        "After so many seconds asking again makes sense",
    ),
];
