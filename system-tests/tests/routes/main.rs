//! The plain routes on the whole system, in one process on the embedded bus and as processes of
//! their own on RabbitMQ and PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod caller;
mod callers;
mod contradictions;
mod document;
mod lines;
mod operators;
mod parked;
mod random;
mod rules;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use system_tests::deployment::{Embedded, Servers, Services};

/// A requeue may go on without its caller.
const REQUEUED_WITHIN: Duration = Duration::from_secs(30);

/// Runs the claim on the embedded system.
fn on_embedded(claim: impl FnOnce(SocketAddr)) {
    on_embedded_with(&[], claim);
}

/// The same, started with these flags.
fn on_embedded_with(flags: &[&str], claim: impl FnOnce(SocketAddr)) {
    embedded(flags, |_| {}, claim);
}

/// The same, with something in it before it starts.
fn on_embedded_after(prepare: impl FnOnce(&Embedded), claim: impl FnOnce(SocketAddr)) {
    embedded(&[], prepare, claim);
}

fn embedded(flags: &[&str], prepare: impl FnOnce(&Embedded), claim: impl FnOnce(SocketAddr)) {
    let mut system = Embedded::create();
    prepare(&system);
    system.service.flags(flags);
    system.service.start_and_wait();
    claim(system.service.address());
}

/// Runs the claim on RabbitMQ and PostgreSQL, with two replicas of each worker, and sees to it that
/// no message is left in a retry tier, a dead-letter queue, or unrouted.
fn on_servers(claim: impl FnOnce(SocketAddr)) {
    on_servers_with(&[], claim);
}

/// The same, with these flags of the gateway.
fn on_servers_with(flags: &[&str], claim: impl FnOnce(SocketAddr)) {
    servers(flags, |_| {}, claim);
}

/// The same, with something on them before the services start.
fn on_servers_after(prepare: impl FnOnce(&Servers), claim: impl FnOnce(SocketAddr)) {
    servers(&[], prepare, claim);
}

fn servers(flags: &[&str], prepare: impl FnOnce(&Servers), claim: impl FnOnce(SocketAddr)) {
    let servers = Servers::start_new();
    prepare(&servers);
    let mut services = Services::on(&servers, 2);
    services.gateway.flags(flags);
    services.start_and_wait();
    claim(services.gateway.address());
    let since = Instant::now();
    while !servers.parked().is_empty() && since.elapsed() < REQUEUED_WITHIN {}
    assert_eq!(servers.parked(), []);
}
