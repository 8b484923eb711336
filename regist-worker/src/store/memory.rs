//! `regist` in memory: the storage of a simulated or replayed regist-worker. It means what the SQL
//! beside it means, the unique indexes of the business rules included.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use events::{Event, RegistId, TicketId, UserId, UserTicketId};
use saga::decision::{Changes, Decision, Snapshot};
use saga::failure::Failure;
use saga::store::memory::DecisionTable;
use saga::store::{Store, sagas_of};

use super::Asked;
use crate::decide::{Effect, Regist, RegistDecider, Registrations, Seen};

/// A database for registrations. Clones are the same database, as replicas have it.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Tables>>);

#[derive(Debug, Default)]
struct Tables {
    decisions: DecisionTable,
    rows: Rows,
}

/// The rows, and the unique indexes on them.
#[derive(Clone, Debug, Default)]
struct Rows {
    live: BTreeMap<RegistId, Regist>,
    keys: BTreeSet<(UserId, TicketId)>,
    /// The live registration of a ticket; none is a tombstone.
    places: BTreeMap<UserTicketId, Option<RegistId>>,
}

/// Two registrations were given one id: the primary key of `regist` is violated.
#[derive(Debug, thiserror::Error)]
#[error("there is a registration {0} already")]
struct Duplicate(RegistId);

impl MemoryStore {
    /// The live registrations.
    pub fn regists(&self) -> Vec<Regist> {
        self.tables().rows.live.values().cloned().collect()
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
    async fn load(&self, events: &[Event]) -> Result<Snapshot<Registrations>, Failure> {
        let tables = self.tables();
        let mut facts = Registrations::default();
        for asked in events.iter().map(Asked::by) {
            tables.rows.tell(asked, &mut facts);
        }
        Ok(Snapshot {
            decisions: tables.decisions.load(&sagas_of(events)),
            facts,
        })
    }

    async fn commit(&self, changes: &Changes<Effect>) -> Result<(), Failure> {
        let tables = &mut *self.tables();
        let staged = tables.decisions.stage(changes)?;
        // What fails halfway leaves nothing behind.
        let mut rows = tables.rows.clone();
        let mut moved = BTreeSet::new();
        for effect in &changes.effects {
            // As in SQL, where one statement changes a row once, from what it was before.
            let again = matches!(effect, Effect::Move { to, .. } if !moved.insert(to.id));
            if again {
                return Err(Failure::Conflict);
            }
            rows.apply(effect)?;
        }
        tables.rows = rows;
        tables.decisions.write(staged);
        Ok(())
    }
}

impl Rows {
    fn tell(&self, asked: Asked, facts: &mut Registrations) {
        let registered = |key: &(UserId, TicketId)| self.keys.contains(key);
        facts.registered.extend(asked.key.filter(registered));
        let closed = |place: &UserTicketId| self.places.get(place) == Some(&None);
        facts.closed.extend(asked.place.filter(closed));
        let with = asked
            .regist_with
            .and_then(|ticket| self.places.get(&ticket));
        for id in asked.regist.iter().chain(with.into_iter().flatten()) {
            let found = self.live.get(id).cloned();
            facts.live.extend(found.map(|regist| (*id, regist)));
        }
    }

    fn apply(&mut self, effect: &Effect) -> Result<(), Failure> {
        match effect {
            Effect::Create(regist) => self.add(regist.clone()),
            Effect::Move { from, to, .. } => {
                self.remove(*from)?;
                self.add(to.clone())
            }
            Effect::Cancel { of, .. } => self.remove(*of),
            Effect::Close(tombstone) => {
                if let Some(seen) = tombstone.of {
                    self.remove(seen)?;
                }
                match self.places.insert(tombstone.user_ticket_id, None) {
                    None => Ok(()),
                    Some(_) => Err(Failure::Conflict),
                }
            }
        }
    }

    fn add(&mut self, regist: Regist) -> Result<(), Failure> {
        if self.live.contains_key(&regist.id) {
            return Err(Failure::handling(Duplicate(regist.id)));
        }
        let key = (regist.user_id, regist.ticket_id);
        if self.keys.contains(&key) || self.places.contains_key(&regist.user_ticket_id) {
            return Err(Failure::Conflict);
        }
        self.keys.insert(key);
        self.places.insert(regist.user_ticket_id, Some(regist.id));
        self.live.insert(regist.id, regist);
        Ok(())
    }

    /// One that was moved or deleted meanwhile is a conflict.
    fn remove(&mut self, seen: Seen) -> Result<(), Failure> {
        let regist = self.live.remove(&seen.id).ok_or(Failure::Conflict)?;
        if regist.seen() != seen {
            return Err(Failure::Conflict);
        }
        self.keys.remove(&(regist.user_id, regist.ticket_id));
        self.places.remove(&regist.user_ticket_id);
        Ok(())
    }
}
