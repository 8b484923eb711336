//! Messages that a worker gave up on before the system was started.

use std::path::Path;
use std::sync::Arc;

use events::choreography::PURCHASE_AND_REGISTER;
use saga::bus::{Bus, Health, Queue, Settlement};
use saga::embedded::{EmbeddedBus, EmbeddedConfig, JournalRetention};
use saga::rabbitmq::{RabbitMqBus, RabbitMqConfig};
use saga::retry::RetryPolicy;
use saga::{SHUTDOWN_LIMIT, Tasks};
use system_tests::deployment::{Embedded, Servers};
use system_tests::purchase::purchase;

/// Of whom no other request tells.
const FIRST_USER: u64 = 70;
const FAILURES: [&str; 3] = [
    "seat plan 7 is locked",
    "seat plan 8 is locked",
    "no seat is left",
];

pub(crate) fn on_embedded(system: &Embedded) {
    let config = EmbeddedConfig {
        path: Path::new(&system.folder).join("bus.db"),
        retry: RetryPolicy::default(),
        prefetch: FAILURES.len(),
        journal: JournalRetention::default(),
    };
    park(async |tasks| EmbeddedBus::open(config, tasks).await.unwrap());
}

pub(crate) fn on_servers(servers: &Servers) {
    let config = RabbitMqConfig::new(servers.broker.url(), "routes-test");
    park(async |tasks| RabbitMqBus::start(config, tasks).unwrap());
}

fn park<B: Bus>(open: impl AsyncFnOnce(&Tasks) -> Arc<B>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let tasks = Tasks::new();
        let bus = open(&tasks).await;
        bus.health().wait_for(Health::is_up).await.unwrap();
        park_on(&*bus).await;
        bus.close().await;
        tasks.stop();
        tasks.join(SHUTDOWN_LIMIT).await.unwrap();
    });
}

async fn park_on(bus: &dyn Bus) {
    let first = &PURCHASE_AND_REGISTER.steps[0];
    let mut consumer = bus.consume(Queue::Work(first)).await.unwrap();
    for (user, failure) in (FIRST_USER..).zip(FAILURES) {
        bus.publish(&[purchase(user)]).await.unwrap();
        let delivery = consumer.receive(1).await.remove(0);
        let failure = failure.to_owned();
        let park = Settlement::DeadLetter { failure };
        consumer.settle(vec![(delivery.tag, park)]).await;
    }
}
