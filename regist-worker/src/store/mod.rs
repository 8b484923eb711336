//! All the SQL of the regist-worker: PostgreSQL and SQLite side by side, the same statements in
//! each one's words.

mod postgres;
mod sqlite;

pub(crate) use postgres::PostgresStore;
pub(crate) use sqlite::SqliteStore;

use std::collections::BTreeSet;

use events::{Event, Message, TicketId, UserId};

/// The users and tickets that a batch asks to register, each once.
fn keys_of(events: &[Event]) -> BTreeSet<(UserId, TicketId)> {
    let key = |event: &Event| match &event.message {
        Message::TicketPurchased(ticket) => Some((ticket.user_id, ticket.ticket_id)),
        _ => None,
    };
    events.iter().filter_map(key).collect()
}
