//! Claims about what is handed to whom, and how often.

use std::collections::HashSet;

use futures_util::future::join_all;

use super::*;

pub(crate) async fn every_queue_gets_the_events_it_is_bound_to_once<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    let (first, second) = (one_for_each_step(), one_for_each_step());
    for (_, event) in first.iter().chain(&second) {
        publish(&bus, std::slice::from_ref(event)).await;
    }
    for ((step, first), (_, second)) in first.iter().zip(&second) {
        let mut consumer = consume(&bus, step).await;
        let got = drain(consumer.as_mut(), 2).await;
        assert_eq!(got, [first.clone(), second.clone()], "{}", step.queue());
    }
    let published: Vec<_> = first.into_iter().chain(second).map(|(_, e)| e).collect();
    let mut reader = journal(&bus, JournalStart::First).await;
    let journaled = read(reader.as_mut(), published.len()).await;
    assert_eq!(count(&journaled), count(&published));
}

pub(crate) async fn events_come_in_the_order_of_their_publishing<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    let published = many(300);
    for events in published.chunks(7) {
        publish(&bus, events).await;
    }
    let mut consumer = consume(&bus, STEP).await;
    let got = drain(consumer.as_mut(), published.len()).await;
    assert_eq!(ids(&got), ids(&published));
}

pub(crate) async fn a_batch_holds_no_more_than_was_asked_for<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    publish_singly(&bus, &many(10)).await;
    let mut consumer = consume(&bus, STEP).await;
    let mut seen = 0;
    while seen < 10 {
        let batch = consumer.receive(3).await;
        assert!((1..=3).contains(&batch.len()), "{} events", batch.len());
        seen += batch.len();
    }
}

pub(crate) async fn an_unsettled_event_comes_again_after_its_consumer_is_gone<B: Broker>(
    broker: &B,
) {
    let bus = broker.client().await;
    let published = many(5);
    publish_singly(&bus, &published).await;
    let mut consumer = consume(&bus, STEP).await;
    let taken = take(consumer.as_mut(), 5).await;
    consumer.settle(done(&taken[..2])).await;
    drop(consumer);

    let mut successor = consume(&bus, STEP).await;
    let again = take(successor.as_mut(), 3).await;
    assert!(again.iter().all(|delivery| delivery.attempts == 0));
    assert_eq!(count(&decoded(again)), count(&published[2..]));
}

pub(crate) async fn an_unsettled_event_comes_again_after_a_crash<B: Broker>(broker: &B) {
    let published = many(5);
    let bus = broker.client().await;
    publish_singly(&bus, &published).await;
    let mut consumer = consume(&bus, STEP).await;
    take(consumer.as_mut(), 3).await;
    broker.crash().await;

    let bus = broker.client().await;
    let mut successor = consume(&bus, STEP).await;
    let again = take(successor.as_mut(), 5).await;
    assert!(again.iter().all(|delivery| delivery.attempts == 0));
    assert_eq!(count(&decoded(again)), count(&published));
}

pub(crate) async fn what_is_published_survives_a_crash<B: Broker>(broker: &B) {
    let published = many(500);
    let bus = broker.client().await;
    publish(&bus, &published).await;
    broker.crash().await;

    let bus = broker.client().await;
    let mut consumer = consume(&bus, STEP).await;
    let got = drain(consumer.as_mut(), published.len()).await;
    assert_eq!(count(&got), count(&published));
}

pub(crate) async fn competing_consumers_share_and_none_gets_what_another_has<B: Broker>(
    broker: &B,
) {
    let (one, other) = (broker.client().await, broker.client().await);
    let (mut a, mut b) = (consume(&one, STEP).await, consume(&other, STEP).await);
    let published = many(2 * PREFETCH);
    publish_singly(&one, &published).await;
    // Nothing is settled meanwhile, so each gets what the other does not.
    let of_a = decoded(take(a.as_mut(), PREFETCH).await);
    let of_b = decoded(take(b.as_mut(), PREFETCH).await);
    assert_eq!(count(&[of_a, of_b].concat()), count(&published));
}

pub(crate) async fn the_prefetch_bounds_what_a_consumer_has_in_hand<B: Broker>(broker: &B) {
    let (one, other) = (broker.client().await, broker.client().await);
    let published = many(2 * PREFETCH + 1);
    publish_singly(&one, &published).await;
    let mut a = consume(&one, STEP).await;
    let of_a = take(a.as_mut(), PREFETCH).await;
    // The rest is there for another one, so it is not on its way to the first.
    let mut b = consume(&other, STEP).await;
    let of_b = take(b.as_mut(), PREFETCH).await;
    assert_eq!(
        count(&decoded(of_b)),
        count(&published[PREFETCH..2 * PREFETCH])
    );
    // Both are full; who settles one gets the last one. Not the first: a bus may hand that out alone,
    // before it takes more.
    a.settle(done(&of_a[1..2])).await;
    let last = next(a.as_mut()).await.event.expect("an event");
    assert_eq!(last.id, published[2 * PREFETCH].id);
}

pub(crate) async fn receiving_can_be_cancelled_at_any_moment_and_loses_nothing<B: Broker>(
    broker: &B,
) {
    let bus = broker.client().await;
    let published = many(200);
    let mut consumer = consume(&bus, STEP).await;
    let publishing = async {
        for events in published.chunks(5) {
            publish(&bus, events).await;
        }
    };
    let receiving = async {
        let mut got = Vec::new();
        while got.len() < published.len() {
            // Polled once and dropped, again and again.
            match consumer.receive(3).now_or_never() {
                Some(batch) => {
                    consumer.settle(done(&batch)).await;
                    got.extend(decoded(batch));
                }
                None => tokio::task::yield_now().await,
            }
        }
        got
    };
    let ((), got) = tokio::join!(publishing, receiving);
    assert_eq!(count(&got), count(&published));
}

pub(crate) async fn concurrent_publishing_loses_nothing<B: Broker>(broker: &B) {
    let (one, other) = (broker.client().await, broker.client().await);
    let published = many(5_000);
    let calls = published.chunks(10).zip([&one, &other].into_iter().cycle());
    let publishing = join_all(calls.map(|(events, bus)| publish(bus, events)));
    let mut consumer = consume(&one, STEP).await;
    let receiving = drain(consumer.as_mut(), published.len());
    let (_, got) = tokio::join!(publishing, receiving);
    assert_eq!(count(&got), count(&published));
}

/// Between two looks at what is parked.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A consumer that gave up because nothing came for a while would, on a loaded machine, hand back
/// what was on its way to it, again and again, until the broker parks neighbours for that. So each
/// waits until it dies or until all is over.
pub(crate) async fn an_event_that_kills_its_process_each_time_is_parked_and_its_neighbours_are_not<
    B: Broker,
>(
    broker: &B,
) {
    let events = many(PREFETCH + 5);
    let poison = &events[3];
    let (mut deaths, mut handled) = (0, HashSet::new());
    publish_singly(&broker.client().await, &events).await;
    while work_until_death(broker, poison, events.len() - 1, &mut handled).await {
        deaths += 1;
        broker.crash().await;
    }
    assert!((3..=21).contains(&deaths), "{deaths}");
    let letters = broker.dead_letters(STEP).await;
    let [letter] = &letters[..] else {
        panic!("one is parked, not {}", letters.len());
    };
    assert_eq!(&Event::from_json(&letter.json).expect("an event"), poison);
}

/// Handles what comes to a new process. Whether it met the poison, and not the end: every neighbour
/// is handled and something is parked.
async fn work_until_death<B: Broker>(
    broker: &B,
    poison: &Event,
    neighbours: usize,
    handled: &mut HashSet<EventId>,
) -> bool {
    let bus = broker.client().await;
    let mut consumer = consume(&bus, STEP).await;
    loop {
        let all_handled = handled.len() == neighbours;
        let batch = tokio::select! {
            batch = consumer.receive(PREFETCH) => batch,
            () = until_something_is_parked(broker), if all_handled => return false,
        };
        let settlements = done(&batch);
        let batch = decoded(batch);
        if batch.contains(poison) {
            return true;
        }
        consumer.settle(settlements).await;
        handled.extend(ids(&batch));
    }
}

async fn until_something_is_parked<B: Broker>(broker: &B) {
    while broker.dead_letters(STEP).await.is_empty() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
