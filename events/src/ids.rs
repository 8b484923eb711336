//! Identifiers, each a type of its own so that no two can be mistaken for one another.
//!
//! Ids that we mint are UUIDs, strings in JSON. `userId` and `ticketId` are the caller's own
//! non-negative 64-bit integers.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use uuid::Uuid;

macro_rules! minted_ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh id, ordered by time (UUIDv7) so that an index grows at its end.
            pub fn mint() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    )*};
}

minted_ids! {
    /// One run of one saga. Minted by the gateway.
    SagaId
    /// One message of one saga. Derived (`Event::id_of`), never minted at random.
    EventId
    /// A bought ticket. Minted by the gateway before the saga starts.
    UserTicketId
    /// A registration. Minted by the regist-worker when it decides.
    RegistId
}

macro_rules! callers_ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The id as SQL's signed 64-bit integer. The mapping is one to one: ids up to 2^63-1
            /// are themselves, larger ones show as negative numbers.
            pub fn to_sql(self) -> i64 {
                self.0.cast_signed()
            }

            /// The inverse of [`Self::to_sql`].
            pub fn from_sql(stored: i64) -> Self {
                Self(stored.cast_unsigned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse(text).map(Self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(U64Visitor).map(Self)
            }
        }

        #[cfg(test)]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                crate::schema::callers_id()
            }
        }
    )*};
}

callers_ids! {
    /// The caller's number for a user: 0 to 2^64-1, a JSON number or a string of digits.
    UserId
    /// The caller's number for the ticket on sale: 0 to 2^64-1, a JSON number or a string of digits.
    TicketId
}

/// The text is not a whole number from 0 to 18446744073709551615.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a whole number from 0 to 18446744073709551615")]
pub struct InvalidId {
    text: String,
}

/// Digits only: `u64::from_str` would take a leading `+` as well.
fn parse(text: &str) -> Result<u64, InvalidId> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or_else(|| InvalidId {
        text: text.to_owned(),
    })
}

struct U64Visitor;

impl de::Visitor<'_> for U64Visitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number from 0 to 18446744073709551615, as a number or a string")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        parse(text).map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_id_is_a_number_or_a_string_of_digits() {
        for json in ["7", "\"7\""] {
            assert_eq!(serde_json::from_str::<UserId>(json).unwrap(), UserId(7));
        }
        let largest = serde_json::from_str::<TicketId>("18446744073709551615").unwrap();
        assert_eq!(TicketId::from_sql(largest.to_sql()), TicketId(u64::MAX));
    }

    #[test]
    fn anything_else_is_refused_with_the_allowed_range() {
        for json in [
            "-1",
            "18446744073709551616",
            "1.5",
            "\"+1\"",
            "\"\"",
            "null",
            "true",
            "\"0x1\"",
        ] {
            let error = serde_json::from_str::<UserId>(json)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("from 0 to 18446744073709551615"),
                "{json}: {error}"
            );
        }
    }
}
