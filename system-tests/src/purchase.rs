//! A command as a gateway would send it, for tests that stand in for one.

use events::{
    Event, MessageType, PurchaseAndRegister, SagaId, TicketId, Timestamp, UserId, UserTicketId,
};

/// Begins a saga of its own: this user buys the one ticket there is.
pub fn purchase(user: u64) -> Event {
    let saga_id = SagaId::mint();
    Event {
        id: Event::id_of(saga_id, MessageType::PurchaseAndRegister),
        source: "api-gateway".into(),
        time: Timestamp::now(),
        saga_id,
        causation_id: None,
        traceparent: None,
        reply_to: None,
        deadline: None,
        message: PurchaseAndRegister {
            user_id: UserId(user),
            ticket_id: TicketId(1),
            user_ticket_id: UserTicketId::mint(),
        }
        .into(),
    }
}
