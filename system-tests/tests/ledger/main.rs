//! The ledger of a running system: overdue sagas, the rebuild, what is no longer kept, and the replica
//! that takes over.

mod database;
mod measurement;
mod overdue;
mod rebuild;
mod retention;
mod take_over;

use std::net::SocketAddr;
use std::time::Duration;

use system_tests::http;

/// Longer than a lease and any back-off on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The value of a metric; zero while it is not shown.
fn metric(gateway: SocketAddr, name: &str) -> f64 {
    let page = http::get(gateway, "/metrics").expect("metrics");
    let value = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
    page.body.lines().find_map(value).unwrap_or(0.0)
}
