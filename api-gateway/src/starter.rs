//! Starts a saga for a caller: registers who waits, publishes the command, and waits for the end,
//! no longer than the caller will.

use std::sync::Arc;
use std::time::Duration;

use ::metrics::Counter;
use events::choreography::{API_GATEWAY, Saga};
use events::{Event, Message, SagaId, Timestamp};
use saga::bus::{Bus, PublishError};
use saga::failure::chain;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::accepted::{AcceptedSagas, End};
use crate::ledger::Ledger;
use crate::waiters::{Waiter, Waiters};

/// How long waiting callers may hold up a stop before they get the saga's address instead. Most
/// sagas end in a fraction of this.
const LINGER: Duration = Duration::from_secs(3);
/// How long the broker may take to confirm a command, whatever the caller's patience: long enough
/// for a quorum queue to elect a leader, shorter than the drain of a stop, so that the caller still
/// hears that nothing is known.
const CONFIRM_LIMIT: Duration = Duration::from_secs(4);
/// How long a caller whose patience is over may be kept for a look into the ledger: an index
/// lookup, unless its database is away.
const LOOK_UP_LIMIT: Duration = Duration::from_millis(500);

pub(crate) struct Starter {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) ledger: Arc<dyn Ledger>,
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
    Ended(End),
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
        let command = self.command(saga, saga_id, message, traceparent);
        let waiter = self
            .waiters
            .register(saga, saga_id)
            .map_err(|_full| NotStarted::TooManyWaiting)?;
        self.accepted.started(saga, &command);
        if let Err(problem) = self.publish(command).await {
            self.accepted.not_started(saga_id);
            warn!(%saga_id, error = chain(&problem), "a command was not confirmed");
            return Err(problem);
        }
        self.started.increment(1);
        let ended = match self.wait(waiter).await {
            Some(end) => Some(end),
            None => self.look_up(saga_id).await,
        };
        Ok(ended.map_or(Waited::StillRunning, Waited::Ended))
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

    async fn publish(&self, command: Event) -> Result<(), NotStarted> {
        debug!(
            saga_id = %command.saga_id,
            message_id = %command.id,
            message_type = %command.message_type(),
            "publishing"
        );
        match timeout(CONFIRM_LIMIT, self.bus.publish(&[command])).await {
            Ok(published) => Ok(published?),
            Err(_) => Err(NotStarted::NotInTime),
        }
    }

    async fn wait(&self, mut waiter: Waiter) -> Option<End> {
        let stopping = async {
            self.stop.cancelled().await;
            sleep(LINGER).await;
        };
        tokio::select! {
            biased;
            (outcome, event) = waiter.end() => Some(End::told_by(&event, outcome)),
            () = sleep(self.wait_limit) => None,
            () = stopping => None,
        }
    }

    /// The end of a saga that nobody told this instance of: what was sent while its queue of
    /// replies was away is lost, and the ledger has it.
    async fn look_up(&self, saga_id: SagaId) -> Option<End> {
        match timeout(LOOK_UP_LIMIT, self.ledger.find(saga_id)).await {
            Ok(Ok(row)) => End::of_row(&row?),
            Ok(Err(problem)) => {
                warn!(%saga_id, error = chain(&problem), "a saga cannot be looked up");
                None
            }
            Err(_) => None,
        }
    }
}
