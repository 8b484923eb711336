//! The messages of the plain routes: create, change, delete, and register with a ticket that exists.

use serde::{Deserialize, Serialize};

use super::Reason;
use crate::{RegistId, SagaId, TicketId, Timestamp, UserId, UserTicketId};

/// Create a ticket, with no registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AddTicket {
    pub user_id: UserId,
    pub ticket_id: TicketId,
    pub user_ticket_id: UserTicketId,
}

/// The ticket exists. Ends the saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TicketAdded {
    pub user_id: UserId,
    pub ticket_id: TicketId,
    pub user_ticket_id: UserTicketId,
}

/// No ticket was created. Ends the saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TicketAddRejected {
    pub user_id: UserId,
    pub ticket_id: TicketId,
    pub user_ticket_id: UserTicketId,
    pub reason: Reason,
}

/// Change the fields of a ticket that are given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ChangeTicket {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket_id: Option<TicketId>,
    pub user_ticket_id: UserTicketId,
}

/// The ticket is as it says. Ends the saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TicketChanged {
    pub user_id: UserId,
    pub ticket_id: TicketId,
    pub user_ticket_id: UserTicketId,
    pub created_at: Timestamp,
}

/// The ticket is as it was. Ends the saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TicketChangeRejected {
    pub user_ticket_id: UserTicketId,
    pub reason: Reason,
}

/// Delete a ticket, and the registration made with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RemoveTicket {
    pub user_ticket_id: UserTicketId,
    /// Whose saga it is, if the one who asked was told apart. Decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
}

/// No registration with the ticket lives, nor ever will.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RegistrationsClosed {
    pub user_ticket_id: UserTicketId,
    /// The one that lived until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<RegistId>,
}

/// Nothing was deleted. Ends the saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TicketRemovalRejected {
    pub user_ticket_id: UserTicketId,
    pub reason: Reason,
}

/// The ticket is deleted, or there is none. Ends the saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TicketRemoved {
    pub user_ticket_id: UserTicketId,
}

/// Register a user with a ticket that the user has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Register {
    pub user_id: UserId,
    pub user_ticket_id: UserTicketId,
}

/// The ticket is the user's, and this saga holds it for its registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TicketHeld {
    pub user_id: UserId,
    pub ticket_id: TicketId,
    pub user_ticket_id: UserTicketId,
}

/// The user cannot register with this ticket. Ends the saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RegisterRejected {
    pub user_id: UserId,
    pub user_ticket_id: UserTicketId,
    pub reason: Reason,
}

/// The user is registered with the ticket. Ends the saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    pub regist_id: RegistId,
    pub user_id: UserId,
    pub ticket_id: TicketId,
    pub user_ticket_id: UserTicketId,
}

/// The user was not registered; the ticket must be let go. Starts the undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NotRegistered {
    pub user_id: UserId,
    pub ticket_id: TicketId,
    pub user_ticket_id: UserTicketId,
    pub reason: Reason,
}

/// The saga holds the ticket no more. Ends the saga: it is its undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TicketReleased {
    pub user_ticket_id: UserTicketId,
    pub cause: Reason,
}

/// Make a registration one of this user with this ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ChangeRegistration {
    pub regist_id: RegistId,
    pub user_id: UserId,
    pub user_ticket_id: UserTicketId,
    /// The ticket it has now.
    pub from: UserTicketId,
}

/// The new ticket is the user's, and held for the registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NewTicketHeld {
    pub regist_id: RegistId,
    pub user_id: UserId,
    pub ticket_id: TicketId,
    pub user_ticket_id: UserTicketId,
    /// The ticket it has now.
    pub from: UserTicketId,
}

/// The registration cannot have this ticket. Ends the saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RegistrationChangeRejected {
    pub regist_id: RegistId,
    pub user_ticket_id: UserTicketId,
    pub reason: Reason,
}

/// The registration is as it says; its old ticket must be let go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RegistrationChanged {
    pub regist_id: RegistId,
    pub user_id: UserId,
    pub ticket_id: TicketId,
    pub user_ticket_id: UserTicketId,
    pub created_at: Timestamp,
    /// The ticket it had.
    pub from: UserTicketId,
    /// The saga that made it, which holds its old ticket.
    pub held_by: SagaId,
}

/// The registration is as it was; the new ticket must be let go. Starts the undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RegistrationNotChanged {
    pub regist_id: RegistId,
    pub user_ticket_id: UserTicketId,
    pub reason: Reason,
}

/// The registration has its new ticket and no other. Ends the saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct OldTicketFreed {
    pub regist_id: RegistId,
    pub user_id: UserId,
    pub ticket_id: TicketId,
    pub user_ticket_id: UserTicketId,
    pub created_at: Timestamp,
    /// When it got the ticket.
    pub changed_at: Timestamp,
}

/// The saga holds the new ticket no more. Ends the saga: it is its undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NewTicketReleased {
    pub regist_id: RegistId,
    pub user_ticket_id: UserTicketId,
    pub cause: Reason,
}

/// Delete a registration, named by its id or by its user and ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CancelRegistration {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regist_id: Option<RegistId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_ticket_id: Option<UserTicketId>,
}

/// No such registration lives; its ticket must be let go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RegistrationCancelled {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regist_id: Option<RegistId>,
    /// The ticket, if one lived until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freed: Option<Freed>,
}

/// Nothing was deleted. Ends the saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CancellationRejected {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regist_id: Option<RegistId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_ticket_id: Option<UserTicketId>,
    pub reason: Reason,
}

/// The ticket of the deleted registration, if there was one, is free. Ends the saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TicketFreed {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regist_id: Option<RegistId>,
}

/// A ticket to be let go, and the saga that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Freed {
    pub ticket: UserTicketId,
    pub held_by: SagaId,
}
