//! The ledger of a running system: overdue sagas, the rebuild, what is no longer kept, and the replica
//! that takes over.

mod database;
mod measurement;
mod overdue;
mod rebuild;
mod retention;
mod take_over;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use saga::Tasks;
use saga::bus::{Bus, Health};
use saga::rabbitmq::{RabbitMqBus, RabbitMqConfig};
use system_tests::http;

/// Longer than a lease and any back-off on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A bus of the test's own that is up: what is published before that is refused after a second.
async fn bus_that_is_up(amqp: &str, name: &str) -> Arc<RabbitMqBus> {
    let config = RabbitMqConfig::new(amqp, name);
    let bus = RabbitMqBus::start(config, &Tasks::new()).expect("a bus");
    let mut health = bus.health();
    let up = tokio::time::timeout(LIMIT, health.wait_for(Health::is_up)).await;
    up.expect("the broker is there").expect("it is not closed");
    bus
}

/// The value of a metric; zero while it is not shown.
fn metric(gateway: SocketAddr, name: &str) -> f64 {
    let page = http::get(gateway, "/metrics").expect("metrics");
    let value = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
    page.body.lines().find_map(value).unwrap_or(0.0)
}
