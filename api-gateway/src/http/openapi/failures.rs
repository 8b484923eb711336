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
pub(super) const OF_A_LOOK_UP: &[&ProblemKind] = &[&INVALID, &NOT_FOUND, &UNAVAILABLE, &NO_ANSWER];
pub(super) const OF_A_LIST: &[&ProblemKind] = &[&INVALID, &UNAVAILABLE, &NO_ANSWER];
pub(in crate::http) const OF_A_SAGA: &[&ProblemKind] =
    &[&INVALID, &SAGA_NOT_FOUND, &SAGA_UNREADABLE, &UNAVAILABLE];
pub(in crate::http) const OF_A_LIST_OF_SAGAS: &[&ProblemKind] = &[&INVALID, &UNAVAILABLE];

pub(in crate::http) const OF_A_PROBLEM_PAGE: &[&ProblemKind] = &[&NOT_FOUND];

/// What any operation may answer with that is not open to everybody.
pub(super) const EVERYWHERE: &[&ProblemKind] = &[&UNAUTHORIZED, &FORBIDDEN, &TOO_MANY];

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

/// Headers of answers: name, schema, and what they say.
pub(super) const HEADERS: &[(&str, &str, &str)] = &[
    ("Allow", "Text", "The methods that the route has"),
    (
        "Content-Language",
        "LanguageTag",
        "The language of the texts, as `Accept-Language` prefers it",
    ),
    ("Location", "SagaPath", "Where the saga can be asked for"),
    (
        "Preference-Applied",
        "Text",
        "Which preferences of `Prefer` were honoured; left out if none was",
    ),
    (
        "Retry-After",
        "Seconds",
        "After so many seconds asking again makes sense",
    ),
    (
        "Vary",
        "Text",
        "`Accept-Language`: others may get other texts",
    ),
    (
        "WWW-Authenticate",
        "Text",
        "RFC 6750: what is wrong with the token, or the scope that is needed",
    ),
];
