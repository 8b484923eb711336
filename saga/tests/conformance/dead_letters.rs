//! Claims about what operators do with what is parked.

use saga::dead_letters::{
    Action, Cause, Choice, DeadLetters, Deed, Entry, Outcome, Parked, Progress, Ramp, Selection,
    discard, entries, find, groups, requeue,
};
use tokio_util::sync::CancellationToken;

use super::*;

/// A broker looks once more within a second whether an operator put something back.
const WATCH: Duration = Duration::from_secs(3);

/// Publishes so many events and parks each of them.
async fn park(bus: &Arc<dyn Bus>, failures: &[&str]) -> Vec<Event> {
    let events = many(failures.len());
    publish_singly(bus, &events).await;
    let mut consumer = consume(bus, STEP).await;
    for failure in failures {
        let delivery = next(consumer.as_mut()).await;
        consumer.settle(parking(&delivery, failure)).await;
    }
    events
}

fn parking(delivery: &Delivery, failure: &str) -> Vec<(DeliveryTag, Settlement)> {
    let failure = failure.to_owned();
    vec![(delivery.tag, Settlement::DeadLetter { failure })]
}

fn queue(letters: &dyn DeadLetters) -> String {
    let is_step = |queue: &String| queue.ends_with(&STEP.queue());
    letters.queues().into_iter().find(is_step).expect("a queue")
}

async fn look(letters: &mut dyn DeadLetters) -> Vec<Parked> {
    let mut found = Vec::new();
    let queue = queue(letters);
    let mut keep = |parked: &Parked| found.push(parked.clone());
    letters.look(&queue, &mut keep).await.expect("a look");
    found
}

async fn act(letters: &mut dyn DeadLetters, deed: &Deed) -> Vec<Parked> {
    let queue = queue(letters);
    let taken = letters.act(&queue, deed, &mut |_| Choice::Take).await;
    taken.expect("a deed")
}

fn putting_back() -> Deed {
    Deed::new(Action::Requeue, "ann", "the database is back")
}

pub(crate) async fn what_is_put_back_comes_to_its_queue_with_all_its_retries<B: Broker>(
    broker: &B,
) {
    let bus = broker.client().await;
    let events = park(&bus, &["no seat"]).await;
    let mut letters = broker.letters().await;
    let seen = look(letters.as_mut()).await;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].event().expect("an event"), events[0]);
    assert_eq!(seen[0].id, events[0].id.to_string());
    assert_eq!((&*seen[0].failure, seen[0].attempts), ("no seat", 1));
    assert!(seen[0].first_failed_at.is_some());

    assert_eq!(act(letters.as_mut(), &putting_back()).await, seen);
    let mut consumer = consume(&bus, STEP).await;
    let delivery = next(consumer.as_mut()).await;
    assert_eq!(delivery.attempts, 0);
    consumer.settle(parking(&delivery, "still no seat")).await;
    let again = look(letters.as_mut()).await;
    assert_eq!((again[0].requeued, again[0].attempts), (1, 1));
    assert_eq!(again[0].first_failed_at, seen[0].first_failed_at);

    act(letters.as_mut(), &putting_back()).await;
    let handled = drain(consumer.as_mut(), 1).await;
    assert_eq!(handled, events);
    assert!(look(letters.as_mut()).await.is_empty());
    let record = recorded(letters.as_mut()).await;
    assert_eq!(record.len(), 2);
    assert_eq!((&*record[0].by, record[0].action), ("ann", Action::Requeue));
    assert_eq!(record[0].reason, "the database is back");
    assert_eq!(record[1].failure, "still no seat");
}

pub(crate) async fn what_is_dropped_is_in_the_record_to_the_letter<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    broker.put_garbage(STEP).await;
    let mut consumer = consume(&bus, STEP).await;
    let garbage = next(consumer.as_mut()).await;
    consumer.settle(parking(&garbage, "no JSON")).await;
    let mut letters = broker.letters().await;
    let seen = look(letters.as_mut()).await;
    let deed = Deed::new(Action::Drop, "ann", "a test of ours");
    assert_eq!(act(letters.as_mut(), &deed).await, seen);
    assert!(look(letters.as_mut()).await.is_empty());
    broker.close().await;

    let record = recorded(broker.letters().await.as_mut()).await;
    let entry = &record[0];
    assert_eq!((&*entry.by, &*entry.reason), ("ann", "a test of ours"));
    let message = entry.message.as_ref().expect("the message");
    assert_eq!(message.body.as_deref(), Some("{\"specversion\":\"1.0\""));
}

pub(crate) async fn looking_takes_nothing_away_however_often<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    let events = park(&bus, &["a", "b", "c"]).await;
    let mut letters = broker.letters().await;
    // Brokers give up on messages that came back some twenty times.
    for _ in 0..30 {
        let mut seen: Vec<_> = look(letters.as_mut()).await;
        seen.sort_by(|one, other| one.failure.cmp(&other.failure));
        let seen: Vec<_> = seen.into_iter().map(|parked| parked.id).collect();
        let expected: Vec<_> = events.iter().map(|event| event.id.to_string()).collect();
        assert_eq!(seen, expected);
    }
    assert!(recorded(letters.as_mut()).await.is_empty());
}

pub(crate) async fn only_what_is_chosen_is_put_back<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    let events = park(&bus, &["row 1", "column 1", "row 2", "row \"3\""]).await;
    let mut letters = broker.letters().await;
    let all = groups(letters.as_mut(), &Selection::default()).await;
    let all = all.expect("groups");
    let counts: Vec<_> = all.iter().map(|group| group.count).collect();
    assert_eq!(counts, [2, 1, 1]);
    assert_eq!(all[0].cause.to_string(), "row <n>");
    let one_cause = Selection {
        cause: Some(all[0].cause.key()),
        ..Selection::default()
    };
    let one_saga = Selection {
        saga: Some(events[1].saga_id),
        ..Selection::default()
    };
    for (selection, count) in [(one_cause, 2), (one_saga, 1)] {
        let ramp = Ramp::at_once();
        let deed = putting_back();
        let (stop, mut silent) = (CancellationToken::new(), |_: Progress<'_>| {});
        let letters = letters.as_mut();
        let outcome = requeue(letters, &selection, &deed, &ramp, &stop, &mut silent).await;
        assert_eq!(outcome.expect("an outcome").requeued, count);
    }
    let left = look(letters.as_mut()).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].id, events[3].id.to_string());
}

/// Puts back everything, in steps of one and two, while a consumer settles what comes.
async fn ramp_while_consuming<B: Broker>(
    broker: &B,
    parked: usize,
    settle: impl Fn(&Delivery) -> Vec<(DeliveryTag, Settlement)>,
) -> Outcome {
    let bus = broker.client().await;
    park(&bus, &vec!["no seat"; parked]).await;
    let mut consumer = consume(&bus, STEP).await;
    let consuming = async {
        loop {
            let delivery = next(consumer.as_mut()).await;
            consumer.settle(settle(&delivery)).await;
        }
    };
    let mut letters = broker.letters().await;
    let ramp = Ramp {
        steps: vec![1, 2],
        watch: WATCH,
    };
    let (all, deed) = (Selection::default(), putting_back());
    let stop = CancellationToken::new();
    let mut report = |_: Progress<'_>| {};
    tokio::select! {
        outcome = requeue(letters.as_mut(), &all, &deed, &ramp, &stop, &mut report) => {
            outcome.expect("an outcome")
        }
        () = consuming => unreachable!("it consumes for ever"),
    }
}

pub(crate) async fn a_message_that_fails_again_stops_the_ramp<B: Broker>(broker: &B) {
    let fail = |delivery: &Delivery| parking(delivery, "still no seat");
    let outcome = ramp_while_consuming(broker, 4, fail).await;
    assert_eq!((outcome.requeued, outcome.came_back.len()), (1, 1));
    assert_eq!(outcome.came_back[0].failure, "still no seat");
    let left = look(broker.letters().await.as_mut()).await;
    assert_eq!(left.len(), 4);
}

pub(crate) async fn a_ramp_goes_on_while_nothing_comes_back<B: Broker>(broker: &B) {
    let handle = |delivery: &Delivery| vec![(delivery.tag, Settlement::Done)];
    let outcome = ramp_while_consuming(broker, 4, handle).await;
    assert_eq!((outcome.requeued, outcome.unfinished), (4, 0));
    assert!(outcome.came_back.is_empty());
    assert!(look(broker.letters().await.as_mut()).await.is_empty());
}

pub(crate) async fn a_ramp_that_is_asked_to_stop_leaves_the_rest_parked<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    park(&bus, &["no seat"; 4]).await;
    let mut letters = broker.letters().await;
    let ramp = Ramp {
        steps: vec![1],
        watch: LIMIT,
    };
    let stop = CancellationToken::new();
    let mut report = |progress: Progress<'_>| {
        if matches!(progress, Progress::Watching { .. }) {
            stop.cancel();
        }
    };
    let (all, deed) = (Selection::default(), putting_back());
    let outcome = requeue(letters.as_mut(), &all, &deed, &ramp, &stop, &mut report).await;
    let outcome = outcome.expect("an outcome");
    assert_eq!((outcome.requeued, outcome.cut_short), (1, true));
    let record = recorded(letters.as_mut()).await;
    assert_eq!((record.len(), record[0].run), (1, deed.run()));
    assert_eq!(look(letters.as_mut()).await.len(), 3);
}

pub(crate) async fn what_is_selected_is_shown_by_pages_and_dropped_alone<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    park(&bus, &["row 1", "column 1", "row 2", "row 3"]).await;
    let mut letters = broker.letters().await;
    let rows = Selection {
        cause: Some(Cause::of("row 1").key()),
        ..Selection::default()
    };
    let mut seen = Vec::new();
    for (skip, count) in [(0, 2), (2, 1), (4, 0)] {
        let page = find(letters.as_mut(), &rows, skip, 2)
            .await
            .expect("a page");
        assert_eq!((page.messages.len(), page.total), (count, 3));
        seen.extend(page.messages.into_iter().map(|parked| parked.failure));
    }
    seen.sort();
    assert_eq!(seen, ["row 1", "row 2", "row 3"]);

    let stop = CancellationToken::new();
    let deed = Deed::new(Action::Drop, "ann", "rows are gone");
    let mut dropped = 0;
    let mut count = |some: &[Parked]| dropped += some.len();
    let done = discard(letters.as_mut(), &rows, &deed, &stop, &mut count).await;
    done.expect("all rows are dropped");
    assert_eq!(dropped, 3);
    let left = look(letters.as_mut()).await;
    assert_eq!((left.len(), &*left[0].failure), (1, "column 1"));
}

async fn recorded(letters: &mut dyn DeadLetters) -> Vec<Entry> {
    entries(letters, |_| true).await.expect("the record")
}
