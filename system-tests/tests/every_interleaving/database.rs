//! A worker's database as its SQL defines it: the decision rows, and the rows of its own. Reading
//! and committing are two steps with nothing held in between; unique keys arbitrate, and a commit
//! that clashes changes nothing.
//!
//! What is decided from the rows that were read, the product decides: `decide_batch` with the real
//! rules.

use std::collections::{BTreeMap, HashMap};

use events::choreography::{REGIST_WORKER, Service, TICKET_WORKER};
use events::{Event, RegistId, SagaId, TicketId, UserId, UserTicketId};
use regist_worker::decide::{self, RegistDecider, Registrations};
use saga::decision::{Changes, Decision, Moment, Snapshot, decide_batch};
use saga::failure::Failure;
use saga::store::sagas_of;
use ticket_worker::decide::{Effect, TicketDecider, Tickets};

use crate::kept::Kept;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Database {
    pub(crate) decisions: BTreeMap<SagaId, Kept<Decision>>,
    pub(crate) tickets: BTreeMap<UserTicketId, Ticket>,
    pub(crate) registrations: BTreeMap<RegistId, Registration>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket {
    pub(crate) saga: SagaId,
    pub(crate) live: bool,
}

/// A live registration; none is ever deleted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Registration {
    pub(crate) saga: SagaId,
    pub(crate) key: (UserId, TicketId),
}

/// What a batch changes: the product's `Changes`, of either worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Transaction {
    pub(crate) decided: Vec<Kept<Decision>>,
    pub(crate) undone: Vec<Kept<Decision>>,
    pub(crate) writes: Vec<Write>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Write {
    CreateTicket(UserTicketId, Ticket),
    DeleteTicket { id: UserTicketId, saga: SagaId },
    Register(RegistId, Registration),
}

/// A row that was to be new is there already, or a reply that was to be filled in is.
pub(crate) struct Conflict;

impl Database {
    /// What the product makes of these events, given these decisions and the rows of now.
    pub(crate) fn decide(
        &self,
        service: Service,
        decisions: HashMap<SagaId, Decision>,
        events: &[Event],
        moment: impl FnMut() -> Moment,
    ) -> Result<(Transaction, Vec<Event>), Failure> {
        match service {
            TICKET_WORKER => {
                let facts = Tickets::default();
                let snapshot = Snapshot { decisions, facts };
                let (changes, replies) = decide_batch(&TicketDecider, snapshot, events, moment)?;
                Ok((Transaction::of(&changes), replies))
            }
            REGIST_WORKER => {
                let keys = self.registrations.values().map(|row| row.key);
                let facts = Registrations {
                    registered: keys.collect(),
                    ..Registrations::default()
                };
                let snapshot = Snapshot { decisions, facts };
                let (changes, replies) = decide_batch(&RegistDecider, snapshot, events, moment)?;
                Ok((Transaction::of(&changes), replies))
            }
            Service(other) => unreachable!("{other} decides nothing"),
        }
    }

    /// The decisions that are there about the sagas of these events.
    pub(crate) fn decisions_about(&self, events: &[Event]) -> HashMap<SagaId, Decision> {
        let rows = sagas_of(events).into_iter();
        rows.filter_map(|saga| Some((saga, Decision::clone(self.decisions.get(&saga)?))))
            .collect()
    }

    /// All of the transaction, or nothing.
    pub(crate) fn commit(&self, transaction: &Transaction) -> Result<Self, Conflict> {
        if self.clashes(transaction) {
            return Err(Conflict);
        }
        let mut after = self.clone();
        for row in &transaction.decided {
            let before = after.decisions.insert(row.saga_id, row.clone());
            assert!(before.is_none(), "a batch decides a saga once");
        }
        for row in &transaction.undone {
            let stored = after.decisions.entry(row.saga_id);
            stored.and_modify(|stored| *stored = filled_in(stored, row));
        }
        for write in &transaction.writes {
            after.write(write);
        }
        Ok(after)
    }

    /// Whether a unique key, or a reply that is filled in already, stands against it: another
    /// replica was faster.
    pub(crate) fn clashes(&self, transaction: &Transaction) -> bool {
        let stored = |new: &Decision| self.decisions.get(&new.saga_id);
        let is_filled_in = |old: &Kept<Decision>| old.undo.is_some();
        let mut decided = transaction.decided.iter();
        let mut undone = transaction.undone.iter();
        let mut writes = transaction.writes.iter();
        decided.any(|new| stored(new).is_some())
            || undone.any(|new| stored(new).is_none_or(is_filled_in))
            || writes.any(|write| match write {
                Write::CreateTicket(id, _) => self.tickets.contains_key(id),
                Write::DeleteTicket { .. } => false,
                Write::Register(_, new) => self.registrations.values().any(|r| r.key == new.key),
            })
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::CreateTicket(id, ticket) => {
                self.tickets.insert(*id, ticket.clone());
            }
            Write::DeleteTicket { id, saga } => {
                let own = self.tickets.get_mut(id).filter(|row| row.saga == *saga);
                if let Some(ticket) = own {
                    ticket.live = false;
                }
            }
            Write::Register(id, new) => {
                self.registrations.insert(*id, new.clone());
            }
        }
    }

    /// Whether every reply that was stored before is stored still, to the letter.
    pub(crate) fn keeps(&self, before: &Self) -> bool {
        before.decisions.iter().all(|(saga, old)| {
            let now = self.decisions.get(saga);
            now.is_some_and(|new| {
                new.step == old.step && (old.undo.is_none() || new.undo == old.undo)
            })
        })
    }

    /// How many replies are stored. Each stays, so this only grows.
    pub(crate) fn replies(&self) -> usize {
        let rows = self.decisions.values();
        rows.map(|row| usize::from(row.step.is_some()) + usize::from(row.undo.is_some()))
            .sum()
    }

    pub(crate) fn has_live_ticket(&self, saga: SagaId) -> bool {
        let mut tickets = self.tickets.values();
        tickets.any(|ticket| ticket.saga == saga && ticket.live)
    }

    pub(crate) fn has_registration(&self, saga: SagaId) -> bool {
        self.registrations.values().any(|row| row.saga == saga)
    }
}

/// The stored row with the new row's undo, and nothing else of it.
fn filled_in(stored: &Decision, new: &Decision) -> Kept<Decision> {
    Kept::new(Decision {
        undo: new.undo.clone(),
        ..stored.clone()
    })
}

impl Transaction {
    fn of<E>(changes: &Changes<E>) -> Self
    where
        for<'a> Write: From<&'a E>,
    {
        let rows = |decisions: &[Decision]| decisions.iter().cloned().map(Kept::new).collect();
        Self {
            decided: rows(&changes.decided),
            undone: rows(&changes.undone),
            writes: changes.effects.iter().map(Write::from).collect(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.decided.is_empty() && self.undone.is_empty() && self.writes.is_empty()
    }
}

impl From<&Effect> for Write {
    fn from(effect: &Effect) -> Self {
        match effect {
            Effect::Create(ticket) => Self::CreateTicket(
                ticket.id,
                Ticket {
                    saga: ticket.saga_id,
                    live: true,
                },
            ),
            Effect::Delete { id, saga_id, .. } => Self::DeleteTicket {
                id: *id,
                saga: *saga_id,
            },
            Effect::Save(_) => unreachable!("only the plain routes change a ticket"),
        }
    }
}

impl From<&decide::Effect> for Write {
    fn from(effect: &decide::Effect) -> Self {
        let decide::Effect::Create(regist) = effect else {
            unreachable!("only the plain routes do {effect:?}")
        };
        let saga = regist.saga_id;
        let key = (regist.user_id, regist.ticket_id);
        Self::Register(regist.id, Registration { saga, key })
    }
}
