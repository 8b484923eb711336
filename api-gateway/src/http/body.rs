//! A request body as one JSON object, whatever its content type says. Every field is checked before
//! anything is answered, so that the caller hears of all mistakes at once. Unknown fields pass;
//! a field given twice does not, for there is no telling which one was meant.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, MapAccess};
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::Gateway;
use super::problem::{FieldError, INVALID_PARAMETER, Problem};

/// A hundred times what any route needs.
pub(super) const BODY_LIMIT: usize = 16 * 1024;
/// How much of a wrong value is repeated to its sender.
const SHOWN: usize = 40;
/// The name under which a fault of the body as a whole is reported.
const WHOLE: &str = "(body)";

/// The fields of the object, and what was found wrong with them so far.
pub(super) struct Fields<'a> {
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// What to send, shown with every complaint.
    example: &'static str,
    errors: Vec<FieldError>,
}

/// The body, or why there is none.
pub(super) struct RawBody(Result<Bytes, Problem>);

impl FromRequest<Gateway> for RawBody {
    type Rejection = Infallible;

    async fn from_request(request: Request, gateway: &Gateway) -> Result<Self, Infallible> {
        let limit = gateway.limits().body_within;
        let arrived = timeout(limit, Bytes::from_request(request, gateway)).await;
        Ok(Self(match arrived {
            Ok(body) => whole(body),
            Err(_) => Err(too_slow(limit)),
        }))
    }
}

pub(super) fn received(RawBody(body): RawBody) -> Result<Bytes, Problem> {
    body
}

fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let detail = format!("the body is larger than {BODY_LIMIT} bytes");
            let title = "The body is too large";
            Problem::new(
                rejection.status(),
                "body-too-large",
                title,
                INVALID_PARAMETER,
                detail,
            )
        } else {
            let detail = format!("the body did not arrive whole: {rejection}");
            Problem::invalid(detail, Vec::new())
        }
    })
}

fn too_slow(limit: Duration) -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        "body-too-slow",
        "The body took too long",
        INVALID_PARAMETER,
        format!("the body did not arrive within {limit:?}; send the request again"),
    )
}

impl<'a> Fields<'a> {
    pub(super) fn parse(body: &'a [u8], example: &'static str) -> Result<Self, Problem> {
        let whole = |detail: String| {
            let field = WHOLE.to_owned();
            let errors = vec![FieldError {
                field,
                detail: detail.clone(),
            }];
            Problem::invalid(format!("the body {detail}; send {example}"), errors)
        };
        if body.is_empty() {
            return Err(whole("is empty".to_owned()));
        }
        let json: &RawValue = serde_json::from_slice(body)
            .map_err(|problem| whole(format!("is not JSON: {problem}")))?;
        if !json.get().starts_with('{') {
            let shown = shown(json.get());
            return Err(whole(format!("must be a JSON object, but is {shown}")));
        }
        let Members(fields) = serde_json::from_str(json.get())
            .map_err(|problem| whole(format!("is not JSON: {problem}")))?;
        Ok(Self {
            fields,
            example,
            errors: Vec::new(),
        })
    }

    /// The value of a field; `expected` says what it must be, to go on after "must be". When it is
    /// none, that is noted for [`Self::problem`].
    pub(super) fn required<T: DeserializeOwned>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Option<T> {
        if !self.fields.iter().any(|(field, _)| field == name) {
            self.fail(name, format!("is missing; it must be {expected}"));
        }
        self.optional(name, expected)
    }

    /// The same of a field that may be left out.
    pub(super) fn optional<T: DeserializeOwned>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Option<T> {
        let mut given = self.fields.iter().filter(|(field, _)| field == name);
        let (value, again) = (given.next(), given.count());
        let detail = match (value, again) {
            (None, _) => return None,
            (Some((_, json)), 0) => match serde_json::from_str(json.get()) {
                Ok(value) => return Some(value),
                Err(_) => format!("must be {expected}, but is {}", shown(json.get())),
            },
            (Some(_), again) => format!("is given {} times; send it once", again + 1),
        };
        self.fail(name, detail);
        None
    }

    fn fail(&mut self, name: &str, detail: String) {
        let field = name.to_owned();
        self.errors.push(FieldError { field, detail });
    }

    /// Notes what only the reader of a field can see is wrong with it.
    pub(super) fn with_error(mut self, name: &str, detail: String) -> Self {
        self.fail(name, detail);
        self
    }

    /// Whether all was well.
    pub(super) fn check(self) -> Result<(), Problem> {
        match self.errors.is_empty() {
            true => Ok(()),
            false => Err(self.problem()),
        }
    }

    /// Everything that was found wrong.
    pub(super) fn problem(self) -> Problem {
        let told: Vec<String> = self
            .errors
            .iter()
            .map(|error| format!("{} {}", error.field, error.detail))
            .collect();
        let detail = format!("{}. Send {}", told.join(". "), self.example);
        Problem::invalid(detail, self.errors)
    }
}

fn shown(json: &str) -> Cow<'_, str> {
    match json.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &json[..end]).into(),
        None => json.into(),
    }
}

/// The members of an object, repeated names included, their values not looked into.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// Borrowed from the body unless it has escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> de::Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}
