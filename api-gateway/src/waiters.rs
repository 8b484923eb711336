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
use crate::places::Place;

/// Replies are handed over in memory; as many as a pack may hold.
const REPLIES_AT_ONCE: usize = 1_024;

#[derive(Default)]
struct Waiting {
    sagas: HashMap<SagaId, Line>,
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
    gauge: Gauge,
}

/// A place in the line; leaving scope gives it up.
pub(crate) struct Waiter {
    saga_id: SagaId,
    place: u64,
    _counted: Place,
    end: oneshot::Receiver<(Outcome, Event)>,
    waiters: Waiters,
}

impl Waiters {
    pub(crate) fn new(gauge: Gauge) -> Self {
        Self {
            waiting: Arc::default(),
            gauge,
        }
    }

    pub(crate) fn register(&self, counted: Place, saga: &'static Saga, saga_id: SagaId) -> Waiter {
        let (sender, end) = oneshot::channel();
        let place = self.lock().join(saga, saga_id, sender);
        self.gauge.increment(1.0);
        Waiter {
            saga_id,
            place,
            _counted: counted,
            end,
            waiters: self.clone(),
        }
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

    fn leave(&mut self, saga_id: SagaId, place: u64) {
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
        waiting.leave(self.saga_id, self.place);
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
    use crate::places::Places;

    fn place() -> Place {
        let place = Places::new(1, 1).take(&Arc::default());
        place.unwrap_or_else(|_| panic!("there is one"))
    }

    #[test]
    fn a_caller_who_leaves_is_forgotten() {
        let line = Waiters::new(Gauge::noop());
        let waiter = line.register(place(), &PURCHASE_AND_REGISTER, SagaId::mint());
        assert_eq!(line.lock().sagas.len(), 1);
        drop(waiter);
        assert_eq!(line.lock().sagas.len(), 0);
    }

    #[tokio::test]
    async fn everybody_who_waits_for_a_saga_hears_of_its_end() {
        let (line, saga_id) = (Waiters::new(Gauge::noop()), SagaId::mint());
        let register = |()| line.register(place(), &PURCHASE_AND_REGISTER, saga_id);
        let [mut first, gone, mut last] = [(); 3].map(register);
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
}
