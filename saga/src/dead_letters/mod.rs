//! The operators' port on what is parked: look at it, put it back where it came from, or drop it.
//! Adapters: [`crate::rabbitmq::RabbitMqDeadLetters`] and [`crate::embedded::EmbeddedDeadLetters`].
//!
//! Invariant of every adapter: a message leaves its dead-letter queue only after the record of the
//! action *and*, if it is put back, its copy in the work queue are stored. Killed in between, it is
//! in both, which is safe because every message may be delivered again.

mod cause;
mod discard;
mod find;
mod group;
mod parked;
mod ramp;
mod record;

use std::collections::HashSet;

use async_trait::async_trait;
use events::SagaId;

pub use self::cause::Cause;
pub use self::discard::discard;
pub use self::find::{Found, find};
pub use self::group::{Group, groups};
pub use self::parked::Parked;
pub use self::ramp::{Outcome, Progress, Ramp, requeue};
pub use self::record::{Action, Deed, Dropped, Entry, entries, newest};

/// The queue of what no queue is bound for. Who puts a message back from here publishes it to where
/// it was published before.
pub const UNROUTED: &str = "saga.unrouted";

/// What becomes of a parked message that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Leave,
    /// Do the deed to it.
    Take,
    /// Leave this one and all behind it.
    Stop,
}

/// Shown each parked message in turn.
pub type Visit<'a> = &'a mut (dyn FnMut(&Parked) + Send);

/// Asked for each parked message in turn.
pub type Choose<'a> = &'a mut (dyn FnMut(&Parked) -> Choice + Send);

/// Shown each entry of the record in turn.
pub type Recorded<'a> = &'a mut (dyn FnMut(Entry) + Send);

/// The dead letters of one bus.
#[async_trait]
pub trait DeadLetters: Send {
    /// The work queues, each of which has a place for what it gives up on, and [`UNROUTED`] where
    /// messages can land there.
    fn queues(&self) -> Vec<String>;

    /// Looks at what is parked of the queue by now, oldest first, and leaves all of it.
    async fn look(&mut self, queue: &str, visit: Visit<'_>) -> Result<(), DeadLetterError>;

    /// Looks like [`Self::look`], and does the deed to each message that is taken; returns those.
    async fn act(
        &mut self,
        queue: &str,
        deed: &Deed,
        choose: Choose<'_>,
    ) -> Result<Vec<Parked>, DeadLetterError>;

    /// How many messages are parked of the queue.
    async fn depth(&mut self, queue: &str) -> Result<u64, DeadLetterError>;

    /// How many of those that the last deed put back are neither handled nor parked again by now;
    /// none if this bus cannot tell, so that only time does.
    async fn unfinished(&mut self) -> Result<Option<usize>, DeadLetterError>;

    /// Goes through everything that operators ever did, oldest first.
    async fn record(&mut self, visit: Recorded<'_>) -> Result<(), DeadLetterError>;
}

/// Which parked messages are meant. Every condition that is set has to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// A work queue, with or without the namespace and the `.dlq` of its dead-letter queue.
    pub queue: Option<String>,
    /// Empty for any.
    pub ids: HashSet<String>,
    /// The key of a [`Cause`].
    pub cause: Option<String>,
    pub saga: Option<SagaId>,
}

impl Selection {
    /// The queues of these that are to be looked at.
    pub fn queues(&self, all: Vec<String>) -> Result<Vec<String>, DeadLetterError> {
        let Some(asked) = &self.queue else {
            return Ok(all);
        };
        let name = asked.strip_suffix(".dlq").unwrap_or(asked);
        let local = format!(".{name}");
        let is_meant = |queue: &&String| *queue == name || queue.ends_with(&local);
        match all.iter().find(is_meant) {
            Some(queue) => Ok(vec![queue.clone()]),
            // A bus on which nothing can be unrouted.
            None if name == UNROUTED => Ok(Vec::new()),
            None => Err(DeadLetterError::UnknownQueue {
                asked: asked.clone(),
                known: all.join(", "),
            }),
        }
    }

    pub fn has(&self, parked: &Parked) -> bool {
        (self.ids.is_empty() || self.ids.contains(&parked.id))
            && self
                .cause
                .as_ref()
                .is_none_or(|key| parked.cause().key() == *key)
            && self.saga.is_none_or(|saga| parked.is_of_saga(saga))
    }
}

/// What an operator asked for is not, or not wholly, done. What was parked still is, or was put back.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    #[error("the dead letters cannot be reached")]
    Away(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("there is no queue {asked:?}; there are: {known}")]
    UnknownQueue { asked: String, known: String },
    #[error("another command is at the dead letters ({what}); try again when it has ended")]
    Occupied { what: String },
    #[error("{queue} did not take what was put back; it stays parked")]
    Refused { queue: String },
}

impl DeadLetterError {
    pub(crate) fn away(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Away(source.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_may_be_named_with_or_without_namespace_and_suffix() {
        let all = || vec!["test.a.X".to_owned(), "test.b.Y".to_owned()];
        for asked in ["b.Y", "b.Y.dlq", "test.b.Y", "test.b.Y.dlq"] {
            let selection = Selection {
                queue: Some(asked.to_owned()),
                ..Selection::default()
            };
            assert_eq!(selection.queues(all()).unwrap(), ["test.b.Y"], "{asked}");
        }
        let nowhere = Selection {
            queue: Some("Y2".to_owned()),
            ..Selection::default()
        };
        let unrouted = Selection {
            queue: Some(UNROUTED.to_owned()),
            ..Selection::default()
        };
        assert!(unrouted.queues(all()).unwrap().is_empty(), "a bus without");
        let error = nowhere.queues(all()).unwrap_err().to_string();
        assert!(error.contains("test.a.X, test.b.Y"), "{error}");
    }
}
