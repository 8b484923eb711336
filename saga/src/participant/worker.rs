//! What the loop hands its batches to: rules and storage together.

use async_trait::async_trait;
use events::Event;

use crate::decision::{Decider, Moment, Snapshot, decide_batch};
use crate::failure::Failure;
use crate::store::Store;

/// Whoever answers each event of a batch with one event.
#[async_trait]
pub trait Participant: Send + Sync + 'static {
    /// Commits what the batch changes and returns the replies, one for each event, in order. The
    /// replies may be published only after this returned.
    async fn react(&self, events: &[Event]) -> Result<Vec<Event>, Failure>;
}

/// Rules and storage together.
#[derive(Debug)]
pub struct Worker<D, S, C = fn() -> Moment> {
    pub decider: D,
    pub store: S,
    /// [`Moment::now`], except where a run must be repeatable.
    pub clock: C,
}

#[async_trait]
impl<D, S, C> Participant for Worker<D, S, C>
where
    D: Decider,
    S: Store<D>,
    C: Fn() -> Moment + Send + Sync + 'static,
{
    async fn react(&self, events: &[Event]) -> Result<Vec<Event>, Failure> {
        if self.decides_unread(events) {
            match self.decide(Snapshot::blank(), events).await {
                Err(Failure::Conflict) => {}
                decided => return decided,
            }
        }
        let snapshot = self.store.load(events).await?;
        self.decide(snapshot, events).await
    }
}

impl<D, S, C> Worker<D, S, C>
where
    D: Decider,
    S: Store<D>,
    C: Fn() -> Moment + Send + Sync + 'static,
{
    fn decides_unread(&self, events: &[Event]) -> bool {
        let unread = |event| self.decider.decides_unread(event);
        !events.is_empty() && events.iter().all(unread)
    }

    async fn decide(
        &self,
        snapshot: Snapshot<D::Facts>,
        events: &[Event],
    ) -> Result<Vec<Event>, Failure> {
        let (changes, replies) = decide_batch(&self.decider, snapshot, events, &self.clock)?;
        if !changes.is_empty() {
            self.store.commit(&changes).await?;
        }
        Ok(replies)
    }
}
