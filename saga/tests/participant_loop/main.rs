//! The participant loop against a scripted store, bus and queue: what is settled, what is
//! published, and in which order, whatever fails.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod scripted;

use std::time::Duration;

use events::DecodeError;
use events::choreography::PURCHASE_AND_REGISTER;
use saga::Tasks;
use saga::bus::{Delivery, DeliveryTag, Queue};
use saga::decision::Moment;
use saga::failure::Failure;
use saga::participant::{self, LoopOptions, Worker};
use saga::retry::RetryPolicy;
use scripted::{
    HANG, Log, PANIC, POISON, Rules, Script, ScriptedStore, Step, bus, delivery, store,
};

/// Hands one batch to a loop and returns all that happened until it was settled.
async fn when(batch: Vec<Delivery>, failures: Vec<Failure>, publish_refusals: u32) -> Vec<Step> {
    let script = Script {
        failures,
        publish_refusals,
        ..Script::default()
    };
    when_all(batch, script).await
}

async fn when_all(batch: Vec<Delivery>, script: Script) -> Vec<Step> {
    let (log, tasks): (Log, _) = (Log::default(), Tasks::new());
    let (bus, deliver, mut was_settled) = bus(&log, false, script.publish_refusals);
    let options = options(script.batch_limit);
    participant::start(worker(store(&log, script)), &bus, &options, &tasks)
        .await
        .unwrap();
    deliver.send(batch).unwrap();
    was_settled.recv().await.unwrap();
    tasks.stop();
    tasks.join(saga::SHUTDOWN_LIMIT).await.unwrap();
    log.lock().unwrap().clone()
}

fn worker(store: ScriptedStore) -> Worker<Rules, ScriptedStore> {
    Worker {
        decider: Rules,
        store,
        clock: Moment::now,
    }
}

fn options(batch_limit: Option<usize>) -> LoopOptions {
    let unlimited = LoopOptions::default();
    LoopOptions {
        batch_limit: batch_limit.unwrap_or(unlimited.batch_limit),
        retry: RetryPolicy {
            delays: vec![Duration::from_secs(1)],
        },
        ..unlimited
    }
}

fn away() -> Failure {
    Failure::from(sqlx::Error::PoolTimedOut)
}

#[tokio::test]
async fn a_batch_is_committed_then_published_then_settled() {
    let steps = when(vec![delivery(1, 1, 0), delivery(2, 2, 0)], vec![], 0).await;
    let settled = Step::Settled(vec![(1, "done"), (2, "done")]);
    assert_eq!(
        steps,
        [
            Step::Committed(vec![1, 2]),
            Step::Published(vec![1, 2]),
            settled
        ]
    );
}

#[tokio::test]
async fn a_poison_event_is_found_by_halving_and_its_neighbours_are_done() {
    let batch = (1..=8)
        .map(|tag| delivery(tag, if tag == 5 { POISON } else { tag }, 0))
        .collect();
    let steps = when(batch, vec![], 0).await;
    assert_eq!(steps[0], Step::Committed(vec![1, 2, 3, 4]));
    assert_eq!(
        steps[1..3],
        [Step::Committed(vec![6]), Step::Committed(vec![7, 8])]
    );
    assert_eq!(
        steps[3],
        Step::Published(vec![1, 2, 3, 4, 6, 7, 8]),
        "the others', in order"
    );
    let result = |tag| (tag, if tag == 5 { "retry" } else { "done" });
    assert_eq!(steps[4], Step::Settled((1..=8).map(result).collect()));
}

#[tokio::test]
async fn a_panic_is_the_failure_of_its_event_alone() {
    let steps = when(vec![delivery(1, 1, 0), delivery(2, PANIC, 0)], vec![], 0).await;
    assert_eq!(
        steps.last().unwrap(),
        &Step::Settled(vec![(1, "done"), (2, "retry")])
    );
}

#[tokio::test]
async fn an_event_that_has_used_up_its_attempts_is_dead_lettered() {
    let steps = when(vec![delivery(1, POISON, 1)], vec![], 0).await;
    assert_eq!(steps, [Step::Settled(vec![(1, "dead-letter")])]);
}

#[tokio::test]
async fn an_event_that_cannot_be_decoded_is_dead_lettered_at_once() {
    let error = DecodeError::UnknownType {
        found: "CouponIssued.v1".to_owned(),
    };
    let garbled = Delivery {
        tag: DeliveryTag(1),
        event: Err(error),
        attempts: 0,
    };
    let steps = when(vec![garbled, delivery(2, 2, 0)], vec![], 0).await;
    let settled = Step::Settled(vec![(1, "dead-letter"), (2, "done")]);
    assert_eq!(
        steps,
        [Step::Committed(vec![2]), Step::Published(vec![2]), settled]
    );
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_for_and_uses_up_no_attempt() {
    let failures = (0..3).map(|_| away()).collect();
    let steps = when(vec![delivery(1, 1, 1), delivery(2, 2, 1)], failures, 0).await;
    assert_eq!(
        steps[0],
        Step::Committed(vec![1, 2]),
        "whole, not in halves"
    );
    assert_eq!(steps[2], Step::Settled(vec![(1, "done"), (2, "done")]));
}

#[tokio::test]
async fn a_broker_that_is_away_is_waited_for_before_anything_is_settled() {
    let steps = when(vec![delivery(1, 1, 0)], vec![], 3).await;
    let settled = Step::Settled(vec![(1, "done")]);
    assert_eq!(
        steps,
        [Step::Committed(vec![1]), Step::Published(vec![1]), settled]
    );
}

#[tokio::test]
async fn a_lost_race_is_decided_again_at_once() {
    let steps = when(
        vec![delivery(1, 1, 0)],
        vec![Failure::Conflict, Failure::Conflict],
        0,
    )
    .await;
    assert_eq!(steps[0], Step::Committed(vec![1]));
}

#[tokio::test]
async fn a_clash_that_is_no_race_is_found_by_halving() {
    let failures = (0..11).map(|_| Failure::Conflict).collect();
    let steps = when(vec![delivery(1, 1, 0), delivery(2, 2, 0)], failures, 0).await;
    assert_eq!(
        steps[..2],
        [Step::Committed(vec![1]), Step::Committed(vec![2])]
    );
}

#[tokio::test]
async fn a_transaction_holds_no_more_events_than_the_limit() {
    let batch = (1..=10).map(|tag| delivery(tag, tag, 0)).collect();
    let script = Script {
        batch_limit: Some(4),
        ..Script::default()
    };
    let steps = when_all(batch, script).await;
    let committed = [vec![1, 2, 3, 4], vec![5, 6, 7, 8], vec![9, 10]].map(Step::Committed);
    assert_eq!(steps[..3], committed);
    assert_eq!(steps[3], Step::Published((1..=10).collect()));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_hangs_is_found_by_halving_and_its_neighbours_are_done() {
    let batch = (1..=4)
        .map(|tag| delivery(tag, if tag == 3 { HANG } else { tag }, 0))
        .collect();
    let steps = when(batch, vec![], 0).await;
    let committed = [vec![1, 2], vec![4]].map(Step::Committed);
    assert_eq!(steps[..2], committed);
    let result = |tag| (tag, if tag == 3 { "retry" } else { "done" });
    assert_eq!(steps[3], Step::Settled((1..=4).map(result).collect()));
}

#[tokio::test(start_paused = true)]
async fn a_database_that_hangs_is_waited_for_and_uses_up_no_attempt() {
    let script = Script {
        silence: Duration::from_secs(100),
        ..Script::default()
    };
    let steps = when_all(vec![delivery(1, 1, 1), delivery(2, 2, 1)], script).await;
    assert_eq!(
        steps[0],
        Step::Committed(vec![1, 2]),
        "whole, not in halves"
    );
    assert_eq!(steps[2], Step::Settled(vec![(1, "done"), (2, "done")]));
}

/// It falls silent as long as a batch may take, and speaks again when it is asked whether it is
/// there.
#[tokio::test(start_paused = true)]
async fn a_silence_of_the_database_that_ends_in_time_uses_up_no_attempt() {
    for events in [1, 3] {
        let script = Script {
            silence: Duration::from_secs(31),
            ..Script::default()
        };
        let last_attempt = (1..=events).map(|tag| delivery(tag, tag, 1)).collect();
        let steps = when_all(last_attempt, script).await;
        let done = (1..=events).map(|tag| (tag, "done")).collect();
        assert_eq!(steps.last().unwrap(), &Step::Settled(done));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_start_that_waits_for_the_broker() {
    let tasks = Tasks::new();
    let (bus, ..) = bus(&Log::default(), false, 0);
    let _taken = bus
        .consume(Queue::Work(&PURCHASE_AND_REGISTER.steps[1]))
        .await;
    let (worker, options) = (
        worker(store(&Log::default(), Script::default())),
        options(None),
    );
    let starting = participant::start(worker, &bus, &options, &tasks);
    let (started, ()) = tokio::join!(starting, async { tasks.stop() });
    assert!(started.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_settlement_that_the_broker_does_not_confirm() {
    let (log, tasks) = (Log::default(), Tasks::new());
    let (bus, deliver, mut was_settled) = bus(&log, true, 0);
    let worker = worker(store(&log, Script::default()));
    participant::start(worker, &bus, &options(None), &tasks)
        .await
        .unwrap();
    deliver.send(vec![delivery(1, 1, 0)]).unwrap();
    was_settled.recv().await.unwrap();
    tasks.stop();
    tasks.join(saga::SHUTDOWN_LIMIT).await.unwrap();
}
