//! The loop: receive what is there, commit, publish, wait for the confirms, and only then settle.
//!
//! **Ack last.** An unsettled delivery is the outbox: whatever happens between any two of these
//! steps, the broker hands the event out again and the stored decision is published again.

mod giving_up;
mod waiting;
mod worker;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use events::{DecodeError, Event, choreography};
use futures_util::FutureExt;
use giving_up::Failed;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use waiting::{Stopped, Waiting};

pub use self::worker::{Participant, Worker};

use crate::bus::{
    Bus, Consumer, Delivery, DeliveryTag, PublishError, Queue, Settlement, TopologyError,
};
use crate::database::limited;
use crate::decision::{Decider, Moment};
use crate::failure::{Failure, chain};
use crate::retry::RetryPolicy;
use crate::store::Store;
use crate::tasks::Tasks;

/// How a participant works its queues off.
#[derive(Clone, Debug)]
pub struct LoopOptions {
    /// At most so many events in one transaction, and, but for a last message that brings more, in
    /// hand. The default is past the point where larger batches are cheaper per event, and keeps a
    /// transaction in the tens of milliseconds.
    pub batch_limit: usize,
    pub retry: RetryPolicy,
    /// Seeds the jitter of waits for a dependency, for a run that must be repeatable; without it,
    /// replicas wait differently.
    pub jitter_seed: Option<u64>,
}

impl Default for LoopOptions {
    fn default() -> Self {
        Self {
            batch_limit: 1024,
            retry: RetryPolicy::default(),
            jitter_seed: None,
        }
    }
}

/// Starts one loop for each queue that the choreography table gives the service, so that an undo
/// never waits behind a backlog of purchases.
pub async fn start<D, S, C>(
    worker: Worker<D, S, C>,
    bus: &Arc<dyn Bus>,
    options: &LoopOptions,
    tasks: &Tasks,
) -> Result<Vec<JoinHandle<()>>, TopologyError>
where
    D: Decider,
    S: Store<D>,
    C: Fn() -> Moment + Send + Sync + 'static,
{
    let participant: Arc<dyn Participant> = Arc::new(worker);
    let mut loops = Vec::new();
    for step in choreography::steps().filter(|step| step.service == D::SERVICE) {
        let consuming = bus.consume(Queue::Work(step));
        let Some(consumer) = tasks.stop_token().run_until_cancelled(consuming).await else {
            // Stopped while it waited for the broker; what runs by now ends by the same token.
            break;
        };
        let running = ParticipantLoop {
            queue: step.queue(),
            participant: Arc::clone(&participant),
            bus: Arc::clone(bus),
            options: options.clone(),
            stop: tasks.stop_token(),
        };
        loops.push(tasks.spawn(step.queue(), running.run(consumer?)));
    }
    Ok(loops)
}

/// One queue of one participant, being worked off.
struct ParticipantLoop {
    queue: String,
    participant: Arc<dyn Participant>,
    bus: Arc<dyn Bus>,
    options: LoopOptions,
    stop: CancellationToken,
}

/// A batch that takes this long hangs: on a database that does not answer, or on one of its events.
const HANDLING_LIMIT: Duration = Duration::from_secs(30);
/// A database that reads nothing in this time does not answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// How long a stop lets a settlement wait for the broker's confirm. What is not settled then comes
/// again.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);
/// A replica that lost a race sees the winner's rows at its next try. Losing this often in a row is
/// no race but a row that clashes without being loaded: the event at fault has to be found.
const CONFLICT_LIMIT: usize = 10;
/// An event that stands alone hangs by its own doing if it does so this often in a row, with a
/// database that answers each time. Once may be a database that had fallen silent, or a connection
/// that was lost without a word: neither counts against the event.
const HANG_LIMIT: usize = 3;

/// What came of one try at a batch.
enum Tried {
    Replied(Vec<Event>),
    Failed(Failure),
    /// No end after [`HANDLING_LIMIT`], although the database answers.
    Hung,
}

/// How the handling of one event ended.
enum Handled {
    Reply(Box<Event>),
    Failed(Failure),
}

impl ParticipantLoop {
    /// Works until asked to stop; then finishes the batch in hand.
    async fn run(self, mut consumer: Box<dyn Consumer>) {
        loop {
            let deliveries = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                deliveries = consumer.receive(self.options.batch_limit) => deliveries,
            };
            metrics::histogram!("saga_batch_events", "queue" => self.queue.clone())
                .record(deliveries.len() as f64);
            let Ok(settlements) = self.handle(deliveries).await else {
                break;
            };
            self.count(&settlements);
            tokio::select! {
                biased;
                () = consumer.settle(settlements) => {}
                () = self.patience_after_stop() => break,
            }
        }
        info!(queue = self.queue, "stopped taking events");
    }

    async fn patience_after_stop(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(SETTLE_LIMIT).await;
    }

    /// Commits and publishes; what it returns may be settled.
    async fn handle(
        &self,
        deliveries: Vec<Delivery>,
    ) -> Result<Vec<(DeliveryTag, Settlement)>, Stopped> {
        let mut settlements = Vec::with_capacity(deliveries.len());
        let mut taken = Vec::with_capacity(deliveries.len());
        let mut events = Vec::with_capacity(deliveries.len());
        for Delivery {
            tag,
            event,
            attempts,
        } in deliveries
        {
            match event {
                Ok(event) => {
                    taken.push((tag, attempts));
                    events.push(event);
                }
                Err(error) => settlements.push((tag, self.park(&error))),
            }
        }
        let handled = self.handle_events(&events).await?;
        let mut replies = Vec::with_capacity(events.len());
        for ((event, (tag, attempts)), handled) in events.iter().zip(taken).zip(handled) {
            settlements.push(match handled {
                Handled::Reply(reply) => {
                    replies.push(*reply);
                    (tag, Settlement::Done)
                }
                Handled::Failed(failure) => (tag, self.give_up(event, attempts, failure)),
            });
        }
        self.publish(&replies).await?;
        Ok(settlements)
    }

    /// Handles the events in transactions of at most the batch limit (a consumer may bring more, for
    /// it takes whole messages), or, where one fails, in halves of halves, until an event that fails
    /// stands alone. Every event's result, in order.
    async fn handle_events(&self, events: &[Event]) -> Result<Vec<Handled>, Stopped> {
        let mut handled = Vec::with_capacity(events.len());
        let limit = self.options.batch_limit.max(1);
        let starts = (0..events.len()).step_by(limit);
        let mut ranges: Vec<_> = starts
            .map(|start| start..events.len().min(start + limit))
            .rev()
            .collect();
        while let Some(range) = ranges.pop() {
            match self.react_or_wait(&events[range.clone()]).await? {
                Ok(replies) => {
                    handled.extend(replies.into_iter().map(|r| Handled::Reply(Box::new(r))));
                }
                Err(failure) if range.len() == 1 => handled.push(Handled::Failed(failure)),
                Err(failure) => {
                    debug!(
                        queue = self.queue,
                        events = range.len(),
                        failure = chain(&failure),
                        "halving"
                    );
                    let middle = range.start + range.len() / 2;
                    ranges.extend([middle..range.end, range.start..middle]);
                }
            }
        }
        Ok(handled)
    }

    /// One transaction, repeated while its database is away or another replica is faster. What
    /// comes back as an error is the events' own fault.
    async fn react_or_wait(
        &self,
        events: &[Event],
    ) -> Result<Result<Vec<Event>, Failure>, Stopped> {
        let mut wait = self.waiting("the database", events.len());
        let (mut conflicts, mut hangs) = (0, 0);
        let result = loop {
            match self.react(events).await {
                Tried::Failed(failure @ Failure::Unavailable(_)) => {
                    hangs = 0;
                    wait.once(chain(&failure), &self.stop).await?;
                }
                Tried::Failed(Failure::Conflict) if conflicts < CONFLICT_LIMIT => conflicts += 1,
                // To halve a batch counts against none of its events.
                Tried::Hung if events.len() == 1 && hangs + 1 < HANG_LIMIT => hangs += 1,
                Tried::Hung => {
                    let failure = format!("no end after {HANDLING_LIMIT:?}");
                    break Err(Failure::handling(failure));
                }
                Tried::Failed(failure) => break Err(failure),
                Tried::Replied(replies) => break Ok(replies),
            }
        };
        wait.over();
        Ok(result)
    }

    /// A panic is the failure of its event like any other. Of a try without an end, the database
    /// knows more: one that does not answer is away.
    async fn react(&self, events: &[Event]) -> Tried {
        let reacting = AssertUnwindSafe(self.participant.react(events)).catch_unwind();
        match limited(HANDLING_LIMIT, reacting).await {
            Ok(Ok(Ok(replies))) if replies.len() == events.len() => Tried::Replied(replies),
            Ok(Ok(Ok(replies))) => Tried::Failed(Failure::handling(format!(
                "{} replies to {} events",
                replies.len(),
                events.len()
            ))),
            Ok(Ok(Err(failure))) => Tried::Failed(failure),
            Ok(Err(panic)) => Tried::Failed(Failure::handling(panic_text(panic.as_ref()))),
            Err(_) if self.database_answers().await => Tried::Hung,
            Err(elapsed) => Tried::Failed(Failure::Unavailable(elapsed.into())),
        }
    }

    /// A batch of no events only reads, and changes nothing.
    async fn database_answers(&self) -> bool {
        let asking = AssertUnwindSafe(self.participant.react(&[])).catch_unwind();
        let answer = limited(ANSWER_LIMIT, asking).await;
        !matches!(answer, Err(_) | Ok(Ok(Err(Failure::Unavailable(_)))))
    }

    /// Publishes until the broker has confirmed all, however long it is away.
    async fn publish(&self, replies: &[Event]) -> Result<(), Stopped> {
        if replies.is_empty() {
            return Ok(());
        }
        let mut wait = self.waiting("the broker", replies.len());
        while let Err(error) = self.bus.publish(replies).await {
            if let PublishError::Unroutable { what } = &error {
                metrics::counter!("saga_events_unroutable_total", "what" => what.clone())
                    .increment(1);
            }
            wait.once(chain(&error), &self.stop).await?;
        }
        wait.over();
        Ok(())
    }

    fn waiting(&self, dependency: &'static str, events: usize) -> Waiting<'_> {
        Waiting {
            queue: &self.queue,
            dependency,
            events,
            jitter_seed: self.options.jitter_seed,
            backoff: None,
        }
    }

    fn park(&self, error: &DecodeError) -> Settlement {
        let failure = chain(error);
        warn!(
            queue = self.queue,
            failure, "an event cannot be decoded; dead-lettering it"
        );
        Settlement::DeadLetter { failure }
    }

    fn give_up(&self, event: &Event, attempts: u32, failure: Failure) -> Settlement {
        let failed = Failed {
            queue: &self.queue,
            event,
            attempts,
        };
        failed.give_up(failure, &self.options.retry)
    }

    fn count(&self, settlements: &[(DeliveryTag, Settlement)]) {
        let (mut done, mut retried, mut parked) = (0, 0, 0);
        for (_, settlement) in settlements {
            match settlement {
                Settlement::Done => done += 1,
                Settlement::Retry { .. } => retried += 1,
                Settlement::DeadLetter { .. } => parked += 1,
            }
        }
        for (result, events) in [
            ("done", done),
            ("retried", retried),
            ("dead_lettered", parked),
        ] {
            let labels = [("queue", self.queue.clone()), ("result", result.to_owned())];
            metrics::counter!("saga_events_settled_total", &labels).increment(events);
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!(
        "panicked: {}",
        text.unwrap_or_else(|| "with no text".to_owned())
    )
}
