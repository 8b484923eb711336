//! `user_ticket` in memory: the storage of a simulated or replayed ticket-worker. It means what the
//! SQL beside it means, so whoever passes with the one passes with the other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use events::{Event, Timestamp, UserTicketId};
use saga::decision::{Changes, Decision, Snapshot};
use saga::failure::Failure;
use saga::store::memory::DecisionTable;
use saga::store::{Store, sagas_of};

use super::by_kind;
use crate::decide::{Effect, TicketDecider, UserTicket};

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
    pub ticket: UserTicket,
    pub deleted_at: Option<Timestamp>,
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
    async fn load(&self, events: &[Event]) -> Result<Snapshot<()>, Failure> {
        Ok(Snapshot {
            decisions: self.tables().decisions.load(&sagas_of(events)),
            facts: (),
        })
    }

    async fn commit(&self, changes: &Changes<Effect>) -> Result<(), Failure> {
        let tables = &mut *self.tables();
        let staged = tables.decisions.stage(changes)?;
        let (created, deleted) = by_kind(&changes.effects);
        let mut new = BTreeMap::new();
        for ticket in created {
            let row = Row {
                ticket: ticket.clone(),
                deleted_at: None,
            };
            if tables.tickets.contains_key(&ticket.id) || new.insert(ticket.id, row).is_some() {
                return Err(Failure::handling(Duplicate(ticket.id)));
            }
        }
        tables.decisions.write(staged);
        tables.tickets.extend(new);
        for gone in deleted {
            let row = tables.tickets.get_mut(&gone.id);
            if let Some(row) = row.filter(|row| row.ticket.saga_id == gone.saga_id) {
                row.deleted_at.get_or_insert(gone.at);
            }
        }
        Ok(())
    }
}
