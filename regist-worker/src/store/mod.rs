//! All the SQL of the regist-worker: PostgreSQL and SQLite side by side, the same statements in
//! each one's words.

pub mod memory;
mod postgres;
mod reads;
mod sqlite;

pub(crate) use postgres::PostgresStore;
pub(crate) use sqlite::SqliteStore;

use events::{Event, Message, RegistId, SagaId, TicketId, Timestamp, UserId, UserTicketId};

use crate::decide::{Closing, Effect, Regist, Seen};

/// What deciding an event takes into account.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    /// The user and the ticket on sale that are to be registered.
    key: Option<(UserId, TicketId)>,
    /// The bought ticket, which may be closed.
    place: Option<UserTicketId>,
    /// The registration that is to be changed or cancelled, by its id or by its ticket.
    regist: Option<RegistId>,
    regist_with: Option<UserTicketId>,
}

impl Asked {
    fn by(event: &Event) -> Self {
        let to_register = |key, place| Self {
            key: Some(key),
            place: Some(place),
            ..Self::default()
        };
        match &event.message {
            Message::TicketPurchased(m) => to_register((m.user_id, m.ticket_id), m.user_ticket_id),
            Message::TicketHeld(m) => to_register((m.user_id, m.ticket_id), m.user_ticket_id),
            Message::NewTicketHeld(m) => Self {
                regist: Some(m.regist_id),
                ..to_register((m.user_id, m.ticket_id), m.user_ticket_id)
            },
            Message::CancelRegistration(m) => Self {
                regist: m.regist_id,
                regist_with: m.user_ticket_id,
                ..Self::default()
            },
            Message::RemoveTicket(m) => Self {
                place: Some(m.user_ticket_id),
                regist_with: Some(m.user_ticket_id),
                ..Self::default()
            },
            _ => Self::default(),
        }
    }
}

/// A batch's effects by kind. A batch has one kind of them, as a queue has.
#[derive(Default)]
struct ByKind<'a> {
    created: Vec<&'a Regist>,
    moved: Vec<Moved<'a>>,
    cancelled: Vec<Cancelled>,
    closed: Vec<&'a Closing>,
}

struct Moved<'a> {
    from: Seen,
    to: &'a Regist,
    at: Timestamp,
}

#[derive(serde::Serialize)]
struct Cancelled {
    id: RegistId,
    saga_id: SagaId,
    at: Timestamp,
    is_tombstone: bool,
}

impl<'a> ByKind<'a> {
    fn of(effects: &'a [Effect]) -> Self {
        let mut all = Self::default();
        for effect in effects {
            match effect {
                Effect::Create(regist) => all.created.push(regist),
                Effect::Move { from, to, at } => all.moved.push(Moved {
                    from: *from,
                    to,
                    at: *at,
                }),
                Effect::Cancel { of, at } => all.cancelled.push(Cancelled {
                    id: of.id,
                    saga_id: of.saga_id,
                    at: *at,
                    is_tombstone: false,
                }),
                Effect::Close(closing) => match closing.of {
                    Some(Seen { id, saga_id }) => all.cancelled.push(Cancelled {
                        id,
                        saga_id,
                        at: closing.at,
                        is_tombstone: true,
                    }),
                    None => all.closed.push(closing),
                },
            }
        }
        all
    }

    /// Whether all of it is new registrations.
    fn only_creates(&self) -> bool {
        self.moved.is_empty() && self.cancelled.is_empty() && self.closed.is_empty()
    }
}
