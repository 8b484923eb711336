//! Mistakes around the store: what is kept of a decision, and whose fault an error is.

use async_trait::async_trait;
use events::Event;
use events::choreography::{self, Role};
use regist_worker::decide::RegistDecider;
use saga::decision::{Changes, Decider, Decision, Snapshot};
use saga::failure::Failure;
use saga::store::Store;
use simulation::assembly::Assembly;
use simulation::check::Violation;
use ticket_worker::decide::TicketDecider;

use crate::is_caught;

/// Which mistake a wrapped store makes, in both services.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StoreBug {
    KeepsNoRefusals,
    KeepsNoTombstones,
    CommitsEffectsByThemselves,
    TakesALostRaceForWon,
    CountsAnOutageAsFailure,
}

impl Assembly for StoreBug {
    fn ticket_store(&self, inner: Box<dyn Store<TicketDecider>>) -> Box<dyn Store<TicketDecider>> {
        Box::new(WrongStore { bug: *self, inner })
    }

    fn regist_store(&self, inner: Box<dyn Store<RegistDecider>>) -> Box<dyn Store<RegistDecider>> {
        Box::new(WrongStore { bug: *self, inner })
    }
}

struct WrongStore<D> {
    bug: StoreBug,
    inner: Box<dyn Store<D>>,
}

impl<D: Decider> WrongStore<D>
where
    D::Effect: Clone,
{
    /// The changes with only those decisions that are kept.
    fn keeping(
        changes: &Changes<D::Effect>,
        keep: impl Fn(&Decision) -> bool,
    ) -> Changes<D::Effect> {
        let decided = changes.decided.iter().filter(|row| keep(row));
        Changes {
            decided: decided.cloned().collect(),
            undone: changes.undone.clone(),
            effects: changes.effects.clone(),
        }
    }

    /// First what changes, then, in a transaction of its own, that it was decided.
    async fn commit_twice(&self, changes: &Changes<D::Effect>) -> Result<(), Failure> {
        let effects = Changes {
            decided: Vec::new(),
            undone: Vec::new(),
            effects: changes.effects.clone(),
        };
        let decisions = Changes {
            decided: changes.decided.clone(),
            undone: changes.undone.clone(),
            effects: Vec::new(),
        };
        self.inner.commit(&effects).await?;
        self.inner.commit(&decisions).await
    }
}

#[async_trait]
impl<D: Decider> Store<D> for WrongStore<D>
where
    D::Effect: Clone,
{
    async fn load(&self, events: &[Event]) -> Result<Snapshot<D::Facts>, Failure> {
        self.inner.load(events).await.map_err(|f| self.failure(f))
    }

    async fn commit(&self, changes: &Changes<D::Effect>) -> Result<(), Failure> {
        let committed = match self.bug {
            StoreBug::KeepsNoRefusals => {
                let kept = Self::keeping(changes, |row| !is_refusal::<D>(row));
                self.inner.commit(&kept).await
            }
            StoreBug::KeepsNoTombstones => {
                let kept = Self::keeping(changes, |row| row.step.is_some());
                self.inner.commit(&kept).await
            }
            StoreBug::CommitsEffectsByThemselves => self.commit_twice(changes).await,
            StoreBug::TakesALostRaceForWon | StoreBug::CountsAnOutageAsFailure => {
                self.inner.commit(changes).await
            }
        };
        match committed {
            Err(Failure::Conflict) if self.bug == StoreBug::TakesALostRaceForWon => Ok(()),
            committed => committed.map_err(|f| self.failure(f)),
        }
    }
}

impl<D> WrongStore<D> {
    fn failure(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Unavailable(source) if self.bug == StoreBug::CountsAnOutageAsFailure => {
                Failure::Handling(source)
            }
            failure => failure,
        }
    }
}

fn is_refusal<D: Decider>(row: &Decision) -> bool {
    let Some(reply) = &row.step else {
        return false;
    };
    let own = choreography::steps().filter(|step| step.service == D::SERVICE);
    let mut roles = own.map(|step| step.role);
    roles
        .any(|role| matches!(role, Role::Do { refusal } if refusal == reply.message.message_type()))
}

#[test]
fn a_refusal_without_a_decision_row_is_caught() {
    is_caught(StoreBug::KeepsNoRefusals, |violation| {
        matches!(violation, Violation::DifferentEnds(..))
    });
}

#[test]
fn a_missing_tombstone_is_caught() {
    is_caught(StoreBug::KeepsNoTombstones, |violation| {
        matches!(violation, Violation::DifferentEnds(..))
    });
}

#[test]
fn an_effect_that_is_not_committed_with_its_decision_is_caught() {
    is_caught(StoreBug::CommitsEffectsByThemselves, |violation| {
        matches!(violation, Violation::TicketWithoutRegistration(_))
    });
}

#[test]
fn a_lost_race_that_is_taken_for_won_is_caught() {
    is_caught(StoreBug::TakesALostRaceForWon, |violation| {
        // It says what is stored nowhere, and the winner says something else.
        matches!(
            violation,
            Violation::NotToTheLetter(..) | Violation::UntrueEnd(..) | Violation::DifferentEnds(..)
        )
    });
}

#[test]
fn an_outage_that_uses_up_attempts_is_caught() {
    is_caught(StoreBug::CountsAnOutageAsFailure, |violation| {
        matches!(violation, Violation::ParkedWithoutCause(_))
    });
}
