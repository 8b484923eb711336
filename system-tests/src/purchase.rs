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

/// The user whose tickets cannot be stored, once the ticket worker's PostgreSQL has [`POISON`] in it.
pub const POISONED_USER: u64 = 13;

/// A ticket of one user cannot be stored, whatever travels with it.
pub const POISON: &str = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
    $$ BEGIN RAISE EXCEPTION 'the seat plan is locked'; END $$; \
    CREATE TRIGGER poison BEFORE INSERT ON user_ticket FOR EACH ROW \
    WHEN (NEW.user_id = 13) EXECUTE FUNCTION refuse()";
