//! All the SQL of the regist-worker: PostgreSQL and SQLite side by side, the same statements in
//! each one's words.

pub mod memory;
mod postgres;
mod reads;
mod sqlite;

pub(crate) use postgres::PostgresStore;
pub(crate) use sqlite::SqliteStore;

use events::{Event, Message, TicketId, UserId};

/// The user and ticket that an event asks to register.
fn key_of(event: &Event) -> Option<(UserId, TicketId)> {
    match &event.message {
        Message::TicketPurchased(ticket) => Some((ticket.user_id, ticket.ticket_id)),
        _ => None,
    }
}
