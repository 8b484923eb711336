//! What the messages say that the world is like: every row that there should be, kept from each
//! message and its answer and from nothing else.
//!
//! Two things are judged by it. The state that a participant reached must be what it said. And
//! whatever the order of the sagas, a refusal for a live registration needs one, and a registration
//! needs that there is none: so of those that compete for one user and ticket exactly one wins, until
//! it is cancelled.

use std::collections::HashMap;

use events::{Event, Message, Reason, RegistId, SagaId, TicketId, UserId, UserTicketId};
use serde_json::{Value, json};

use super::cast::Cast;

#[derive(Debug, Default)]
pub(super) struct Books {
    tickets: HashMap<UserTicketId, Ticket>,
    places: HashMap<UserTicketId, Place>,
    /// The ticket of the live registration.
    registered: HashMap<Key, UserTicketId>,
}

type Key = (UserId, TicketId);

#[derive(Debug, PartialEq, Eq)]
struct Ticket {
    made_by: SagaId,
    key: Key,
    is_deleted: bool,
    held_by: Option<SagaId>,
}

/// What stands in the one place of a ticket.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Registered {
        id: RegistId,
        key: Key,
        held_by: SagaId,
    },
    Closed,
}

/// An answer that the world, as the messages before say it is, does not justify.
#[derive(Debug)]
pub(super) struct Unjustified {
    pub(super) needed: String,
    pub(super) found: String,
}

/// A row that is not as it should be.
#[derive(Debug)]
pub(super) struct Mismatch {
    pub(super) row: String,
    pub(super) said: Value,
    pub(super) found: Value,
}

impl Books {
    /// Enters what this answer says.
    pub(super) fn enter(&mut self, on: &Event, reply: &Message) -> Option<Unjustified> {
        let saga = on.saga_id;
        match reply {
            Message::RegistrationCompleted(m) => {
                let key = (m.user_id, m.ticket_id);
                return self.register(m.user_ticket_id, m.regist_id, key, saga);
            }
            Message::Registered(m) => {
                let key = (m.user_id, m.ticket_id);
                return self.register(m.user_ticket_id, m.regist_id, key, saga);
            }
            Message::RegistrationChanged(m) => {
                let is_moved = m.from != m.user_ticket_id;
                let holder = if is_moved { saga } else { m.held_by };
                self.vacate(m.from);
                let key = (m.user_id, m.ticket_id);
                return self.register(m.user_ticket_id, m.regist_id, key, holder);
            }
            Message::RegistrationFailed(m) => return self.refuse(on, &m.reason),
            Message::NotRegistered(m) => return self.refuse(on, &m.reason),
            Message::RegistrationNotChanged(m) => return self.refuse(on, &m.reason),
            Message::RegistrationCancelled(m) => {
                if let Some(freed) = m.freed {
                    self.vacate(freed.ticket);
                }
            }
            Message::RegistrationsClosed(m) => {
                self.vacate(m.user_ticket_id);
                self.places.insert(m.user_ticket_id, Place::Closed);
            }
            _ => self.enter_ticket(on, reply),
        }
        None
    }

    fn enter_ticket(&mut self, on: &Event, reply: &Message) {
        let saga = on.saga_id;
        match reply {
            Message::TicketPurchased(m) => {
                self.create(saga, m.user_ticket_id, (m.user_id, m.ticket_id), Some(saga));
            }
            Message::TicketAdded(m) => {
                self.create(saga, m.user_ticket_id, (m.user_id, m.ticket_id), None);
            }
            Message::TicketChanged(m) => self.change(m.user_ticket_id, |ticket| {
                ticket.key = (m.user_id, m.ticket_id);
            }),
            Message::TicketRemoved(m) => {
                self.change(m.user_ticket_id, |ticket| ticket.is_deleted = true);
            }
            Message::TicketDeleted(m) => self.change(m.user_ticket_id, |ticket| {
                ticket.is_deleted |= ticket.made_by == saga;
            }),
            Message::TicketHeld(m) => {
                self.change(m.user_ticket_id, |ticket| ticket.held_by = Some(saga));
            }
            Message::NewTicketHeld(m) if m.user_ticket_id != m.from => {
                self.change(m.user_ticket_id, |ticket| ticket.held_by = Some(saga));
            }
            Message::TicketReleased(m) => self.let_go(m.user_ticket_id, saga),
            Message::NewTicketReleased(m) => self.let_go(m.user_ticket_id, saga),
            _ => self.let_go_of_old(on),
        }
    }

    /// The answer to these does not say which ticket it let go.
    fn let_go_of_old(&mut self, on: &Event) {
        match &on.message {
            Message::RegistrationChanged(m) if m.from != m.user_ticket_id => {
                self.let_go(m.from, m.held_by);
            }
            Message::RegistrationCancelled(m) => {
                if let Some(freed) = m.freed {
                    self.let_go(freed.ticket, freed.held_by);
                }
            }
            _ => {}
        }
    }

    fn create(&mut self, saga: SagaId, id: UserTicketId, key: Key, held_by: Option<SagaId>) {
        let ticket = Ticket {
            made_by: saga,
            key,
            is_deleted: false,
            held_by,
        };
        self.tickets.insert(id, ticket);
    }

    fn change(&mut self, id: UserTicketId, change: impl FnOnce(&mut Ticket)) {
        self.tickets.get_mut(&id).map(change);
    }

    fn let_go(&mut self, id: UserTicketId, holder: SagaId) {
        self.change(id, |ticket| {
            if ticket.held_by == Some(holder) {
                ticket.held_by = None;
            }
        });
    }

    fn register(
        &mut self,
        ticket: UserTicketId,
        id: RegistId,
        key: Key,
        held_by: SagaId,
    ) -> Option<Unjustified> {
        let other = self.registered.insert(key, ticket);
        self.places
            .insert(ticket, Place::Registered { id, key, held_by });
        other.map(|other| Unjustified {
            needed: format!(
                "no live registration of user {} for ticket {}",
                key.0, key.1
            ),
            found: format!("one with userTicketId {other}"),
        })
    }

    fn vacate(&mut self, ticket: UserTicketId) {
        if let Some(Place::Registered { key, .. }) = self.places.remove(&ticket)
            && self.registered.get(&key) == Some(&ticket)
        {
            self.registered.remove(&key);
        }
    }

    fn refuse(&self, on: &Event, reason: &Reason) -> Option<Unjustified> {
        let asked = on.message.particulars();
        let key = (asked.user_id?, asked.ticket_id?);
        let is_justified =
            *reason != Reason::ALREADY_REGISTERED || self.registered.contains_key(&key);
        (!is_justified).then(|| Unjustified {
            needed: format!("a live registration of user {} for ticket {}", key.0, key.1),
            found: "none".to_owned(),
        })
    }

    /// Where what a participant has of this ticket is not what the messages say.
    pub(super) fn compare(&self, id: UserTicketId, cast: &Cast) -> Vec<Mismatch> {
        let row = cast.tickets.ticket(id).map(|row| Ticket {
            made_by: row.saga_id,
            key: (row.ticket.user_id, row.ticket.ticket_id),
            is_deleted: row.ticket.deleted_at.is_some(),
            held_by: row.ticket.held_by,
        });
        let place = match cast.regists.regist_with(id) {
            Some(regist) => Some(Place::Registered {
                id: regist.id,
                key: (regist.user_id, regist.ticket_id),
                held_by: regist.saga_id,
            }),
            None => cast.regists.is_closed(id).then_some(Place::Closed),
        };
        let mut mismatches = Vec::new();
        if self.tickets.get(&id) != row.as_ref() {
            mismatches.push(Mismatch {
                row: format!("user_ticket {id}"),
                said: self.tickets.get(&id).map_or(Value::Null, Ticket::to_json),
                found: row.as_ref().map_or(Value::Null, Ticket::to_json),
            });
        }
        if self.places.get(&id) != place.as_ref() {
            mismatches.push(Mismatch {
                row: format!("regist with user_ticket {id}"),
                said: self.places.get(&id).map_or(Value::Null, Place::to_json),
                found: place.as_ref().map_or(Value::Null, Place::to_json),
            });
        }
        mismatches
    }

    /// Lets go of what nobody will ask for again.
    pub(super) fn forget(&mut self, tickets: &[UserTicketId]) {
        for ticket in tickets {
            self.tickets.remove(ticket);
            self.vacate(*ticket);
        }
    }
}

/// The tickets that an answer is about and its particulars do not name.
pub(super) fn also_touched(answer: &Message) -> Option<UserTicketId> {
    match answer {
        Message::NewTicketHeld(m) => Some(m.from),
        Message::RegistrationChanged(m) => Some(m.from),
        Message::RegistrationCancelled(m) => m.freed.map(|freed| freed.ticket),
        _ => None,
    }
}

impl Ticket {
    fn to_json(&self) -> Value {
        json!({
            "userId": self.key.0,
            "ticketId": self.key.1,
            "madeBy": self.made_by,
            "deleted": self.is_deleted,
            "heldBy": self.held_by,
        })
    }
}

impl Place {
    fn to_json(&self) -> Value {
        match self {
            Self::Closed => json!("closed for ever"),
            Self::Registered { id, key, held_by } => json!({
                "registId": id,
                "userId": key.0,
                "ticketId": key.1,
                "madeBy": held_by,
            }),
        }
    }
}
