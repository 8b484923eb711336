//! `regist` in memory: the storage of a simulated or replayed regist-worker. It means what the SQL
//! beside it means, the unique indexes of the business rules included.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use events::{Event, RegistId, SagaId, TicketId, UserId, UserTicketId};
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
#[derive(Debug, Default)]
struct Rows {
    live: BTreeMap<RegistId, Regist>,
    keys: BTreeSet<(UserId, TicketId)>,
    /// The live registration of a ticket; none: the ticket is closed.
    places: BTreeMap<UserTicketId, Option<RegistId>>,
}

/// What a transaction has done, to be taken back if it fails.
enum Deed {
    Added(RegistId),
    Removed(Regist),
    Closed(UserTicketId),
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

    /// The live registration with this ticket, if there is one.
    pub fn regist_with(&self, ticket: UserTicketId) -> Option<Regist> {
        let rows = &self.tables().rows;
        let id = rows.places.get(&ticket)?.as_ref()?;
        rows.live.get(id).cloned()
    }

    /// Whether nobody will ever be registered with this ticket again.
    pub fn is_closed(&self, ticket: UserTicketId) -> bool {
        self.tables().rows.places.get(&ticket) == Some(&None)
    }

    /// Takes rows out, for a replay that will not hear of these sagas and tickets again.
    pub fn forget(&self, sagas: &[SagaId], tickets: &[UserTicketId]) {
        let tables = &mut *self.tables();
        tables.decisions.forget(sagas);
        for ticket in tickets {
            if let Some(Some(id)) = tables.rows.places.remove(ticket)
                && let Some(regist) = tables.rows.live.remove(&id)
            {
                let key = (regist.user_id, regist.ticket_id);
                tables.rows.keys.remove(&key);
            }
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
        tables.rows.apply_all(&changes.effects)?;
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

    /// What fails halfway leaves nothing behind.
    fn apply_all(&mut self, effects: &[Effect]) -> Result<(), Failure> {
        let mut done = Vec::with_capacity(effects.len());
        let mut moved = BTreeSet::new();
        let applied = effects.iter().try_for_each(|effect| match effect {
            // As in SQL, where one statement changes a row once, from what it was before.
            Effect::Move { to, .. } if !moved.insert(to.id) => Err(Failure::Conflict),
            effect => self.apply(effect, &mut done),
        });
        if applied.is_err() {
            for deed in done.into_iter().rev() {
                self.take_back(deed);
            }
        }
        applied
    }

    fn apply(&mut self, effect: &Effect, done: &mut Vec<Deed>) -> Result<(), Failure> {
        match effect {
            Effect::Create(regist) => self.add(regist.clone(), done),
            Effect::Move { from, to, .. } => {
                self.remove(*from, done)?;
                self.add(to.clone(), done)
            }
            Effect::Cancel { of, .. } => self.remove(*of, done),
            Effect::Close(closing) => {
                if let Some(seen) = closing.of {
                    self.remove(seen, done)?;
                }
                let place = closing.user_ticket_id;
                if self.places.contains_key(&place) {
                    return Err(Failure::Conflict);
                }
                self.places.insert(place, None);
                done.push(Deed::Closed(place));
                Ok(())
            }
        }
    }

    fn take_back(&mut self, deed: Deed) {
        match deed {
            Deed::Added(id) => drop(self.take(id)),
            Deed::Removed(regist) => self.put(regist),
            Deed::Closed(place) => drop(self.places.remove(&place)),
        }
    }

    fn add(&mut self, regist: Regist, done: &mut Vec<Deed>) -> Result<(), Failure> {
        if self.live.contains_key(&regist.id) {
            return Err(Failure::handling(Duplicate(regist.id)));
        }
        let key = (regist.user_id, regist.ticket_id);
        if self.keys.contains(&key) || self.places.contains_key(&regist.user_ticket_id) {
            return Err(Failure::Conflict);
        }
        done.push(Deed::Added(regist.id));
        self.put(regist);
        Ok(())
    }

    /// One that was moved or deleted meanwhile is a conflict.
    fn remove(&mut self, seen: Seen, done: &mut Vec<Deed>) -> Result<(), Failure> {
        if self.live.get(&seen.id).map(Regist::seen) != Some(seen) {
            return Err(Failure::Conflict);
        }
        done.extend(self.take(seen.id).map(Deed::Removed));
        Ok(())
    }

    fn put(&mut self, regist: Regist) {
        self.keys.insert((regist.user_id, regist.ticket_id));
        self.places.insert(regist.user_ticket_id, Some(regist.id));
        self.live.insert(regist.id, regist);
    }

    fn take(&mut self, id: RegistId) -> Option<Regist> {
        let regist = self.live.remove(&id)?;
        self.keys.remove(&(regist.user_id, regist.ticket_id));
        self.places.remove(&regist.user_ticket_id);
        Some(regist)
    }
}
