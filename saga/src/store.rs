//! The storage port of a participant: read what a batch needs, commit what it changed.
//!
//! Reading and committing are two separate calls, with no transaction open in between: the unique
//! decision row and the participant's unique indexes arbitrate between replicas, and the loser gets
//! [`Failure::Conflict`], reads again, and repeats the winner's decision.

use async_trait::async_trait;
use events::Event;

use crate::decision::{Changes, Decider, Snapshot};
use crate::failure::Failure;

#[async_trait]
pub trait Store<D: Decider>: Send + Sync + 'static {
    /// The decisions and facts that deciding these events needs.
    async fn load(&self, events: &[Event]) -> Result<Snapshot<D::Facts>, Failure>;

    /// Commits all changes in one transaction, or none and says why.
    async fn commit(&self, changes: &Changes<D::Effect>) -> Result<(), Failure>;
}
