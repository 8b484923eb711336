//! All the SQL of the ticket-worker: PostgreSQL and SQLite side by side, the same statements in
//! each one's words.

pub mod memory;
mod postgres;
mod reads;
mod sqlite;

pub(crate) use postgres::PostgresStore;
pub(crate) use sqlite::SqliteStore;

use std::collections::BTreeMap;

use events::{Event, Message, SagaId, Timestamp, UserTicketId};

use crate::decide::{Effect, NewTicket, Ticket};

/// The tickets that deciding an event takes into account. A purchase makes a new one, and its undo
/// knows it from its decision.
fn tickets_of(event: &Event) -> Vec<UserTicketId> {
    match &event.message {
        Message::ChangeTicket(m) => vec![m.user_ticket_id],
        Message::RegistrationsClosed(m) => vec![m.user_ticket_id],
        Message::Register(m) => vec![m.user_ticket_id],
        Message::NotRegistered(m) => vec![m.user_ticket_id],
        Message::ChangeRegistration(m) => vec![m.user_ticket_id],
        Message::RegistrationChanged(m) => vec![m.from],
        Message::RegistrationNotChanged(m) => vec![m.user_ticket_id],
        Message::RegistrationCancelled(m) => m.freed.iter().map(|freed| freed.ticket).collect(),
        _ => Vec::new(),
    }
}

/// The same of a batch, each once.
fn tickets_of_all(events: &[Event]) -> Vec<UserTicketId> {
    let mut tickets: Vec<_> = events.iter().flat_map(tickets_of).collect();
    tickets.sort_unstable();
    tickets.dedup();
    tickets
}

/// A batch's effects by kind: creations are applied before deletions.
#[derive(Default)]
struct ByKind<'a> {
    created: Vec<&'a NewTicket>,
    deleted: Vec<Deletion>,
    saved: Vec<Saved>,
}

impl<'a> ByKind<'a> {
    fn of(effects: &'a [Effect]) -> Self {
        let mut all = Self::default();
        let mut saved = BTreeMap::new();
        for effect in effects {
            match effect {
                Effect::Create(ticket) => all.created.push(ticket),
                Effect::Delete { id, saga_id, at } => {
                    all.deleted.push(Deletion {
                        id: *id,
                        saga_id: *saga_id,
                        at: *at,
                    });
                }
                Effect::Save(ticket) => {
                    let first = saved.entry(ticket.id).or_insert_with(|| Saved::of(ticket));
                    first.becomes(ticket);
                }
            }
        }
        all.saved = saved.into_values().collect();
        all
    }
}

#[derive(serde::Serialize)]
struct Deletion {
    id: UserTicketId,
    saga_id: SagaId,
    at: Timestamp,
}

/// What a batch makes of a ticket, whatever it does in between.
#[derive(serde::Serialize)]
struct Saved {
    id: UserTicketId,
    /// As it was when the batch was decided.
    from_version: i64,
    to_version: i64,
    user_id: i64,
    ticket_id: i64,
    updated_at: Timestamp,
    deleted_at: Option<Timestamp>,
    held_by: Option<SagaId>,
}

impl Saved {
    fn of(ticket: &Ticket) -> Self {
        Self {
            id: ticket.id,
            from_version: ticket.version,
            to_version: ticket.version + 1,
            user_id: ticket.user_id.to_sql(),
            ticket_id: ticket.ticket_id.to_sql(),
            updated_at: ticket.updated_at,
            deleted_at: ticket.deleted_at,
            held_by: ticket.held_by,
        }
    }

    fn becomes(&mut self, ticket: &Ticket) {
        let from_version = self.from_version;
        *self = Self {
            from_version,
            ..Self::of(ticket)
        };
    }
}
