//! `Idempotency-Key`: which saga a request means. The saga's id is derived from the key, so a
//! request that is sent again, to whichever replica and however often, is the same saga and has the
//! same answer. Nothing is remembered for it, and nothing expires.
//!
//! The ids that the gateway mints for such a saga are derived from the key and from what was asked,
//! so an answer that names another id was given to another request with the same key.

use axum::http::{HeaderMap, HeaderName};
use events::{SagaId, UserTicketId};
use uuid::Uuid;

use super::problem::{FieldError, Problem};
use super::texts::{Words, details, kinds};
use crate::auth::Caller;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Room for two UUIDs and a name; a key is no place for a payload.
const LONGEST: usize = 255;
/// Names the keys of callers among all names that UUIDs are derived from. Random, and fixed for ever.
const KEYS: Uuid = Uuid::from_u128(0x6f0d_4c86_6c0a_4b0f_9a53_51f1_7a0e_2d11);
/// Which saga a request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// A new one.
    Fresh(SagaId),
    /// The one with this key, which may have been started before.
    Keyed(SagaId),
}

impl Identity {
    /// Keys are each caller's own.
    pub(super) fn of(headers: &HeaderMap, caller: &Caller) -> Result<Self, Problem> {
        let mut given = headers.get_all(IDEMPOTENCY_KEY).into_iter();
        let Some(key) = given.next() else {
            return Ok(Self::Fresh(SagaId::mint()));
        };
        if given.next().is_some() {
            return Err(unfit(details::KEY_GIVEN_TWICE));
        }
        let key = key.to_str().ok().map(unquoted).filter(|key| is_key(key));
        let key = key.ok_or_else(|| unfit(details::KEY_IS_NONE))?;
        let callers = Uuid::new_v5(&KEYS, caller.subject.as_bytes());
        Ok(Self::Keyed(SagaId(Uuid::new_v5(&callers, key.as_bytes()))))
    }

    /// A new saga, whatever the caller's key: doing it twice does what doing it once does.
    pub(super) fn fresh() -> Self {
        Self::Fresh(SagaId::mint())
    }

    /// The same key names another saga on each route.
    pub(super) fn on_route(self, name: &str) -> Self {
        match self {
            Self::Fresh(saga_id) => Self::Fresh(saga_id),
            Self::Keyed(SagaId(key)) => Self::Keyed(SagaId(Uuid::new_v5(&key, name.as_bytes()))),
        }
    }

    pub(super) fn saga_id(self) -> SagaId {
        let (Self::Fresh(saga_id) | Self::Keyed(saga_id)) = self;
        saga_id
    }

    /// An id for the ticket that these fields of the request ask for.
    pub(super) fn ticket(self, asked: &[u64]) -> UserTicketId {
        match self {
            Self::Fresh(_) => UserTicketId::mint(),
            Self::Keyed(saga_id) => {
                let asked: Vec<u8> = asked.iter().flat_map(|id| id.to_be_bytes()).collect();
                UserTicketId(Uuid::new_v5(&saga_id.0, &asked))
            }
        }
    }
}

/// Whether the request may have been sent before.
pub(super) fn is_keyed(headers: &HeaderMap) -> bool {
    headers.contains_key(IDEMPOTENCY_KEY)
}

/// As a string of HTTP's structured fields, which the draft wants, or bare, which many send.
fn unquoted(text: &str) -> &str {
    let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    inner.unwrap_or(text)
}

fn is_key(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn unfit(fault: Words) -> Problem {
    let field = "Idempotency-Key".to_owned();
    let told = details::of_header(&field, &fault);
    let detail = fault.into();
    Problem::invalid(told, vec![FieldError { field, detail }])
}

/// What the key was used for before is something else, and perhaps somebody else's, so the answer does
/// not say which saga that is.
pub(super) fn reused() -> Problem {
    Problem::new(&kinds::KEY_REUSED, details::KEY_REUSED)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn identity(keys: &[&str]) -> Result<Identity, Problem> {
        identity_for(&Caller::anybody(), keys)
    }

    fn identity_for(caller: &Caller, keys: &[&str]) -> Result<Identity, Problem> {
        let mut headers = HeaderMap::new();
        for key in keys {
            let value = HeaderValue::from_str(key).unwrap();
            headers.append(IDEMPOTENCY_KEY, value);
        }
        Identity::of(&headers, caller)
    }

    #[test]
    fn the_same_key_is_the_same_saga_and_the_same_fields_the_same_ticket() {
        let [one, quoted, other] = ["\"k-1\"", "k-1", "k-2"].map(|key| identity(&[key]).unwrap());
        assert_eq!(one, quoted);
        assert_ne!(one, other);
        assert_eq!(one.ticket(&[7, 42]), quoted.ticket(&[7, 42]));
        assert_ne!(one.ticket(&[7, 42]), one.ticket(&[42, 7]));
        assert_ne!(one.ticket(&[7, 42]), other.ticket(&[7, 42]));
    }

    #[test]
    fn the_same_key_of_another_caller_is_another_saga() {
        let of = |subject| identity_for(&Caller::known(subject, false), &["k-1"]).unwrap();
        assert_eq!(of("7"), of("7"));
        assert_ne!(of("7"), of("8"));
        assert_ne!(of("7"), identity(&["k-1"]).unwrap());
    }

    #[test]
    fn without_a_key_every_request_is_a_saga_of_its_own() {
        assert_ne!(identity(&[]).unwrap(), identity(&[]).unwrap());
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        let long = "x".repeat(256);
        for keys in [&[""][..], &["a b"], &["\"\""], &[&long], &["a", "b"]] {
            identity(keys).unwrap_err();
        }
    }
}
