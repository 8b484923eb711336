//! Starts a saga for a caller: registers who waits, publishes the command, and waits for the end,
//! no longer than the caller will.

use std::sync::Arc;
use std::time::Duration;

use ::metrics::Counter;
use events::choreography::{API_GATEWAY, Outcome, Saga};
use events::{Event, Message, SagaId, Timestamp};
use saga::bus::{Bus, PublishError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::accepted::AcceptedSagas;
use crate::waiters::{Waiter, Waiters};

/// How long waiting callers may hold up a stop before they get the saga's address instead. Most
/// sagas end in a fraction of this.
const LINGER: Duration = Duration::from_secs(3);

pub(crate) struct Starter {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) instance: String,
    pub(crate) wait_limit: Duration,
    pub(crate) waiters: Waiters,
    pub(crate) accepted: Arc<AcceptedSagas>,
    pub(crate) started: Counter,
    /// Whether ends of sagas reach this gateway yet.
    pub(crate) listens: watch::Receiver<bool>,
    pub(crate) stop: CancellationToken,
}

/// What became of a saga while its caller waited.
pub(crate) enum Waited {
    Ended { outcome: Outcome, end: Box<Event> },
    StillRunning,
}

/// Why no saga runs, or none is known to run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStarted {
    #[error("too many callers wait already; nothing was started")]
    TooManyWaiting,
    #[error("the broker does not deliver answers yet; nothing was started")]
    NotListening,
    #[error("the command is not known to be published")]
    NotConfirmed(#[from] PublishError),
    #[error("the broker did not confirm the command in time")]
    NotInTime,
}

impl Starter {
    /// Runs one saga. Returns only after the broker has confirmed its command, or with an error.
    pub(crate) async fn run(
        &self,
        saga: &'static Saga,
        saga_id: SagaId,
        message: Message,
        traceparent: String,
    ) -> Result<Waited, NotStarted> {
        // The end of a saga that outruns the queue of replies would not reach its caller.
        if !*self.listens.borrow() {
            return Err(NotStarted::NotListening);
        }
        let patience = Instant::now() + self.wait_limit;
        let command = self.command(saga, saga_id, message, traceparent);
        let waiter = self
            .waiters
            .register(saga, saga_id)
            .map_err(|_full| NotStarted::TooManyWaiting)?;
        self.accepted.started(saga, &command);
        if let Err(problem) = self.publish(command, patience).await {
            self.accepted.not_started(saga_id);
            warn!(%saga_id, error = saga::failure::chain(&problem), "a command was not confirmed");
            return Err(problem);
        }
        self.started.increment(1);
        Ok(self.wait(waiter, patience).await)
    }

    fn command(
        &self,
        saga: &'static Saga,
        saga_id: SagaId,
        message: Message,
        traceparent: String,
    ) -> Event {
        let now = Timestamp::now();
        Event {
            id: Event::id_of(saga_id, message.message_type()),
            source: API_GATEWAY.0.into(),
            time: now,
            saga_id,
            causation_id: None,
            traceparent: Some(traceparent),
            reply_to: Some(self.instance.clone()),
            deadline: Some(now + saga.deadline),
            message,
        }
    }

    async fn publish(&self, command: Event, patience: Instant) -> Result<(), NotStarted> {
        debug!(
            saga_id = %command.saga_id,
            message_id = %command.id,
            message_type = %command.message_type(),
            "publishing"
        );
        match timeout_at(patience, self.bus.publish(&[command])).await {
            Ok(published) => Ok(published?),
            Err(_) => Err(NotStarted::NotInTime),
        }
    }

    async fn wait(&self, mut waiter: Waiter, patience: Instant) -> Waited {
        let stopping = async {
            self.stop.cancelled().await;
            sleep(LINGER).await;
        };
        tokio::select! {
            biased;
            (outcome, end) = waiter.end() => Waited::Ended { outcome, end: Box::new(end) },
            () = tokio::time::sleep_until(patience) => Waited::StillRunning,
            () = stopping => Waited::StillRunning,
        }
    }
}
