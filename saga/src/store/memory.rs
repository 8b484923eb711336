//! The decision table in memory, for the simulation and for replaying events without a database.
//! It means what the SQL beside it means: a saga is decided once and undone once, whoever comes
//! second gets a conflict, and then nothing of its batch is written.

use std::collections::{BTreeMap, HashMap};

use events::SagaId;

use crate::decision::{Changes, Decision};
use crate::failure::Failure;

#[derive(Debug, Default)]
pub struct DecisionTable(BTreeMap<SagaId, Decision>);

/// Rows that may be written: a transaction that has not failed so far.
#[derive(Debug)]
pub struct Staged(BTreeMap<SagaId, Decision>);

impl DecisionTable {
    /// The decisions of these sagas, where there are any.
    pub fn load(&self, sagas: &[SagaId]) -> HashMap<SagaId, Decision> {
        let rows = sagas.iter().filter_map(|saga| self.0.get(saga));
        rows.map(|row| (row.saga_id, row.clone())).collect()
    }

    /// The rows as the changes would leave them.
    pub fn stage<E>(&self, changes: &Changes<E>) -> Result<Staged, Failure> {
        let mut staged = BTreeMap::new();
        for row in &changes.decided {
            let known = self.0.contains_key(&row.saga_id);
            if known || staged.insert(row.saga_id, row.clone()).is_some() {
                return Err(Failure::Conflict);
            }
        }
        for Decision { saga_id, undo, .. } in &changes.undone {
            let row = staged.get(saga_id).or_else(|| self.0.get(saga_id));
            let Some(row) = row.filter(|row| row.undo.is_none()) else {
                return Err(Failure::Conflict);
            };
            let undo = undo.clone();
            staged.insert(
                *saga_id,
                Decision {
                    undo,
                    ..row.clone()
                },
            );
        }
        Ok(Staged(staged))
    }

    /// Writes what was staged. Nothing else may have been written in between.
    pub fn write(&mut self, staged: Staged) {
        self.0.extend(staged.0);
    }

    /// Takes rows out, for a replay that will not hear of these sagas again.
    pub fn forget(&mut self, sagas: &[SagaId]) {
        for saga in sagas {
            self.0.remove(saga);
        }
    }

    /// Every row, by saga.
    pub fn rows(&self) -> impl Iterator<Item = &Decision> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use events::{Reason, TicketDeleted, Timestamp, UserTicketId};
    use uuid::Uuid;

    use super::*;
    use crate::decision::Reply;

    fn reply(second: i64) -> Option<Reply> {
        let message = TicketDeleted {
            user_ticket_id: UserTicketId(Uuid::nil()),
            cause: Reason::ALREADY_REGISTERED,
        };
        let at = Timestamp::from_micros(second * 1_000_000);
        Some(Reply {
            message: message.into(),
            at,
        })
    }

    fn row(saga: u128, step: Option<Reply>, undo: Option<Reply>) -> Decision {
        let saga_id = SagaId(Uuid::from_u128(saga));
        Decision {
            saga_id,
            step,
            undo,
        }
    }

    fn commit(
        table: &mut DecisionTable,
        decided: Vec<Decision>,
        undone: Vec<Decision>,
    ) -> Result<(), Failure> {
        let staged = table.stage(&Changes::<()> {
            decided,
            undone,
            effects: Vec::new(),
        })?;
        table.write(staged);
        Ok(())
    }

    #[test]
    fn who_decides_second_conflicts_and_writes_nothing() {
        let mut table = DecisionTable::default();
        commit(&mut table, vec![row(1, reply(1), None)], vec![]).unwrap();
        let batch = vec![row(2, reply(2), None), row(1, reply(2), None)];
        let lost = commit(&mut table, batch, vec![]).unwrap_err();
        assert!(matches!(lost, Failure::Conflict));
        assert_eq!(
            table.rows().collect::<Vec<_>>(),
            [&row(1, reply(1), None)],
            "the first one's, and nobody else's"
        );
    }

    #[test]
    fn an_undo_is_filled_in_once_and_leaves_the_step_as_it_is() {
        let mut table = DecisionTable::default();
        commit(&mut table, vec![row(1, reply(1), None)], vec![]).unwrap();
        commit(&mut table, vec![], vec![row(1, reply(9), reply(2))]).unwrap();
        assert_eq!(
            table.rows().collect::<Vec<_>>(),
            [&row(1, reply(1), reply(2))]
        );
        for saga in [1, 2] {
            let undone = vec![row(saga, reply(1), reply(3))];
            let lost = commit(&mut table, vec![], undone).unwrap_err();
            assert!(matches!(lost, Failure::Conflict), "saga {saga}");
        }
    }
}
