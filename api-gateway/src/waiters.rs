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
use crate::settings::Limits;

/// Replies are handed over in memory; as many as a pack may hold.
const REPLIES_AT_ONCE: usize = 1_024;

#[derive(Default)]
struct Waiting {
    sagas: HashMap<SagaId, Line>,
    /// In all lines together.
    waiters: usize,
    /// How many of them are each caller's, of callers that are told apart.
    of_caller: HashMap<Arc<str>, usize>,
    next_place: u64,
}

/// Everybody who waits for one saga; more than one if a request was sent again.
struct Line {
    saga: &'static Saga,
    places: Vec<(u64, oneshot::Sender<(Outcome, Event)>)>,
}

#[derive(Clone)]
pub(crate) struct Waiters {
    waiting: Arc<Mutex<Waiting>>,
    limits: Limits,
    gauge: Gauge,
}

/// A place in the line; leaving scope gives it up.
pub(crate) struct Waiter {
    saga_id: SagaId,
    place: u64,
    caller: Arc<str>,
    end: oneshot::Receiver<(Outcome, Event)>,
    waiters: Waiters,
}

/// Why one more may not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// As many wait as may.
    All,
    /// As many as one caller may have.
    Caller,
}

impl Waiters {
    pub(crate) fn new(limits: Limits, gauge: Gauge) -> Self {
        Self {
            waiting: Arc::default(),
            limits,
            gauge,
        }
    }

    /// `caller` is empty where callers are not told apart.
    pub(crate) fn register(
        &self,
        caller: &Arc<str>,
        saga: &'static Saga,
        saga_id: SagaId,
    ) -> Result<Waiter, Full> {
        let (sender, end) = oneshot::channel();
        let mut waiting = self.lock();
        waiting.admit(caller, self.limits)?;
        let place = waiting.join(saga, saga_id, sender);
        drop(waiting);
        self.gauge.increment(1.0);
        Ok(Waiter {
            saga_id,
            place,
            caller: Arc::clone(caller),
            end,
            waiters: self.clone(),
        })
    }

    /// Hands an event to those who wait for its saga's end, if it is that and someone does.
    fn hand_over(&self, event: &Event) {
        let mut waiting = self.lock();
        let Some(line) = waiting.sagas.get(&event.saga_id) else {
            return;
        };
        let Some(outcome) = line.saga.outcome_of(event.message_type()) else {
            return;
        };
        let line = waiting.sagas.remove(&event.saga_id);
        for (_, sender) in line.into_iter().flat_map(|line| line.places) {
            // It fails when the caller has just left; the ledger has the end.
            let _left = sender.send((outcome, event.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No code that holds the lock can leave the map half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn admit(&mut self, caller: &Arc<str>, limits: Limits) -> Result<(), Full> {
        if self.waiters >= limits.max_sagas {
            return Err(Full::All);
        }
        if !caller.is_empty() {
            let of_caller = self.of_caller.get(caller).copied().unwrap_or(0);
            if of_caller >= limits.max_sagas_per_caller {
                return Err(Full::Caller);
            }
            self.of_caller.insert(Arc::clone(caller), of_caller + 1);
        }
        self.waiters += 1;
        Ok(())
    }

    fn join(
        &mut self,
        saga: &'static Saga,
        saga_id: SagaId,
        sender: oneshot::Sender<(Outcome, Event)>,
    ) -> u64 {
        self.next_place += 1;
        let new = || Line {
            saga,
            places: Vec::with_capacity(1),
        };
        let line = self.sagas.entry(saga_id).or_insert_with(new);
        line.places.push((self.next_place, sender));
        self.next_place
    }

    fn leave(&mut self, caller: &str, saga_id: SagaId, place: u64) {
        self.waiters -= 1;
        if let Some(of_caller) = self.of_caller.get_mut(caller) {
            *of_caller -= 1;
            if *of_caller == 0 {
                self.of_caller.remove(caller);
            }
        }
        if let Some(line) = self.sagas.get_mut(&saga_id) {
            line.places.retain(|(other, _)| *other != place);
            if line.places.is_empty() {
                self.sagas.remove(&saga_id);
            }
        }
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
        let mut waiting = self.waiters.lock();
        waiting.leave(&self.caller, self.saga_id, self.place);
        drop(waiting);
        self.waiters.gauge.decrement(1.0);
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
                        waiters.hand_over(&event);
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
    use events::{MessageType, Reason, TicketDeleted, Timestamp, UserTicketId};

    use super::*;

    fn waiters() -> Waiters {
        let limits = Limits {
            max_sagas: 5,
            max_sagas_per_caller: 2,
            ..Limits::default()
        };
        Waiters::new(limits, Gauge::noop())
    }

    fn register(line: &Waiters, caller: &str) -> Result<Waiter, Full> {
        line.register(&caller.into(), &PURCHASE_AND_REGISTER, SagaId::mint())
    }

    #[test]
    fn a_caller_who_leaves_is_forgotten() {
        let line = waiters();
        let waiter = register(&line, "7");
        assert_eq!(line.lock().sagas.len(), 1);
        drop(waiter);
        assert_eq!(line.lock().sagas.len(), 0);
        assert_eq!(line.lock().of_caller.len(), 0);
        assert_eq!(line.lock().waiters, 0);
    }

    #[tokio::test]
    async fn everybody_who_waits_for_a_saga_hears_of_its_end() {
        let (line, saga_id) = (waiters(), SagaId::mint());
        let register = || line.register(&"".into(), &PURCHASE_AND_REGISTER, saga_id);
        let [mut first, gone, mut last] = [(); 3].map(|()| register().unwrap_or_else(|_| panic!()));
        drop(gone);
        let event = Event {
            id: Event::id_of(saga_id, MessageType::TicketDeleted),
            source: "ticket-worker".into(),
            time: Timestamp::now(),
            saga_id,
            causation_id: None,
            traceparent: None,
            reply_to: None,
            deadline: None,
            message: TicketDeleted {
                user_ticket_id: UserTicketId::mint(),
                cause: Reason::ALREADY_REGISTERED,
            }
            .into(),
        };
        line.hand_over(&event);
        for waiter in [&mut first, &mut last] {
            assert_eq!(waiter.end().await, (Outcome::Compensated, event.clone()));
        }
    }

    #[test]
    fn the_line_has_an_end() {
        let line = waiters();
        let waiting: Vec<_> = (0..5).map(|_| register(&line, "")).collect();
        assert!(waiting.iter().all(Result::is_ok));
        assert_eq!(register(&line, "").err(), Some(Full::All));
        drop(waiting);
        assert!(register(&line, "").is_ok());
    }

    #[test]
    fn a_caller_has_its_part_of_the_line_and_leaves_the_rest_to_others() {
        let line = waiters();
        let of_seven = [register(&line, "7"), register(&line, "7")];
        assert!(of_seven.iter().all(Result::is_ok));
        assert_eq!(register(&line, "7").err(), Some(Full::Caller));
        let of_eight = register(&line, "8");
        assert!(of_eight.is_ok());
        drop(of_seven);
        assert!(register(&line, "7").is_ok());
    }
}
