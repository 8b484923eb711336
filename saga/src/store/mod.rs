//! The storage port of a participant: read what a batch needs, commit what it changed. And the SQL
//! of the decision table, which every participant's database has.
//!
//! Reading and committing are two separate calls, with no transaction open in between: the unique
//! decision row and the participant's unique indexes arbitrate between replicas, and the loser gets
//! [`Failure::Conflict`], reads again, and repeats the winner's decision.
//!
//! What must be whole is a decision with its effects, not the batch.

pub mod memory;
pub mod postgres;
pub mod sqlite;

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use events::{DecodeError, Event, Message, SagaId, Timestamp};

use crate::decision::{Changes, Decider, Decision, Reply, Snapshot};
use crate::failure::Failure;

#[async_trait]
pub trait Store<D: Decider>: Send + Sync + 'static {
    /// The decisions and facts that deciding these events needs.
    async fn load(&self, events: &[Event]) -> Result<Snapshot<D::Facts>, Failure>;

    /// Commits each decision together with its effects. After a failure each of them is committed
    /// or is not; deciding the batch again finds those that are.
    async fn commit(&self, changes: &Changes<D::Effect>) -> Result<(), Failure>;
}

#[async_trait]
impl<D: Decider, S: Store<D> + ?Sized> Store<D> for Box<S> {
    async fn load(&self, events: &[Event]) -> Result<Snapshot<D::Facts>, Failure> {
        (**self).load(events).await
    }

    async fn commit(&self, changes: &Changes<D::Effect>) -> Result<(), Failure> {
        (**self).commit(changes).await
    }
}

/// The sagas of a batch, each once.
pub fn sagas_of(events: &[Event]) -> Vec<SagaId> {
    events
        .iter()
        .map(|event| event.saga_id)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// Passes if a statement touched every row it was given; another replica got there first if not.
pub fn expect_rows(touched: u64, given: usize) -> Result<(), Failure> {
    if touched == given as u64 {
        Ok(())
    } else {
        Err(Failure::Conflict)
    }
}

/// A reply as the decision table keeps it.
struct StoredReply {
    wire_type: String,
    data: String,
    at: Timestamp,
}

/// A stored decision that this build cannot read: written by a newer build, or by hand.
#[derive(Debug, thiserror::Error)]
#[error("the stored decision of saga {saga_id} cannot be read")]
struct UnreadableDecision {
    saga_id: SagaId,
    source: DecodeError,
}

impl StoredReply {
    /// The three columns of a nullable reply.
    fn of_columns(columns: (Option<String>, Option<String>, Option<Timestamp>)) -> Option<Self> {
        let (Some(wire_type), Some(data), Some(at)) = columns else {
            return None;
        };
        Some(Self {
            wire_type,
            data,
            at,
        })
    }

    fn decode(self, saga_id: SagaId) -> Result<Reply, Failure> {
        let message = Message::decode(&self.wire_type, &self.data);
        let unreadable = |source| Failure::handling(UnreadableDecision { saga_id, source });
        Ok(Reply {
            message: message.map_err(unreadable)?,
            at: self.at,
        })
    }
}

/// Turns the rows of the decision table into decisions.
fn decode_decisions(
    rows: impl Iterator<Item = (SagaId, Option<StoredReply>, Option<StoredReply>)>,
) -> Result<HashMap<SagaId, Decision>, Failure> {
    rows.map(|(saga_id, step, undo)| {
        let step = step.map(|reply| reply.decode(saga_id)).transpose()?;
        let undo = undo.map(|reply| reply.decode(saga_id)).transpose()?;
        Ok((
            saga_id,
            Decision {
                saga_id,
                step,
                undo,
            },
        ))
    })
    .collect()
}

/// The data of a reply as JSON text.
fn data_of(reply: &Reply) -> String {
    serde_json::to_string(&reply.message).expect("a message has string keys")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(wire_type: &str, data: &str) -> Result<Reply, Failure> {
        let (wire_type, data) = (Some(wire_type.to_owned()), Some(data.to_owned()));
        let columns = (wire_type, data, Some(Timestamp::EPOCH));
        let stored = StoredReply::of_columns(columns).unwrap();
        stored.decode(SagaId::mint())
    }

    #[test]
    fn a_decision_of_an_older_build_is_read_and_repeated_as_todays_message() {
        let old = r#"{"id": 5, "userId": 7, "ticketId": 9}"#;
        let reply = stored("PurchaseAndRegister.v0", old).unwrap();
        let today =
            r#"{"userId":7,"ticketId":9,"userTicketId":"00000000-0000-0000-0000-000000000005"}"#;
        assert_eq!(data_of(&reply), today);
    }

    #[test]
    fn a_decision_of_a_newer_build_is_a_failure_and_no_other_decision() {
        let newer = stored("PurchaseAndRegister.v2", "{}");
        assert!(matches!(newer, Err(Failure::Handling(_))), "{newer:?}");
    }
}
