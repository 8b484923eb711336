//! The commands that the load consists of, as the gateway would mint them. The bare relay sends the
//! bytes of the same events, so that both sides move the same messages.

use std::borrow::Cow;
use std::time::Duration;

use events::choreography::{API_GATEWAY, REGIST_WORKER, TICKET_WORKER};
use events::{
    Cause, Event, Message, MessageType, PurchaseAndRegister, Reason, RegistId,
    RegistrationCompleted, RegistrationFailed, SagaId, TicketDeleted, TicketId, TicketPurchased,
    Timestamp, UserId, UserTicketId,
};

/// Callers trace; the W3C example value has the length of every other.
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Longer than any measurement: a saga that waits in a backlog is not to be refused for that.
const DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// A fresh saga of this user and ticket, to be answered to this gateway instance.
pub(crate) fn command(instance: &str, user_id: UserId, ticket_id: TicketId) -> Event {
    let (saga_id, now) = (SagaId::mint(), Timestamp::now());
    let user_ticket_id = UserTicketId::mint();
    Event {
        id: Event::id_of(saga_id, MessageType::PurchaseAndRegister),
        source: Cow::Borrowed(API_GATEWAY.0),
        time: now,
        saga_id,
        causation_id: None,
        traceparent: Some(TRACEPARENT.to_owned()),
        reply_to: Some(instance.to_owned()),
        deadline: Some(now + DEADLINE),
        message: Message::PurchaseAndRegister(PurchaseAndRegister {
            user_id,
            ticket_id,
            user_ticket_id,
        }),
    }
}

/// The bytes of one event of the usual size.
pub(crate) fn one_event() -> Vec<u8> {
    command("bench", UserId(1_234_567), TicketId(7)).to_json()
}

/// Every event of a saga that completes and of one that is compensated.
pub(crate) fn every_event(instance: &str) -> Vec<Event> {
    let (user_id, ticket_id) = (UserId(1_234_567), TicketId(7));
    let command = command(instance, user_id, ticket_id);
    let user_ticket_id = UserTicketId::mint();
    let then = |by: &Event, source, message: Message| {
        let time = by.time;
        Event::caused(&Cause { by, source, time }, message)
    };
    let purchased = TicketPurchased {
        user_id,
        ticket_id,
        user_ticket_id,
    };
    let purchased = then(&command, TICKET_WORKER.0, purchased.into());
    let regist_id = RegistId::mint();
    let completed = RegistrationCompleted {
        regist_id,
        user_id,
        ticket_id,
        user_ticket_id,
    };
    let completed = then(&purchased, REGIST_WORKER.0, completed.into());
    let reason = Reason::ALREADY_REGISTERED;
    let failed = RegistrationFailed {
        user_id,
        ticket_id,
        user_ticket_id,
        reason,
    };
    let failed = then(&purchased, REGIST_WORKER.0, failed.into());
    let cause = Reason::ALREADY_REGISTERED;
    let deleted = then(
        &failed,
        TICKET_WORKER.0,
        TicketDeleted {
            user_ticket_id,
            cause,
        }
        .into(),
    );
    vec![command, purchased, completed, failed, deleted]
}
