//! Every message of the system, and the list that gives each its wire identity.
//!
//! To add one: write its struct, add one line to `register!`, add its row to the
//! [choreography table](crate::choreography), say what it carries
//! ([`Message::particulars`]), and bless its golden file and schema
//! (`BLESS=1 cargo test -p events --no-fail-fast`). How to change one: `docs/contract.md`.
//!
//! Decoding is strict where that protects (a missing or wrong field is an error that names it) and
//! tolerant where a newer writer must be understood (unknown fields and unknown reasons pass).

mod earlier;
mod routes;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::envelope::DecodeError;
use crate::{RegistId, TicketId, UserId, UserTicketId};

use earlier::OriginalPurchase;
pub use routes::*;

/// Asks for one thing to be done by one service, or tells all that something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    Command,
    Event,
}

/// Buy a ticket for the user and register the user with it, both or neither.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PurchaseAndRegister {
    pub user_id: UserId,
    pub ticket_id: TicketId,
    pub user_ticket_id: UserTicketId,
}

/// The user's ticket exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TicketPurchased {
    pub user_id: UserId,
    pub ticket_id: TicketId,
    pub user_ticket_id: UserTicketId,
}

/// No ticket was created. Ends the saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PurchaseRejected {
    pub user_id: UserId,
    pub ticket_id: TicketId,
    pub user_ticket_id: UserTicketId,
    pub reason: Reason,
}

/// The user is registered with the ticket. Ends the saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RegistrationCompleted {
    pub regist_id: RegistId,
    pub user_id: UserId,
    pub ticket_id: TicketId,
    pub user_ticket_id: UserTicketId,
}

/// The user was not registered; the ticket must go. Starts the undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RegistrationFailed {
    pub user_id: UserId,
    pub ticket_id: TicketId,
    pub user_ticket_id: UserTicketId,
    pub reason: Reason,
}

/// The saga's ticket is deleted, or will never be created. Ends the saga when it is its undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TicketDeleted {
    pub user_ticket_id: UserTicketId,
    /// Why it had to go.
    pub cause: Reason,
}

/// Why a step was refused: a stable `snake_case` code. A code this build does not know passes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Reason(Cow<'static, str>);

impl Reason {
    /// The user already has a live registration for this ticket id.
    pub const ALREADY_REGISTERED: Self = Self(Cow::Borrowed("already_registered"));
    /// There is no such object, or it is deleted.
    pub const NOT_FOUND: Self = Self(Cow::Borrowed("not_found"));
    /// There is no such ticket to register with.
    pub const TICKET_NOT_FOUND: Self = Self(Cow::Borrowed("ticket_not_found"));
    /// The ticket is another user's.
    pub const NOT_THE_USERS_TICKET: Self = Self(Cow::Borrowed("not_the_users_ticket"));
    /// The ticket is deleted, or about to be.
    pub const TICKET_DELETED: Self = Self(Cow::Borrowed("ticket_deleted"));
    /// A registration has the ticket, or is about to get it or to let it go.
    pub const TICKET_IN_USE: Self = Self(Cow::Borrowed("ticket_in_use"));
    /// The registration was changed or deleted by another request in the same moment.
    pub const CHANGED_MEANWHILE: Self = Self(Cow::Borrowed("changed_meanwhile"));
    /// The command does not say what it is about.
    pub const NOTHING_NAMED: Self = Self(Cow::Borrowed("nothing_named"));
    /// A start step was seen after the saga's deadline.
    pub const DEADLINE_EXCEEDED: Self = Self(Cow::Borrowed("deadline_exceeded"));

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Reason {
    fn from(code: String) -> Self {
        Self(Cow::Owned(code))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A line reads: *this message has this class and is written as this version; data of that other
/// version is read as that struct, which becomes the message*.
macro_rules! register {
    ($(
        $name:ident: $class:ident v $version:literal $(, reads $other:literal as $form:ident)*
    )*) => {
        /// The name and class of a message, without its data.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum MessageType { $($name),* }

        impl MessageType {
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name, as queues, routing keys and logs show it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            /// The CloudEvents types that are read: the name and a major version of the data. The
            /// first is the one that is written.
            pub const fn wire_types(self) -> &'static [&'static str] {
                match self {
                    $(Self::$name => &[
                        concat!(stringify!($name), ".v", $version),
                        $(concat!(stringify!($name), ".v", $other),)*
                    ]),*
                }
            }

            pub const fn class(self) -> Class {
                match self { $(Self::$name => Class::$class),* }
            }
        }

        /// The data of any message.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(untagged)]
        pub enum Message { $($name($name)),* }

        impl Message {
            pub fn message_type(&self) -> MessageType {
                match self { $(Self::$name(_) => MessageType::$name),* }
            }

            /// Reads the data of a message by its CloudEvents type, in any version that is read.
            pub fn decode(wire_type: &str, data: &str) -> Result<Self, DecodeError> {
                match wire_type {
                    $(
                        concat!(stringify!($name), ".v", $version) => {
                            decode_data::<$name>(MessageType::$name, data).map(Self::$name)
                        }
                        $(concat!(stringify!($name), ".v", $other) => {
                            decode_data::<$form>(MessageType::$name, data)
                                .map(|other| Self::$name(other.into()))
                        })*
                    )*
                    _ => Err(MessageType::not_read(wire_type)),
                }
            }
        }

        /// The schema of every CloudEvents type that is read.
        #[cfg(test)]
        pub(crate) fn schemas() -> Vec<crate::schema::Document> {
            use crate::schema::Document;
            vec![$(
                Document::of::<$name>(concat!(stringify!($name), ".v", $version), Class::$class),
                $(Document::of::<$form>(
                    concat!(stringify!($name), ".v", $other),
                    Class::$class,
                ),)*
            )*]
        }

        $(impl From<$name> for Message {
            fn from(data: $name) -> Self { Self::$name(data) }
        })*
    };
}

register! {
    PurchaseAndRegister: Command v 1, reads 0 as OriginalPurchase
    TicketPurchased: Event v 1
    PurchaseRejected: Event v 1
    RegistrationCompleted: Event v 1
    RegistrationFailed: Event v 1
    TicketDeleted: Event v 1
    AddTicket: Command v 1
    TicketAdded: Event v 1
    TicketAddRejected: Event v 1
    ChangeTicket: Command v 1
    TicketChanged: Event v 1
    TicketChangeRejected: Event v 1
    RemoveTicket: Command v 1
    RegistrationsClosed: Event v 1
    TicketRemovalRejected: Event v 1
    TicketRemoved: Event v 1
    Register: Command v 1
    TicketHeld: Event v 1
    RegisterRejected: Event v 1
    Registered: Event v 1
    NotRegistered: Event v 1
    TicketReleased: Event v 1
    ChangeRegistration: Command v 1
    NewTicketHeld: Event v 1
    RegistrationChangeRejected: Event v 1
    RegistrationChanged: Event v 1
    RegistrationNotChanged: Event v 1
    OldTicketFreed: Event v 1
    NewTicketReleased: Event v 1
    CancelRegistration: Command v 1
    RegistrationCancelled: Event v 1
    CancellationRejected: Event v 1
    TicketFreed: Event v 1
}

impl MessageType {
    /// The CloudEvents `type` that is written.
    pub const fn wire_type(self) -> &'static str {
        self.wire_types()[0]
    }

    /// Another version is told from an unknown name.
    fn not_read(wire_type: &str) -> DecodeError {
        let found = wire_type.to_owned();
        let name = wire_type
            .rsplit_once(".v")
            .map_or(wire_type, |(name, _)| name);
        match Self::from_name(name) {
            Some(known) => DecodeError::UnsupportedVersion {
                found,
                supported: known.wire_types(),
            },
            None => DecodeError::UnknownType { found },
        }
    }

    /// Finds the type by its bare name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.name() == name)
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An array is refused here, which serde would take for the fields in their order, an empty one for
/// a message without any. The fast path decodes plainly; only a failure is decoded again to learn the path of the field.
fn decode_data<'de, T: Deserialize<'de>>(
    message_type: MessageType,
    data: &'de str,
) -> Result<T, DecodeError> {
    if !data.trim_start().starts_with('{') {
        return Err(DecodeError::DataIsNoObject { message_type });
    }
    serde_json::from_str(data).map_err(|plain| {
        let mut json = serde_json::Deserializer::from_str(data);
        let (field, problem) = match serde_path_to_error::deserialize::<_, T>(&mut json) {
            Err(error) => (error.path().to_string(), error.into_inner()),
            Ok(_) => (".".to_owned(), plain),
        };
        DecodeError::Data {
            message_type,
            field,
            problem,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_that_is_no_json_object_is_refused_whatever_its_fields() {
        for message_type in MessageType::ALL {
            for data in ["[]", " [1, 2]", "null", "7", "\"{}\""] {
                let refused = Message::decode(message_type.wire_type(), data).unwrap_err();
                let text = format!("the data of {message_type} is no JSON object");
                assert_eq!(refused.to_string(), text, "{data}");
            }
        }
    }
}
