//! One poison event among 256 that travel and are handled together, on RabbitMQ and PostgreSQL: its
//! neighbours are hardly late, and it ends alone in the dead-letter queue.
//!
//! The delays: `cargo test -p system-tests --release --test poison -- --nocapture`
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use events::choreography::PURCHASE_AND_REGISTER;
use events::{Event, SagaId};
use saga::bus::{Bus, Consumer, Queue, Settlement};
use saga::database::Database;
use saga::dead_letters::{DeadLetters, Parked};
use saga::participant::LoopOptions;
use saga::rabbitmq::{RabbitMqBus, RabbitMqConfig, RabbitMqDeadLetters};
use saga::retry::RetryPolicy;
use saga::{SHUTDOWN_LIMIT, Tasks};
use sqlx::{Connection, Executor, PgConnection};
use system_tests::fresh_database::FreshDatabase;
use system_tests::purchase::{POISON, POISONED_USER, purchase};
use tokio::time::timeout;

const PACK: usize = 256;
const ROUNDS: usize = 5;
/// A test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Far more than a loaded machine adds to some twenty transactions.
const LATE: Duration = Duration::from_secs(10);

/// Publishes the events together; how long until so many are answered.
async fn answered(
    bus: &dyn Bus,
    replies: &mut dyn Consumer,
    events: &[Event],
    count: usize,
) -> Duration {
    let (since, mut seen) = (Instant::now(), 0);
    bus.publish(events).await.unwrap();
    while seen < count {
        let received = timeout(PATIENCE, replies.receive(PACK)).await.unwrap();
        seen += received.len();
        let done = |tag| (tag, Settlement::Done);
        let settlements = received.iter().map(|delivery| done(delivery.tag));
        replies.settle(settlements.collect()).await;
    }
    since.elapsed()
}

fn pack(user_in_the_middle: u64) -> Vec<Event> {
    let user = |place| match place {
        100 => user_in_the_middle,
        place => 1000 + place,
    };
    (0..PACK as u64)
        .map(|place| purchase(user(place)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_event_hardly_delays_its_255_neighbours_and_is_parked_alone() {
    let url = std::env::var("TEST_AMQP_URL").expect("run ./test, or set TEST_AMQP_URL");
    let mut config = RabbitMqConfig::new(url, "poison-test");
    config.namespace = format!("poison-{}", SagaId::mint());
    config.retry = RetryPolicy {
        delays: vec![Duration::from_millis(200)],
    };
    let (database, tasks) = (FreshDatabase::postgres().await, Tasks::new());
    let bus: Arc<dyn Bus> = RabbitMqBus::start(config.clone(), &tasks).unwrap();
    let options = LoopOptions {
        retry: config.retry.clone(),
        ..LoopOptions::default()
    };
    let ticket = Database::open(database.url(), "poison-test").unwrap();
    ticket_worker::start(&bus, &ticket, &options, &tasks)
        .await
        .unwrap();
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    connection.execute(POISON).await.unwrap();
    connection.close().await.unwrap();

    let next = &PURCHASE_AND_REGISTER.steps[1];
    let mut replies = bus.consume(Queue::Work(next)).await.unwrap();
    answered(&*bus, &mut *replies, &pack(1), PACK).await;
    let mut poisons = Vec::new();
    for round in 1..=ROUNDS {
        let sound = answered(&*bus, &mut *replies, &pack(1), PACK).await;
        let poisoned = pack(POISONED_USER);
        let late = answered(&*bus, &mut *replies, &poisoned, PACK - 1).await;
        println!("round {round}: {PACK} sound {sound:.1?}, 255 beside a poison one {late:.1?}");
        assert!(late < LATE, "{late:?}");
        poisons.push(poisoned[100].id.to_string());
    }
    let parked = parked(&config, ROUNDS).await;
    assert_eq!(parked, poisons, "and nothing else");

    drop(replies);
    bus.close().await;
    tasks.stop();
    tasks.join(SHUTDOWN_LIMIT).await.unwrap();
    RabbitMqBus::delete_topology(config).await.unwrap();
}

/// The ids of what is parked anywhere, once there are so many.
async fn parked(config: &RabbitMqConfig, count: usize) -> Vec<String> {
    let mut letters = RabbitMqDeadLetters::open(config.clone()).await.unwrap();
    let until = Instant::now() + PATIENCE;
    loop {
        let mut found = Vec::new();
        for queue in letters.queues() {
            let mut keep = |parked: &Parked| found.push(parked.id.clone());
            letters.look(&queue, &mut keep).await.unwrap();
        }
        if found.len() >= count || Instant::now() > until {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
