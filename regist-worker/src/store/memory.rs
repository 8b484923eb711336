//! `regist` in memory: the storage of a simulated or replayed regist-worker. It means what the SQL
//! beside it means, the unique index of the business rule included.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use events::{Event, RegistId, TicketId, UserId};
use saga::decision::{Changes, Decision, Snapshot};
use saga::failure::Failure;
use saga::store::memory::DecisionTable;
use saga::store::{Store, sagas_of};

use super::key_of;
use crate::decide::{Regist, RegistDecider, Registered};

/// A database for registrations. Clones are the same database, as replicas have it.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Tables>>);

#[derive(Debug, Default)]
struct Tables {
    decisions: DecisionTable,
    /// No message takes a registration back, so all of them are live.
    regists: BTreeMap<RegistId, Regist>,
    live: BTreeSet<(UserId, TicketId)>,
}

/// Two registrations were given one id: the primary key of `regist` is violated.
#[derive(Debug, thiserror::Error)]
#[error("there is a registration {0} already")]
struct Duplicate(RegistId);

impl MemoryStore {
    /// The live registrations.
    pub fn regists(&self) -> Vec<Regist> {
        self.tables().regists.values().cloned().collect()
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
impl Store<RegistDecider> for MemoryStore {
    async fn load(&self, events: &[Event]) -> Result<Snapshot<Registered>, Failure> {
        let tables = self.tables();
        let keys = events.iter().filter_map(key_of);
        Ok(Snapshot {
            decisions: tables.decisions.load(&sagas_of(events)),
            facts: Registered(keys.filter(|key| tables.live.contains(key)).collect()),
        })
    }

    async fn commit(&self, changes: &Changes<Regist>) -> Result<(), Failure> {
        let tables = &mut *self.tables();
        let staged = tables.decisions.stage(changes)?;
        let (mut new, mut taken) = (BTreeMap::new(), BTreeSet::new());
        for regist in &changes.effects {
            let key = (regist.user_id, regist.ticket_id);
            if tables.live.contains(&key) || !taken.insert(key) {
                return Err(Failure::Conflict);
            }
            let known = tables.regists.contains_key(&regist.id);
            if known || new.insert(regist.id, regist.clone()).is_some() {
                return Err(Failure::handling(Duplicate(regist.id)));
            }
        }
        tables.decisions.write(staged);
        tables.regists.extend(new);
        tables.live.extend(taken);
        Ok(())
    }
}
