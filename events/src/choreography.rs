//! THE ONE TABLE: who reacts to which message, what it may answer, what undoes what, what ends a
//! saga, and how long each step may take.
//!
//! Queues, bindings, the status of a saga, the step it waits for, overdue steps, the all-in-one's
//! wiring and `docs/choreography.md` are derived from it ([`model`]). To add a step, add a row.
//!
//! A row reads: *this service, on this message, says this, or refuses with this*.

mod model;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::MessageType as M;

pub use model::{
    End, Outcome, Role, Saga, Service, Step, is_undo, may_end_a_saga, saga_of, step, steps,
};

pub const API_GATEWAY: Service = Service("api-gateway");
pub const TICKET_WORKER: Service = Service("ticket-worker");
pub const REGIST_WORKER: Service = Service("regist-worker");

/// The services that answer questions about what they own ([`crate::query`]).
pub const OWNERS: [Service; 2] = [TICKET_WORKER, REGIST_WORKER];

/// Callers give up after some ten seconds; what starts much later would surprise them.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Buys a ticket and registers the user with it, both or neither.
pub const PURCHASE_AND_REGISTER: Saga = Saga {
    name: "PurchaseAndRegister",
    start: M::PurchaseAndRegister,
    deadline: START_DEADLINE,
    steps: &[
        Step::does(
            TICKET_WORKER,
            M::PurchaseAndRegister,
            M::TicketPurchased,
            M::PurchaseRejected,
        ),
        Step::does(
            REGIST_WORKER,
            M::TicketPurchased,
            M::RegistrationCompleted,
            M::RegistrationFailed,
        ),
        Step::undoes(
            TICKET_WORKER,
            M::RegistrationFailed,
            M::PurchaseAndRegister,
            M::TicketDeleted,
        ),
    ],
    ends: &[
        End::completed(M::RegistrationCompleted),
        End::rejected(M::PurchaseRejected),
        End::compensated(M::TicketDeleted),
    ],
};

/// Creates a ticket, with no registration.
pub const ADD_TICKET: Saga = Saga {
    name: "AddTicket",
    start: M::AddTicket,
    deadline: START_DEADLINE,
    steps: &[Step::does(
        TICKET_WORKER,
        M::AddTicket,
        M::TicketAdded,
        M::TicketAddRejected,
    )],
    ends: &[
        End::completed(M::TicketAdded),
        End::rejected(M::TicketAddRejected),
    ],
};

/// Changes fields of a ticket that no registration holds.
pub const CHANGE_TICKET: Saga = Saga {
    name: "ChangeTicket",
    start: M::ChangeTicket,
    deadline: START_DEADLINE,
    steps: &[Step::does(
        TICKET_WORKER,
        M::ChangeTicket,
        M::TicketChanged,
        M::TicketChangeRejected,
    )],
    ends: &[
        End::completed(M::TicketChanged),
        End::rejected(M::TicketChangeRejected),
    ],
};

/// Deletes a ticket, and before it the registration made with it, so that at no moment a live
/// registration has a deleted ticket.
pub const REMOVE_TICKET: Saga = Saga {
    name: "RemoveTicket",
    start: M::RemoveTicket,
    deadline: START_DEADLINE,
    steps: &[
        Step::does(
            REGIST_WORKER,
            M::RemoveTicket,
            M::RegistrationsClosed,
            M::TicketRemovalRejected,
        ),
        Step::finishes(TICKET_WORKER, M::RegistrationsClosed, M::TicketRemoved),
    ],
    ends: &[
        End::completed(M::TicketRemoved),
        End::rejected(M::TicketRemovalRejected),
    ],
};

/// Registers a user with a ticket that the user has. The ticket is held first, so that it is not
/// changed, nor used for another registration, meanwhile.
pub const REGISTER: Saga = Saga {
    name: "Register",
    start: M::Register,
    deadline: START_DEADLINE,
    steps: &[
        Step::does(
            TICKET_WORKER,
            M::Register,
            M::TicketHeld,
            M::RegisterRejected,
        ),
        Step::does(
            REGIST_WORKER,
            M::TicketHeld,
            M::Registered,
            M::NotRegistered,
        ),
        Step::undoes(
            TICKET_WORKER,
            M::NotRegistered,
            M::Register,
            M::TicketReleased,
        ),
    ],
    ends: &[
        End::completed(M::Registered),
        End::rejected(M::RegisterRejected),
        End::compensated(M::TicketReleased),
    ],
};

/// Gives a registration another ticket. The new one is held first, the old one let go last.
pub const CHANGE_REGISTRATION: Saga = Saga {
    name: "ChangeRegistration",
    start: M::ChangeRegistration,
    deadline: START_DEADLINE,
    steps: &[
        Step::does(
            TICKET_WORKER,
            M::ChangeRegistration,
            M::NewTicketHeld,
            M::RegistrationChangeRejected,
        ),
        Step::does(
            REGIST_WORKER,
            M::NewTicketHeld,
            M::RegistrationChanged,
            M::RegistrationNotChanged,
        ),
        Step::finishes(TICKET_WORKER, M::RegistrationChanged, M::OldTicketFreed),
        Step::undoes(
            TICKET_WORKER,
            M::RegistrationNotChanged,
            M::ChangeRegistration,
            M::NewTicketReleased,
        ),
    ],
    ends: &[
        End::completed(M::OldTicketFreed),
        End::rejected(M::RegistrationChangeRejected),
        End::compensated(M::NewTicketReleased),
    ],
};

/// Deletes a registration. Its ticket stays, free for another one.
pub const CANCEL_REGISTRATION: Saga = Saga {
    name: "CancelRegistration",
    start: M::CancelRegistration,
    deadline: START_DEADLINE,
    steps: &[
        Step::does(
            REGIST_WORKER,
            M::CancelRegistration,
            M::RegistrationCancelled,
            M::CancellationRejected,
        ),
        Step::finishes(TICKET_WORKER, M::RegistrationCancelled, M::TicketFreed),
    ],
    ends: &[
        End::completed(M::TicketFreed),
        End::rejected(M::CancellationRejected),
    ],
};

/// Every saga of the system.
pub const SAGAS: &[&Saga] = &[
    &PURCHASE_AND_REGISTER,
    &ADD_TICKET,
    &CHANGE_TICKET,
    &REMOVE_TICKET,
    &REGISTER,
    &CHANGE_REGISTRATION,
    &CANCEL_REGISTRATION,
];
