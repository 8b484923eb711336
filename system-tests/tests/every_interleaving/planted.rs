//! Bugs to plant, each around the product's own decision or in the model of the store: so that
//! whoever doubts the properties sees them fail. Product code stays as it is.

use std::collections::HashMap;

use events::SagaId;
use events::choreography::{self, Role};
use saga::decision::Decision;

use crate::database::{Conflict, Database, Transaction, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// An undo leaves no row behind. It shows where the undo comes first: where the step did, the
    /// primary key of the ticket it deleted keeps a second purchase out.
    NoTombstone,
    /// Only what was done has a decision row.
    RefusalsUnrecorded,
    /// An undo deletes whatever ticket the user has for the event.
    UndoOfAnyTicket,
    /// A message that comes again is decided anew, and the new decision replaces the old one.
    DecidesAgain,
    /// That a user is registered already is read before, and not enforced by the index.
    NoUniqueIndex,
    /// A message is acknowledged before the replies are published.
    AcknowledgesFirst,
}

impl Planted {
    /// The decisions that the worker sees.
    pub(crate) fn read(self, stored: HashMap<SagaId, Decision>) -> HashMap<SagaId, Decision> {
        match self {
            Self::DecidesAgain => HashMap::new(),
            _ => stored,
        }
    }

    pub(crate) fn commit(
        self,
        before: &Database,
        transaction: &Transaction,
    ) -> Result<Database, Conflict> {
        let mut changes = transaction.clone();
        let mut base = before.clone();
        match self {
            Self::NoTombstone | Self::AcknowledgesFirst => {}
            Self::RefusalsUnrecorded => changes.decided.retain(|row| !is_refusal(row)),
            Self::UndoOfAnyTicket => changes.writes = widened(before, &changes.writes),
            Self::NoUniqueIndex => base.registrations.clear(),
            Self::DecidesAgain => {
                for row in &changes.decided {
                    base.decisions.remove(&row.saga_id);
                    base.tickets.retain(|_, ticket| ticket.saga != row.saga_id);
                }
            }
        }
        let mut after = base.commit(&changes)?;
        match self {
            Self::NoTombstone => after.decisions.retain(|_, row| row.undo.is_none()),
            Self::NoUniqueIndex => after.registrations.extend(before.registrations.clone()),
            _ => {}
        }
        Ok(after)
    }
}

fn is_refusal(row: &Decision) -> bool {
    let Some(reply) = &row.step else {
        return false;
    };
    let reply = reply.message.message_type();
    choreography::steps().any(|step| matches!(step.role, Role::Do { refusal } if refusal == reply))
}

/// Both sagas are of the same user and event, so every ticket is one the user has for it.
fn widened(before: &Database, writes: &[Write]) -> Vec<Write> {
    let every = || {
        let tickets = before.tickets.iter();
        tickets.map(|(id, ticket)| Write::DeleteTicket {
            id: *id,
            saga: ticket.saga,
        })
    };
    let widen = |write: &Write| match write {
        Write::DeleteTicket { .. } => every().collect(),
        other => vec![other.clone()],
    };
    writes.iter().flat_map(widen).collect()
}
