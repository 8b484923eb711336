//! Which kinds of problem operations may answer with, and the headers of answers. What is told of a
//! kind is in [`kinds`].

use crate::http::texts::kinds::{
    self, BODY_TOO_LARGE, BODY_TOO_SLOW, FORBIDDEN, INVALID, KEY_REUSED, NO_ANSWER, NOT_FOUND,
    ProblemKind, SAGA_NOT_FOUND, SAGA_UNREADABLE, TOO_MANY, UNAUTHORIZED, UNAVAILABLE,
};

pub(super) const OF_A_COMMAND: &[&ProblemKind] =
    &[&INVALID, &BODY_TOO_SLOW, &BODY_TOO_LARGE, &UNAVAILABLE];
pub(super) const OF_A_KEYED_COMMAND: &[&ProblemKind] = &[
    &INVALID,
    &BODY_TOO_SLOW,
    &BODY_TOO_LARGE,
    &KEY_REUSED,
    &UNAVAILABLE,
];
/// Whose it is may have to be asked first.
pub(in crate::http) const OF_A_COMMAND_BY_ID: &[&ProblemKind] = &[
    &INVALID,
    &NOT_FOUND,
    &BODY_TOO_SLOW,
    &BODY_TOO_LARGE,
    &UNAVAILABLE,
    &NO_ANSWER,
];
/// What is not there is as good as deleted.
pub(in crate::http) const OF_A_DELETION: &[&ProblemKind] = &[
    &INVALID,
    &BODY_TOO_SLOW,
    &BODY_TOO_LARGE,
    &UNAVAILABLE,
    &NO_ANSWER,
];
pub(super) const OF_A_LOOK_UP: &[&ProblemKind] = &[&INVALID, &NOT_FOUND, &UNAVAILABLE, &NO_ANSWER];
pub(super) const OF_A_LIST: &[&ProblemKind] = &[&INVALID, &UNAVAILABLE, &NO_ANSWER];
pub(in crate::http) const OF_A_SAGA: &[&ProblemKind] =
    &[&INVALID, &SAGA_NOT_FOUND, &SAGA_UNREADABLE, &UNAVAILABLE];
pub(in crate::http) const OF_A_LIST_OF_SAGAS: &[&ProblemKind] = &[&INVALID, &UNAVAILABLE];

pub(in crate::http) const OF_A_PROBLEM_PAGE: &[&ProblemKind] = &[&NOT_FOUND];

/// What any operation may answer with that is not open to everybody. It is unavailable while the
/// gateway has no keys to know its callers by.
pub(super) const EVERYWHERE: &[&ProblemKind] =
    &[&UNAUTHORIZED, &FORBIDDEN, &TOO_MANY, &UNAVAILABLE];

/// The headers that every problem comes with.
pub(super) const OF_A_PROBLEM: &[&str] = &["Content-Language", "Vary"];

/// Its name among the document's responses: `invalid-parameter` is `InvalidParameter`.
pub(super) fn name(kind: &ProblemKind) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    kind.name.split('-').map(word).collect()
}

/// What happened, and what to do.
pub(super) fn about(kind: &ProblemKind) -> String {
    format!("{} {}", kind.happened.english(), kind.to_do.english())
}

/// Every kind of problem there is.
pub(super) fn all() -> impl Iterator<Item = &'static ProblemKind> {
    kinds::ALL.iter().copied()
}

/// What every answer to a caller comes with where the gateway has a rate limit.
pub(super) const OF_A_RATE: &[&str] = &["RateLimit", "RateLimit-Policy"];

/// A header of answers.
pub(super) struct Header {
    pub(super) name: &'static str,
    pub(super) schema: &'static str,
    pub(super) about: &'static str,
    /// Wherever it is told of, rather than only sometimes.
    pub(super) is_always_there: bool,
}

const fn header(name: &'static str, schema: &'static str, about: &'static str) -> Header {
    Header {
        name,
        schema,
        about,
        is_always_there: true,
    }
}

impl Header {
    const fn sometimes(self) -> Self {
        Self {
            is_always_there: false,
            ..self
        }
    }
}

#[rustfmt::skip]
pub(super) const HEADERS: &[Header] = &[
    header("Allow", "Text", "The methods that the route has"),
    header("Content-Language", "LanguageTag",
        "The language of the texts, as `Accept-Language` prefers it"),
    header("Location", "Path", "Where it can be asked for"),
    header("Preference-Applied", "Text",
        "Which preferences of `Prefer` were honoured; left out if none was").sometimes(),
    header("RateLimit", "RateLimit",
        "Where there is a rate limit: how many more requests the caller may send (`r`), and in how \
         many seconds it may send all of them again (`t`)").sometimes(),
    header("RateLimit-Policy", "RateLimitPolicy",
        "Where there is a rate limit: how many requests (`q`) in so many seconds (`w`)").sometimes(),
    header("Retry-After", "Seconds", "After so many seconds asking again makes sense"),
    header("Vary", "Text", "`Accept-Language`: others may get other texts"),
    header("WWW-Authenticate", "Text",
        "RFC 6750: what is wrong with the token, or the scope that is needed"),
];
