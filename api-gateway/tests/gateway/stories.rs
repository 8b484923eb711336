//! Sagas as their messages, as the workers would publish them.

use events::{
    Cause, Event, Message, MessageType, PurchaseAndRegister, PurchaseRejected, Reason, RegistId,
    RegistrationCompleted, RegistrationFailed, SagaId, TicketDeleted, TicketId, TicketPurchased,
    Timestamp, UserId, UserTicketId,
};

pub(crate) const USER: UserId = UserId(7);
pub(crate) const TICKET: TicketId = TicketId(42);

pub(crate) fn command() -> Event {
    let (saga_id, time) = (SagaId::mint(), Timestamp::now());
    Event {
        id: Event::id_of(saga_id, MessageType::PurchaseAndRegister),
        source: "api-gateway".into(),
        time,
        saga_id,
        causation_id: None,
        traceparent: None,
        reply_to: None,
        deadline: None,
        message: PurchaseAndRegister {
            user_id: USER,
            ticket_id: TICKET,
            user_ticket_id: UserTicketId::mint(),
        }
        .into(),
    }
}

fn answer(by: &Event, source: &'static str, message: impl Into<Message>) -> Event {
    let time = Timestamp::now();
    Event::caused(&Cause { by, source, time }, message.into())
}

fn ids(command: &Event) -> (UserId, TicketId, UserTicketId) {
    let ids = command.message.particulars();
    let all = (ids.user_id, ids.ticket_id, ids.user_ticket_id);
    (all.0.unwrap(), all.1.unwrap(), all.2.unwrap())
}

/// What follows a command when all goes well.
pub(crate) fn completed(command: &Event) -> Vec<Event> {
    let (user_id, ticket_id, user_ticket_id) = ids(command);
    let purchased = TicketPurchased {
        user_id,
        ticket_id,
        user_ticket_id,
    };
    let purchased = answer(command, "ticket-worker", purchased);
    let registered = RegistrationCompleted {
        regist_id: RegistId::mint(),
        user_id,
        ticket_id,
        user_ticket_id,
    };
    let registered = answer(&purchased, "regist-worker", registered);
    vec![purchased, registered]
}

/// What follows a command when the registration is refused.
pub(crate) fn compensated(command: &Event, reason: Reason) -> Vec<Event> {
    let (user_id, ticket_id, user_ticket_id) = ids(command);
    let purchased = completed(command).remove(0);
    let failed = RegistrationFailed {
        user_id,
        ticket_id,
        user_ticket_id,
        reason: reason.clone(),
    };
    let failed = answer(&purchased, "regist-worker", failed);
    let deleted = TicketDeleted {
        user_ticket_id,
        cause: reason,
    };
    let deleted = answer(&failed, "ticket-worker", deleted);
    vec![purchased, failed, deleted]
}

/// What follows a command when the purchase is refused.
pub(crate) fn rejected(command: &Event, reason: Reason) -> Vec<Event> {
    let (user_id, ticket_id, user_ticket_id) = ids(command);
    let rejected = PurchaseRejected {
        user_id,
        ticket_id,
        user_ticket_id,
        reason,
    };
    vec![answer(command, "ticket-worker", rejected)]
}

/// A whole saga that ends well.
pub(crate) fn whole() -> Vec<Event> {
    let command = command();
    let rest = completed(&command);
    [vec![command], rest].concat()
}
