//! Who waits for the end of which saga. A waiter is registered before the command is published, so
//! no end can come too early, and is gone when its caller is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::metrics::Gauge;
use events::choreography::{Outcome, Saga};
use events::{Event, SagaId};
use saga::bus::{Consumer, Settlement};
use saga::failure::chain;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::accepted::AcceptedSagas;

/// Each waiting request holds a connection and some kilobytes; beyond this, callers are better
/// served by hearing so at once.
const MAX_WAITERS: usize = 16_384;
/// Replies are handed over in memory; as many as a pack may hold.
const REPLIES_AT_ONCE: usize = 1_024;

type Waiting = HashMap<SagaId, (&'static Saga, oneshot::Sender<(Outcome, Event)>)>;

#[derive(Clone)]
pub(crate) struct Waiters {
    waiting: Arc<Mutex<Waiting>>,
    gauge: Gauge,
}

/// A place in the line; leaving scope gives it up.
pub(crate) struct Waiter {
    saga_id: SagaId,
    end: oneshot::Receiver<(Outcome, Event)>,
    line: Waiters,
}

/// As many callers wait as may.
#[derive(Debug)]
pub(crate) struct Full;

impl Waiters {
    pub(crate) fn new(gauge: Gauge) -> Self {
        Self {
            waiting: Arc::default(),
            gauge,
        }
    }

    pub(crate) fn register(&self, saga: &'static Saga, saga_id: SagaId) -> Result<Waiter, Full> {
        let (sender, end) = oneshot::channel();
        {
            let mut waiting = self.lock();
            if waiting.len() >= MAX_WAITERS {
                return Err(Full);
            }
            waiting.insert(saga_id, (saga, sender));
        }
        self.gauge.increment(1.0);
        Ok(Waiter {
            saga_id,
            end,
            line: self.clone(),
        })
    }

    /// Hands an event to the one who waits for its saga's end, if it is that and someone does.
    fn hand_over(&self, event: Event) {
        let mut waiting = self.lock();
        let Some((saga, _)) = waiting.get(&event.saga_id) else {
            return;
        };
        let Some(outcome) = saga.outcome_of(event.message_type()) else {
            return;
        };
        if let Some((_, sender)) = waiting.remove(&event.saga_id) {
            // It fails when the caller has just left; the ledger has the end.
            let _left = sender.send((outcome, event));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No code that holds the lock can leave the map half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// How the saga ended, and the event that ended it.
    pub(crate) async fn end(&mut self) -> (Outcome, Event) {
        match (&mut self.end).await {
            Ok(end) => end,
            // Only this waiter's own drop removes the sender unsent.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.line.lock().remove(&self.saga_id);
        self.line.gauge.decrement(1.0);
    }
}

/// Takes the replies to this instance and hands them over, until told to stop.
pub(crate) async fn take_replies(
    mut consumer: Box<dyn Consumer>,
    waiters: Waiters,
    accepted: Arc<AcceptedSagas>,
    stop: CancellationToken,
) {
    let receive = async {
        loop {
            let deliveries = consumer.receive(REPLIES_AT_ONCE).await;
            let tags = deliveries.iter().map(|delivery| delivery.tag);
            let settled = tags.map(|tag| (tag, Settlement::Done)).collect();
            for delivery in deliveries {
                match delivery.event {
                    Ok(event) => {
                        accepted.ended(&event);
                        waiters.hand_over(event);
                    }
                    Err(problem) => warn!(error = chain(&problem), "a reply is no event of ours"),
                }
            }
            consumer.settle(settled).await;
        }
    };
    let _: Option<std::convert::Infallible> = stop.run_until_cancelled(receive).await;
}

#[cfg(test)]
mod tests {
    use events::choreography::PURCHASE_AND_REGISTER;

    use super::*;

    fn waiters() -> Waiters {
        Waiters::new(Gauge::noop())
    }

    #[test]
    fn a_caller_who_leaves_is_forgotten() {
        let line = waiters();
        let waiter = line.register(&PURCHASE_AND_REGISTER, SagaId::mint());
        assert_eq!(line.lock().len(), 1);
        drop(waiter);
        assert_eq!(line.lock().len(), 0);
    }

    #[test]
    fn the_line_has_an_end() {
        let line = waiters();
        let register = |_| line.register(&PURCHASE_AND_REGISTER, SagaId::mint());
        let waiting: Vec<_> = (0..MAX_WAITERS).map(register).collect();
        assert!(waiting.iter().all(Result::is_ok));
        assert!(register(0).is_err());
        drop(waiting);
        assert!(register(0).is_ok());
    }
}
