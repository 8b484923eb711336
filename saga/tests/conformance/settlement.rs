//! Claims about what becomes of a delivered event.

use std::time::Instant;

use super::*;

fn retry(delivery: &Delivery) -> Vec<(DeliveryTag, Settlement)> {
    let settlement = Settlement::Retry {
        after: RETRY_DELAY,
        failure: "no seat \"yet\"".into(),
    };
    vec![(delivery.tag, settlement)]
}

pub(crate) async fn a_settled_event_does_not_come_again_even_after_a_restart<B: Broker>(
    broker: &B,
) {
    let published = many(3);
    let bus = broker.client().await;
    publish_singly(&bus, &published).await;
    let mut consumer = consume(&bus, STEP).await;
    let taken = take(consumer.as_mut(), 3).await;
    consumer.settle(done(&taken[..2])).await;
    drop(consumer);
    broker.close().await;

    let bus = broker.client().await;
    let marker = fresh();
    publish(&bus, std::slice::from_ref(&marker)).await;
    let mut successor = consume(&bus, STEP).await;
    let got = drain(successor.as_mut(), 2).await;
    assert_eq!(ids(&got), [published[2].id, marker.id]);
}

pub(crate) async fn a_settlement_of_a_delivery_nobody_holds_is_passed_over<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    let published = many(2);
    publish_singly(&bus, &published).await;
    let mut consumer = consume(&bus, STEP).await;
    let taken = take(consumer.as_mut(), 2).await;
    consumer.settle(done(&taken[..1])).await;
    let unknown = DeliveryTag(u64::MAX);
    let park = Settlement::DeadLetter {
        failure: "unheard of".into(),
    };
    consumer
        .settle(vec![(taken[0].tag, park.clone()), (unknown, park)])
        .await;
    drop(consumer);

    let mut successor = consume(&bus, STEP).await;
    let again = next(successor.as_mut()).await.event.expect("an event");
    assert_eq!(again.id, published[1].id);
    assert!(broker.dead_letters(STEP).await.is_empty());
}

pub(crate) async fn a_retried_event_comes_again_after_its_delay_with_one_attempt_more<B: Broker>(
    broker: &B,
) {
    let bus = broker.client().await;
    let published = fresh();
    publish(&bus, std::slice::from_ref(&published)).await;
    let mut consumer = consume(&bus, STEP).await;
    let mut delivery = next(consumer.as_mut()).await;
    for attempts in 1..=3 {
        let failed_at = Instant::now();
        consumer.settle(retry(&delivery)).await;
        delivery = next(consumer.as_mut()).await;
        assert!(
            failed_at.elapsed() >= RETRY_DELAY,
            "{:?}",
            failed_at.elapsed()
        );
        assert_eq!(delivery.attempts, attempts);
        assert_eq!(delivery.event.as_ref().expect("an event"), &published);
    }
}

pub(crate) async fn a_retry_goes_to_its_queue_alone<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    let retried = fresh();
    publish(&bus, std::slice::from_ref(&retried)).await;
    let mut consumer = consume(&bus, STEP).await;
    let delivery = next(consumer.as_mut()).await;
    consumer.settle(retry(&delivery)).await;
    let again = next(consumer.as_mut()).await;
    consumer.settle(done(&[again])).await;

    let markers = one_for_each_step();
    for (step, marker) in &markers {
        publish(&bus, std::slice::from_ref(marker)).await;
        let mut other = consume(&bus, step).await;
        if step.queue() == STEP.queue() {
            continue;
        }
        let first = next(other.as_mut()).await.event.expect("an event");
        assert_eq!(first.id, marker.id, "{}", step.queue());
    }
    let mut reader = journal(&bus, JournalStart::First).await;
    let journaled = read(reader.as_mut(), 1 + markers.len()).await;
    assert_eq!(count(&journaled)[&retried.id], 1);
}

pub(crate) async fn a_waiting_retry_holds_nothing_up<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    let mut consumer = consume(&bus, STEP).await;
    loop {
        let published = many(2);
        publish(&bus, &published[..1]).await;
        let delivery = next(consumer.as_mut()).await;
        let failed_at = Instant::now();
        consumer.settle(retry(&delivery)).await;
        publish(&bus, &published[1..]).await;
        // A busy machine may take longer than the delay for this; then it shows nothing.
        let was_waiting = failed_at.elapsed() < RETRY_DELAY;
        let got = drain(consumer.as_mut(), 2).await;
        if was_waiting {
            assert_eq!(ids(&got), [published[1].id, published[0].id]);
            return;
        }
    }
}

pub(crate) async fn a_waiting_retry_survives_a_restart<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    let published = fresh();
    publish(&bus, std::slice::from_ref(&published)).await;
    let mut consumer = consume(&bus, STEP).await;
    let delivery = next(consumer.as_mut()).await;
    consumer.settle(retry(&delivery)).await;
    broker.crash().await;

    let bus = broker.client().await;
    let mut successor = consume(&bus, STEP).await;
    let mut again = next(successor.as_mut()).await;
    if again.attempts == 0 {
        // The crash took the acknowledgement down, so the original comes again as well.
        again = next(successor.as_mut()).await;
    }
    assert_eq!(again.attempts, 1);
    assert_eq!(again.event.expect("an event"), published);
}

pub(crate) async fn a_dead_letter_is_parked_with_its_failure_and_does_not_come_again<B: Broker>(
    broker: &B,
) {
    let bus = broker.client().await;
    let parked = fresh();
    publish(&bus, std::slice::from_ref(&parked)).await;
    let mut consumer = consume(&bus, STEP).await;
    let delivery = next(consumer.as_mut()).await;
    consumer.settle(retry(&delivery)).await;
    let delivery = next(consumer.as_mut()).await;
    let park = Settlement::DeadLetter {
        failure: "no such \"seat\"".into(),
    };
    consumer.settle(vec![(delivery.tag, park)]).await;
    // A crash could overtake the acknowledgement, which is only on its way, and it would come again.
    broker.close().await;

    let bus = broker.client().await;
    let marker = fresh();
    publish(&bus, std::slice::from_ref(&marker)).await;
    let mut successor = consume(&bus, STEP).await;
    let only = next(successor.as_mut()).await.event.expect("an event");
    assert_eq!(only.id, marker.id);
    let letters = broker.dead_letters(STEP).await;
    let [letter] = &letters[..] else {
        panic!("one is parked, not {letters:?}");
    };
    assert_eq!(Event::from_json(&letter.json).expect("an event"), parked);
    assert_eq!(letter.failure, "no such \"seat\"");
    assert_eq!(letter.attempts, 2);
}

pub(crate) async fn an_undecodable_event_comes_as_an_error_and_its_neighbours_are_intact<
    B: Broker,
>(
    broker: &B,
) {
    let bus = broker.client().await;
    let published = many(2);
    publish(&bus, &published[..1]).await;
    broker.put_garbage(STEP).await;
    publish(&bus, &published[1..]).await;
    let mut consumer = consume(&bus, STEP).await;
    let taken = take(consumer.as_mut(), 3).await;
    assert!(taken[1].event.is_err());
    let garbage = (
        taken[1].tag,
        Settlement::DeadLetter {
            failure: "no event".into(),
        },
    );
    consumer.settle(vec![garbage]).await;
    assert_eq!(broker.dead_letters(STEP).await.len(), 1);
    let neighbours: Vec<_> = taken.into_iter().filter_map(|d| d.event.ok()).collect();
    assert_eq!(neighbours, published);
}
