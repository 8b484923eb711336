//! Starts a saga for a caller: registers who waits, publishes the command, and waits for the end,
//! no longer than the caller will.

use std::sync::Arc;
use std::time::Duration;

use ::metrics::Counter;
use events::choreography::{API_GATEWAY, Saga};
use events::{Event, Message, SagaId, Timestamp, UserTicketId};
use saga::bus::{Bus, Health, PublishError};
use saga::database::limited;
use saga::failure::chain;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::accepted::{AcceptedSagas, End};
use crate::ledger::Ledger;
use crate::places::{Full, Place, Places};
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
/// Between two looks into the ledger for a caller whose answer may be lost: more than the ledger is
/// behind.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How many look at the same time for such callers. Few, so that the projector, which has what they
/// wait for, gets its connection.
pub(crate) const LOOKS_AT_ONCE: usize = 2;

pub(crate) struct Starter {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) instance: String,
    /// How long a caller waits that says nothing of it.
    pub(crate) wait_limit: Duration,
    pub(crate) waiters: Waiters,
    /// For who waits.
    pub(crate) places: Places,
    pub(crate) accepted: Arc<AcceptedSagas>,
    pub(crate) started: Counter,
    /// Whether ends of sagas reach this gateway yet.
    pub(crate) listens: watch::Receiver<bool>,
    /// [`LOOKS_AT_ONCE`] of them.
    pub(crate) looks: Semaphore,
    pub(crate) stop: CancellationToken,
}

/// A saga to run for a caller.
pub(crate) struct Request {
    pub(crate) saga: &'static Saga,
    pub(crate) saga_id: SagaId,
    /// Who waits; empty where callers are not told apart.
    pub(crate) caller: Arc<str>,
    /// Taken for it before, if it was.
    pub(crate) place: Option<Place>,
    pub(crate) message: Message,
    pub(crate) traceparent: String,
    /// How long its caller waits for the end.
    pub(crate) patience: Duration,
    /// Whether the same request may have been sent before.
    pub(crate) may_be_known: bool,
}

/// What became of a saga while its caller waited.
pub(crate) enum Waited {
    Ended(End),
    StillRunning,
}

/// Why no saga runs, or none is known to run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStarted {
    #[error("there is no place for one more who waits")]
    NoPlace(Full),
    #[error("the broker is away ({0}); nothing was started")]
    BrokerAway(String),
    #[error("the broker does not deliver answers yet; nothing was started")]
    NotListening,
    #[error("the command is not known to be published")]
    NotConfirmed(#[from] PublishError),
    #[error("the broker did not confirm the command in time")]
    NotInTime,
    #[error("the saga was started by a request with other fields")]
    OtherRequest,
}

impl Starter {
    /// Runs one saga. Returns only after the broker has confirmed its command, or with an error.
    /// A saga that runs already is started once more: that changes nothing, brings one that got
    /// stuck on, and has its end told to this gateway.
    pub(crate) async fn run(&self, request: Request) -> Result<Waited, NotStarted> {
        // The end of a saga that outruns the queue of replies would not reach its caller.
        if !*self.listens.borrow() {
            return Err(NotStarted::NotListening);
        }
        let (saga_id, asked) = (
            request.saga_id,
            request.message.particulars().user_ticket_id,
        );
        let known = match request.may_be_known {
            true => self.known(saga_id).await,
            false => None,
        };
        if let Some(known) = known {
            if is_other(known.user_ticket_id, asked) {
                return Err(NotStarted::OtherRequest);
            }
            if let Some(end) = known.end {
                return Ok(Waited::Ended(end));
            }
        }
        match self.start_and_wait(request).await? {
            Some(end) if is_other(end.user_ticket_id, asked) => Err(NotStarted::OtherRequest),
            ended => Ok(ended.map_or(Waited::StillRunning, Waited::Ended)),
        }
    }

    async fn start_and_wait(&self, mut request: Request) -> Result<Option<End>, NotStarted> {
        let Request {
            saga,
            saga_id,
            patience,
            ..
        } = request;
        let broker = self.bus.health();
        // It may come back in a moment, but its callers need not wait to hear so.
        if let Health::Down { waiting_for } = broker.borrow().clone() {
            return Err(NotStarted::BrokerAway(waiting_for));
        }
        let place = match request.place.take() {
            Some(place) => place,
            None => (self.places.take(&request.caller)).map_err(NotStarted::NoPlace)?,
        };
        let waiter = self.waiters.register(place, saga, saga_id);
        let command = self.command(request);
        let is_new = self.accepted.started(saga, &command);
        if let Err(problem) = self.publish(command).await {
            if is_new {
                self.accepted.not_started(saga_id);
            }
            warn!(%saga_id, error = chain(&problem), "a command was not confirmed");
            return Err(problem);
        }
        self.started.increment(u64::from(is_new));
        let ended = tokio::select! {
            biased;
            ended = self.wait(waiter, patience) => ended,
            end = self.end_after_trouble(saga_id, broker) => Some(end),
        };
        if ended.is_some() || patience.is_zero() {
            return Ok(ended);
        }
        Ok(self.look_up(saga_id).await.and_then(|known| known.end))
    }

    fn command(&self, request: Request) -> Event {
        let Request {
            saga,
            saga_id,
            message,
            traceparent,
            ..
        } = request;
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

    async fn wait(&self, mut waiter: Waiter, patience: Duration) -> Option<End> {
        let stopping = async {
            self.stop.cancelled().await;
            sleep(LINGER).await;
        };
        tokio::select! {
            biased;
            (outcome, event) = waiter.end() => Some(End::told_by(&event, outcome)),
            () = sleep(patience) => None,
            () = stopping => None,
        }
    }

    /// The end as the ledger has it. What was sent while the queue of replies was away is lost to who
    /// waits for it, so after any trouble of the broker the ledger is asked again and again; without
    /// trouble it never is.
    async fn end_after_trouble(&self, saga_id: SagaId, mut broker: watch::Receiver<Health>) -> End {
        if broker.changed().await.is_err() {
            // The bus is gone, and with it who asks.
            return std::future::pending().await;
        }
        loop {
            sleep(LOOK_AGAIN).await;
            let _one_of_few = self.looks.acquire().await.expect("nobody closes it");
            if let Some(end) = self.look_up(saga_id).await.and_then(|known| known.end) {
                return end;
            }
        }
    }

    /// What is known of a saga here or in the ledger.
    async fn known(&self, saga_id: SagaId) -> Option<Known> {
        match self.accepted.get(saga_id) {
            Some(accepted) => Some(Known {
                user_ticket_id: accepted.user_ticket_id,
                end: accepted.end,
            }),
            None => self.look_up(saga_id).await,
        }
    }

    /// What the ledger has of a saga. It knows the end of one that nobody told this instance of:
    /// what was sent while its queue of replies was away is lost.
    async fn look_up(&self, saga_id: SagaId) -> Option<Known> {
        match limited(LOOK_UP_LIMIT, self.ledger.find(saga_id)).await {
            Ok(Ok(row)) => row.map(|row| Known {
                user_ticket_id: row.user_ticket_id,
                end: End::of_row(&row),
            }),
            Ok(Err(problem)) => {
                warn!(%saga_id, error = chain(&problem), "a saga cannot be looked up");
                None
            }
            Err(_) => None,
        }
    }
}

/// A saga that was started before.
struct Known {
    user_ticket_id: Option<UserTicketId>,
    end: Option<End>,
}

/// Whether a saga is about another ticket than was asked for; a message may say of none.
fn is_other(known: Option<UserTicketId>, asked: Option<UserTicketId>) -> bool {
    matches!((known, asked), (Some(known), Some(asked)) if known != asked)
}
