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
use super::problem::{FieldError, Problem};
use super::texts::{Say, Text, details, kinds};

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
            let detail = details::body_too_large(&BODY_LIMIT);
            Problem::new(&kinds::BODY_TOO_LARGE, detail)
        } else {
            Problem::invalid(details::body_cut_off(&rejection), Vec::new())
        }
    })
}

fn too_slow(limit: Duration) -> Problem {
    let detail = details::body_too_slow(&limit.as_secs_f32());
    Problem::new(&kinds::BODY_TOO_SLOW, detail)
}

impl<'a> Fields<'a> {
    pub(super) fn parse(body: &'a [u8], example: &'static str) -> Result<Self, Problem> {
        let whole = |detail: Text| {
            let told = details::of_body(&detail, &example);
            let field = WHOLE.to_owned();
            Problem::invalid(told, vec![FieldError { field, detail }])
        };
        let no_json = |problem: serde_json::Error| whole(details::is_not_json(&problem));
        if body.is_empty() {
            return Err(whole(details::IS_EMPTY.into()));
        }
        let json: &RawValue = serde_json::from_slice(body).map_err(no_json)?;
        if !json.get().starts_with('{') {
            return Err(whole(details::is_no_object(&shown(json.get()))));
        }
        let Members(fields) = serde_json::from_str(json.get()).map_err(no_json)?;
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
        expected: &dyn Say,
    ) -> Option<T> {
        if !self.fields.iter().any(|(field, _)| field == name) {
            self.fail(name, details::is_missing(expected));
        }
        self.optional(name, expected)
    }

    /// The same of a field that may be left out.
    pub(super) fn optional<T: DeserializeOwned>(
        &mut self,
        name: &str,
        expected: &dyn Say,
    ) -> Option<T> {
        let mut given = self.fields.iter().filter(|(field, _)| field == name);
        let (value, again) = (given.next(), given.count());
        let detail = match (value, again) {
            (None, _) => return None,
            (Some((_, json)), 0) => match serde_json::from_str(json.get()) {
                Ok(value) => return Some(value),
                Err(_) => details::is_other(expected, &shown(json.get())),
            },
            (Some(_), again) => details::is_repeated(&(again + 1)),
        };
        self.fail(name, detail);
        None
    }

    fn fail(&mut self, name: &str, detail: Text) {
        let field = name.to_owned();
        self.errors.push(FieldError { field, detail });
    }

    /// Notes what only the reader of a field can see is wrong with it.
    pub(super) fn with_error(mut self, name: &str, detail: Text) -> Self {
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
        let faults = FieldError::sentences(&self.errors);
        let detail = details::with_example(&faults, &self.example);
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
