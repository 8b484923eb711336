//! `user_ticket` in memory: the storage of a simulated or replayed ticket-worker. It means what the
//! SQL beside it means, so whoever passes with the one passes with the other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use events::{Event, SagaId, TicketId, Timestamp, UserId, UserTicketId};
use saga::decision::{Changes, Decision, Snapshot};
use saga::failure::Failure;
use saga::store::memory::DecisionTable;
use saga::store::{Store, sagas_of};

use super::{ByKind, Saved, tickets_of_all};
use crate::decide::{Effect, NewTicket, Ticket, TicketDecider, Tickets};

/// A database for tickets. Clones are the same database, as replicas have it.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Tables>>);

#[derive(Debug, Default)]
struct Tables {
    decisions: DecisionTable,
    tickets: BTreeMap<UserTicketId, Row>,
}

/// A row of `user_ticket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// As it is now.
    pub ticket: Ticket,
    /// The saga that created it.
    pub saga_id: SagaId,
}

/// Two sagas were given one ticket id: the primary key of `user_ticket` is violated.
#[derive(Debug, thiserror::Error)]
#[error("there is a ticket {0} already")]
struct Duplicate(UserTicketId);

impl MemoryStore {
    /// Every row, deleted ones included.
    pub fn tickets(&self) -> Vec<Row> {
        self.tables().tickets.values().cloned().collect()
    }

    /// The row of this ticket, if there is one.
    pub fn ticket(&self, id: UserTicketId) -> Option<Row> {
        self.tables().tickets.get(&id).cloned()
    }

    /// Takes rows out, for a replay that will not hear of these sagas and tickets again.
    pub fn forget(&self, sagas: &[SagaId], tickets: &[UserTicketId]) {
        let tables = &mut *self.tables();
        tables.decisions.forget(sagas);
        for ticket in tickets {
            tables.tickets.remove(ticket);
        }
    }

    pub fn decisions(&self) -> Vec<Decision> {
        self.tables().decisions.rows().cloned().collect()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0
            .lock()
            .expect("nothing panics with the tables in hand")
    }
}

#[async_trait]
impl Store<TicketDecider> for MemoryStore {
    async fn load(&self, events: &[Event]) -> Result<Snapshot<Tickets>, Failure> {
        let tables = self.tables();
        let asked = tickets_of_all(events).into_iter();
        let found = asked.filter_map(|id| Some((id, tables.tickets.get(&id)?.ticket.clone())));
        Ok(Snapshot {
            decisions: tables.decisions.load(&sagas_of(events)),
            facts: Tickets(found.collect()),
        })
    }

    async fn commit(&self, changes: &Changes<Effect>) -> Result<(), Failure> {
        let tables = &mut *self.tables();
        let staged = tables.decisions.stage(changes)?;
        let ByKind {
            created,
            deleted,
            saved,
        } = ByKind::of(&changes.effects);
        let mut new = BTreeMap::new();
        for ticket in created {
            let row = Row::of(ticket);
            if tables.tickets.contains_key(&ticket.id) || new.insert(ticket.id, row).is_some() {
                return Err(Failure::handling(Duplicate(ticket.id)));
            }
        }
        for Saved {
            id, from_version, ..
        } in &saved
        {
            let row = tables.tickets.get(id);
            if row.is_none_or(|row| row.ticket.version != *from_version) {
                return Err(Failure::Conflict);
            }
        }
        tables.decisions.write(staged);
        tables.tickets.extend(new);
        for gone in deleted {
            let row = tables.tickets.get_mut(&gone.id);
            if let Some(row) = row.filter(|row| row.saga_id == gone.saga_id) {
                row.delete(gone.at);
            }
        }
        for saved in saved {
            if let Some(row) = tables.tickets.get_mut(&saved.id) {
                row.save(&saved);
            }
        }
        Ok(())
    }
}

impl Row {
    fn of(ticket: &NewTicket) -> Self {
        Self {
            saga_id: ticket.saga_id,
            ticket: Ticket {
                id: ticket.id,
                user_id: ticket.user_id,
                ticket_id: ticket.ticket_id,
                created_at: ticket.created_at,
                updated_at: ticket.created_at,
                deleted_at: None,
                held_by: ticket.held_by,
                version: 0,
            },
        }
    }

    fn delete(&mut self, at: Timestamp) {
        if self.ticket.deleted_at.is_none() {
            self.ticket.deleted_at = Some(at);
            self.ticket.updated_at = at;
            self.ticket.version += 1;
        }
    }

    fn save(&mut self, saved: &Saved) {
        self.ticket = Ticket {
            user_id: UserId::from_sql(saved.user_id),
            ticket_id: TicketId::from_sql(saved.ticket_id),
            updated_at: saved.updated_at,
            deleted_at: saved.deleted_at,
            held_by: saved.held_by,
            version: saved.to_version,
            ..self.ticket
        };
    }
}
