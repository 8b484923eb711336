//! The contract of the system: what is said, in which envelope, and who reacts to it.
//!
//! Read [`choreography`] first: the whole system is derived from that table. This crate knows no
//! broker, no database and no async runtime, so that every participant, tool and test can share it.

pub mod choreography;
mod envelope;
mod ids;
mod message;
mod particulars;
pub mod progress;
pub mod query;
mod routing;
#[cfg(test)]
mod schema;
mod timestamp;

pub use envelope::{
    BATCH_CONTENT_TYPE, Cause, DecodeError, EVENT_CONTENT_TYPE, Event, split_batch,
};
pub use ids::{EventId, InvalidId, RegistId, SagaId, TicketId, UserId, UserTicketId};
pub use message::{
    AddTicket, CancelRegistration, CancellationRejected, ChangeRegistration, ChangeTicket, Class,
    Freed, Message, MessageType, NewTicketHeld, NewTicketReleased, NotRegistered, OldTicketFreed,
    PurchaseAndRegister, PurchaseRejected, Reason, Register, RegisterRejected, Registered,
    RegistrationCancelled, RegistrationChangeRejected, RegistrationChanged, RegistrationCompleted,
    RegistrationFailed, RegistrationNotChanged, RegistrationsClosed, RemoveTicket,
    TicketAddRejected, TicketAdded, TicketChangeRejected, TicketChanged, TicketDeleted,
    TicketFreed, TicketHeld, TicketPurchased, TicketReleased, TicketRemovalRejected, TicketRemoved,
};
pub use particulars::Particulars;
pub use routing::{Route, route};
pub use timestamp::Timestamp;
