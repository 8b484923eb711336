//! What every bus promises, as claims that run on each adapter. They use the port alone; what only
//! a broker can do (die, garble, show its dead letters) is the [`Broker`] of the adapter's test.
//!
//! That something does *not* come again is shown by what comes instead: a marker published later.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use events::choreography::{self, PURCHASE_AND_REGISTER, Step};
use events::{Event, EventId, Message, MessageType, SagaId, Timestamp, UserTicketId};
use futures_util::FutureExt;
use saga::bus::{
    Bus, Consumer, Delivery, DeliveryTag, JournalPosition, JournalReader, JournalStart, Queue,
    Settlement,
};
use saga::dead_letters::DeadLetters;

pub(crate) mod dead_letters;
pub(crate) mod delivery;
pub(crate) mod journal;
pub(crate) mod questions;
pub(crate) mod replies;
pub(crate) mod settlement;

/// How many events, each published alone, a consumer may have in hand.
pub(crate) const PREFETCH: usize = 20;

/// The one retry delay: long enough to see that it is waited for.
pub(crate) const RETRY_DELAY: Duration = Duration::from_millis(300);

/// A claim that takes this long waits for what never comes: the longest takes two seconds alone.
const LIMIT: Duration = Duration::from_secs(120);

/// A broker of its own for each claim, empty at first.
#[async_trait]
pub(crate) trait Broker: Sized {
    /// Starts it; its clients use [`PREFETCH`] and [`RETRY_DELAY`].
    async fn start() -> Self;

    /// A client, as independent of the others as this broker allows.
    async fn client(&self) -> Arc<dyn Bus>;

    /// Every client says goodbye, as at a deployment.
    async fn close(&self);

    /// Every client dies with what it has in hand, as of `kill -9`.
    async fn crash(&self);

    /// Puts into the queue of the step, and into the journal, what is no event.
    async fn put_garbage(&self, step: &'static Step);

    /// What is parked of the queue of the step, oldest first.
    async fn dead_letters(&self, step: &'static Step) -> Vec<DeadLetter>;

    /// What operators have, a connection of its own.
    async fn letters(&self) -> Box<dyn DeadLetters>;

    /// Ends it and leaves nothing behind.
    async fn stop(self);
}

/// A parked event.
#[derive(Debug)]
pub(crate) struct DeadLetter {
    pub(crate) json: Vec<u8>,
    pub(crate) failure: String,
    /// How often handling it failed; 0 if it was never settled.
    pub(crate) attempts: u32,
}

/// Runs one claim on a broker of its own.
pub(crate) async fn hold<B: Broker>(claim: impl AsyncFnOnce(&B)) {
    let broker = B::start().await;
    let claimed = AssertUnwindSafe(tokio::time::timeout(LIMIT, claim(&broker)))
        .catch_unwind()
        .await;
    broker.stop().await;
    match claimed {
        Ok(in_time) => in_time.expect("what the claim waits for does not come"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Every claim as a test on the given broker.
macro_rules! conformance {
    ($broker:ty: $($topic:ident { $($claim:ident)* })*) => {
        $($(
            #[tokio::test]
            async fn $claim() {
                conformance::hold(conformance::$topic::$claim::<$broker>).await;
            }
        )*)*
    };
    ($broker:ty) => {
        conformance! { $broker:
            delivery {
                every_queue_gets_the_events_it_is_bound_to_once
                events_come_in_the_order_of_their_publishing
                a_batch_holds_no_more_than_was_asked_for
                an_unsettled_event_comes_again_after_its_consumer_is_gone
                an_unsettled_event_comes_again_after_a_crash
                what_is_published_survives_a_crash
                competing_consumers_share_and_none_gets_what_another_has
                the_prefetch_bounds_what_a_consumer_has_in_hand
                receiving_can_be_cancelled_at_any_moment_and_loses_nothing
                concurrent_publishing_loses_nothing
                an_event_that_kills_its_process_each_time_is_parked_and_its_neighbours_are_not
            }
            settlement {
                a_settled_event_does_not_come_again_even_after_a_restart
                a_settlement_of_a_delivery_nobody_holds_is_passed_over
                a_retried_event_comes_again_after_its_delay_with_one_attempt_more
                a_retry_goes_to_its_queue_alone
                a_waiting_retry_holds_nothing_up
                a_waiting_retry_survives_a_restart
                a_dead_letter_is_parked_with_its_failure_and_does_not_come_again
                an_undecodable_event_comes_as_an_error_and_its_neighbours_are_intact
            }
            dead_letters {
                what_is_put_back_comes_to_its_queue_with_all_its_retries
                what_is_dropped_is_in_the_record_to_the_letter
                looking_takes_nothing_away_however_often
                only_what_is_chosen_is_put_back
                a_message_that_fails_again_stops_the_ramp
                a_ramp_goes_on_while_nothing_comes_back
                a_ramp_that_is_asked_to_stop_leaves_the_rest_parked
                what_is_selected_is_shown_by_pages_and_dropped_alone
            }
            replies {
                an_end_event_reaches_the_instance_it_names_and_no_other
                an_instance_gets_nothing_but_ends_of_sagas
                an_end_event_for_a_vanished_gateway_is_no_error
            }
            questions {
                each_question_gets_its_own_answer_from_the_service_it_is_put_to
                a_question_that_nobody_answers_is_given_up_after_its_limit
                a_question_waits_for_a_service_that_is_just_starting
                replicas_share_the_questions
                questions_wait_for_no_event
            }
            journal {
                the_journal_has_every_event_in_order
                reading_on_has_no_gap_and_no_repeat
                a_waiting_reader_is_woken_by_the_next_event
                reading_the_journal_can_be_cancelled_at_any_moment
                the_journal_survives_a_restart
                garbage_in_the_journal_hides_no_neighbour
                a_journal_that_ends_before_its_reader_is_read_from_its_start
                the_end_is_the_last_entry_of_what_is_confirmed
                a_reader_from_the_last_entry_begins_with_it
                a_reader_from_a_time_misses_nothing_and_never_waits_in_vain
            }
        }
    };
}
pub(crate) use conformance;

/// A step whose queue a claim uses when any queue will do.
pub(crate) const STEP: &Step = &PURCHASE_AND_REGISTER.steps[0];

/// A fresh event for the queue of [`STEP`].
pub(crate) fn fresh() -> Event {
    event(STEP.on, SagaId::mint(), None)
}

pub(crate) fn many(count: usize) -> Vec<Event> {
    (0..count).map(|_| fresh()).collect()
}

/// An event of a saga that this gateway instance waits for.
pub(crate) fn event(message_type: MessageType, saga_id: SagaId, instance: Option<&str>) -> Event {
    Event {
        id: Event::id_of(saga_id, message_type),
        source: "conformance".into(),
        time: Timestamp::now(),
        saga_id,
        causation_id: None,
        traceparent: None,
        reply_to: instance.map(str::to_owned),
        deadline: None,
        message: message(message_type),
    }
}

fn message(message_type: MessageType) -> Message {
    let (id, time) = (UserTicketId::mint(), Timestamp::now());
    let reason = r#""a \"quoted\" 票 \u0000 reason""#;
    let data = format!(
        r#"{{"userId":7,"ticketId":{},"userTicketId":"{id}","registId":"{id}","from":"{id}",
            "heldBy":"{id}","createdAt":"{time}","changedAt":"{time}",
            "reason":{reason},"cause":{reason}}}"#,
        u64::MAX
    );
    Message::decode(message_type.wire_type(), &data).expect("every field that any message has")
}

pub(crate) async fn consume(bus: &Arc<dyn Bus>, step: &'static Step) -> Box<dyn Consumer> {
    let consumer = bus.consume(Queue::Work(step)).await;
    consumer.expect("the queue is there")
}

pub(crate) async fn replies(bus: &Arc<dyn Bus>, instance: &str) -> Box<dyn Consumer> {
    let instance = instance.to_owned();
    let consumer = bus.consume(Queue::Replies { instance }).await;
    consumer.expect("nobody else has the replies")
}

pub(crate) async fn journal(bus: &Arc<dyn Bus>, from: JournalStart) -> Box<dyn JournalReader> {
    bus.read_journal(from).await.expect("the journal is there")
}

pub(crate) async fn publish(bus: &Arc<dyn Bus>, events: &[Event]) {
    bus.publish(events).await.expect("the broker is there");
}

/// Publishes each event alone, one after the other.
pub(crate) async fn publish_singly(bus: &Arc<dyn Bus>, events: &[Event]) {
    for event in events {
        publish(bus, std::slice::from_ref(event)).await;
    }
}

/// Waits for this many deliveries, and leaves them unsettled.
pub(crate) async fn take(consumer: &mut dyn Consumer, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.extend(consumer.receive(count - taken.len()).await);
    }
    assert_eq!(taken.len(), count, "more came than was published");
    taken
}

/// Waits for one delivery, and leaves it unsettled.
pub(crate) async fn next(consumer: &mut dyn Consumer) -> Delivery {
    take(consumer, 1).await.remove(0)
}

/// Takes this many events and settles each batch at once.
pub(crate) async fn drain(consumer: &mut dyn Consumer, count: usize) -> Vec<Event> {
    let mut drained = Vec::new();
    while drained.len() < count {
        let batch = consumer.receive(count).await;
        consumer.settle(done(&batch)).await;
        drained.extend(decoded(batch));
    }
    assert_eq!(drained.len(), count, "more came than was published");
    drained
}

/// Reads this many entries of the journal.
pub(crate) async fn read(reader: &mut dyn JournalReader, count: usize) -> Vec<Event> {
    let mut entries = Vec::new();
    while entries.len() < count {
        let page = reader.read(count).await;
        entries.extend(
            page.entries
                .into_iter()
                .map(|entry| entry.expect("an event")),
        );
    }
    assert_eq!(entries.len(), count, "more is journaled than was published");
    entries
}

pub(crate) fn done(deliveries: &[Delivery]) -> Vec<(DeliveryTag, Settlement)> {
    let tags = deliveries.iter().map(|delivery| delivery.tag);
    tags.map(|tag| (tag, Settlement::Done)).collect()
}

pub(crate) fn decoded(deliveries: Vec<Delivery>) -> Vec<Event> {
    let events = deliveries.into_iter().map(|delivery| delivery.event);
    events.map(|event| event.expect("an event")).collect()
}

pub(crate) fn ids(events: &[Event]) -> Vec<EventId> {
    events.iter().map(|event| event.id).collect()
}

/// How often each event is there.
pub(crate) fn count(events: &[Event]) -> HashMap<EventId, usize> {
    let mut counts = HashMap::new();
    for id in ids(events) {
        *counts.entry(id).or_default() += 1;
    }
    counts
}

/// Every step of the choreography, with one fresh event for its queue.
pub(crate) fn one_for_each_step() -> Vec<(&'static Step, Event)> {
    let steps = choreography::steps();
    steps
        .map(|step| (step, event(step.on, SagaId::mint(), Some("gateway-1"))))
        .collect()
}
