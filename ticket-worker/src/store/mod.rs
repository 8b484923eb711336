//! All the SQL of the ticket-worker: PostgreSQL and SQLite side by side, the same statements in
//! each one's words.

pub mod memory;
mod postgres;
mod reads;
mod sqlite;

pub(crate) use postgres::PostgresStore;
pub(crate) use sqlite::SqliteStore;

use crate::decide::{Effect, UserTicket};

/// A batch's effects by kind: creations are applied before deletions.
fn by_kind(effects: &[Effect]) -> (Vec<&UserTicket>, Vec<Deletion>) {
    let (mut created, mut deleted) = (Vec::new(), Vec::new());
    for effect in effects {
        match effect {
            Effect::Create(ticket) => created.push(ticket),
            Effect::Delete { id, saga_id, at } => {
                deleted.push(Deletion {
                    id: *id,
                    saga_id: *saga_id,
                    at: *at,
                });
            }
        }
    }
    (created, deleted)
}

#[derive(serde::Serialize)]
struct Deletion {
    id: events::UserTicketId,
    saga_id: events::SagaId,
    at: events::Timestamp,
}
