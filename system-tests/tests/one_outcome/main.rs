//! Requests with an `Idempotency-Key`, of which 30 % repeat a key and 10 % are cut off by their
//! client, while a gateway is killed in the middle: every key has exactly one outcome, told to the
//! letter by whoever is asked and however often, and what is left agrees with it.
//!
//! `KEYED_REQUESTS=10000` is the full size; `TEST_SEED` repeats a plan (not its timing).

mod plan;
mod sender;
mod verdict;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use plan::Plan;
use sender::Sending;
use system_tests::audit::{Databases, settle};
use system_tests::deployment::{Embedded, Servers, Services};
use system_tests::seed::seed;
use system_tests::service::Service;

/// Enough that each kind of request meets the kill.
const REQUESTS: usize = 2_000;
/// Far longer than all of it takes, at the full size and on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);

fn plan() -> Plan {
    let requests = match std::env::var("KEYED_REQUESTS") {
        Ok(text) => text.parse().expect("KEYED_REQUESTS is a whole number"),
        Err(_) => REQUESTS,
    };
    Plan::of(requests, seed())
}

/// Sends all requests, to each of these gateways in turn; one is killed after the first half of them,
/// and comes back after some more.
fn send_all(plan: &Plan, gateways: &mut [&mut Service], meanwhile: usize) -> Sending {
    let addresses: Vec<SocketAddr> = gateways.iter().map(|gateway| gateway.address()).collect();
    let mut sending = Sending::start(plan, &addresses);
    let victim = gateways.last_mut().expect("there is one");
    sending.wait_for(plan.requests.len() / 2);
    victim.kill_dash_9();
    sending.wait_for(plan.requests.len() / 2 + meanwhile);
    victim.start_and_wait();
    sending.finish();
    sending
}

/// Every key is asked for again at every gateway; then nobody has been told anything else than
/// anybody, and the databases hold exactly what was told.
fn check(plan: &Plan, mut sent: Sending, since: Instant, databases: &Databases) {
    println!("{} within {:.1?}", sent.summary(), since.elapsed());
    let asked = sent.ask_again(plan, LIMIT);
    let calls = verdict::one_for_each_key(plan, &sent.told, &asked);
    verdict::one_success_for_each_pair(&calls);
    let totals = settle(databases, &calls, LIMIT);
    println!("{} keys, {totals:?}", calls.len());
    assert_eq!(
        calls.len(),
        totals.completed + totals.compensated + totals.rejected
    );
    assert!(totals.completed > plan.requests.len() / 3, "{totals:?}");
    assert!(totals.compensated > plan.requests.len() / 20, "{totals:?}");
}

#[test]
fn every_key_has_one_outcome_although_a_replica_of_the_gateway_is_killed_on_rabbitmq() {
    let plan = plan();
    let servers = Servers::start_new();
    let mut services = Services::on(&servers, 1);
    services.start_and_wait();
    let mut other = servers.gateway("other-gateway", &[]);
    other.start_and_wait();
    let since = Instant::now();
    let gateways = &mut [&mut services.gateway, &mut other];
    let sent = send_all(&plan, gateways, plan.requests.len() / 4);
    check(&plan, sent, since, &servers.databases());
    assert_eq!(servers.parked(), [], "a kill is nobody's failure");
}

#[test]
fn every_key_has_one_outcome_although_the_process_is_killed_on_the_embedded_bus() {
    let plan = plan();
    let mut system = Embedded::create();
    system.service.start_and_wait();
    let since = Instant::now();
    let sent = send_all(&plan, &mut [&mut system.service], 0);
    check(&plan, sent, since, &system.databases);
}
