//! Services that are started before their servers wait, say what they wait for, and go on. An outage
//! of RabbitMQ or PostgreSQL under load pauses the system; it parks nothing and loses nothing.

use std::time::Duration;

use system_tests::audit::settle;
use system_tests::deployment::{Servers, Services};
use system_tests::http;
use system_tests::load::{Load, Plan};
use system_tests::seed::seed;
use system_tests::service::Service;

/// How long a server is away.
const OUTAGE: Duration = Duration::from_secs(10);
/// Calls that show that the system works (again).
const SOME_CALLS: u64 = 300;
/// Longer than the longest pause between two attempts to connect, and a call's own patience.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn services_wait_for_their_servers_and_resume_by_themselves_after_an_outage() {
    let mut servers = Servers::create();
    let mut services = Services::on(&servers, 1);
    services_started_first_wait_and_say_for_what(&mut services);
    servers.postgres.start();
    servers.broker.start();
    services.all().for_each(Service::wait_until_ready);

    let load = Load::start(services.gateway.address(), plan(seed()));
    load.wait_for_more(SOME_CALLS, LIMIT);

    servers.broker.stop();
    services.all().for_each(Service::wait_until_not_ready);
    std::thread::sleep(OUTAGE);
    servers.broker.start();
    services.all().for_each(Service::wait_until_ready);
    load.wait_for_more(SOME_CALLS, LIMIT);

    servers.postgres.stop();
    services.all().for_each(Service::wait_until_not_ready);
    std::thread::sleep(OUTAGE);
    servers.postgres.start();
    services.all().for_each(Service::wait_until_ready);
    load.wait_for_more(SOME_CALLS, LIMIT);

    let calls = load.finish();
    let totals = settle(&servers.databases(), &calls, LIMIT);
    println!("{} calls, {totals:?}", calls.len());
    assert_eq!(servers.parked(), [], "an outage is no event's failure");
}

fn plan(seed: u64) -> Plan {
    Plan {
        callers: 48,
        calls: 100_000,
        rest: Duration::from_millis(10),
        repeats_per_cent: 20,
        seed,
    }
}

fn services_started_first_wait_and_say_for_what(services: &mut Services) {
    services.all().for_each(Service::start);
    for service in services.all() {
        service.wait_until_it_says("waiting for the database");
        service.wait_until_it_says("waiting for RabbitMQ");
        assert!(!service.is_ready());
    }
    let answer = http::get(services.gateway.address(), "/readyz").expect("an answer");
    assert_eq!(answer.status, 503);
    for dependency in ["bus", "store"] {
        let state = &answer.json()[dependency];
        assert_eq!(state["state"], "down", "{answer:?}");
        assert!(state["waitingFor"].is_string(), "{answer:?}");
    }
    let answer = http::get(services.gateway.address(), "/livez").expect("an answer");
    assert_eq!(answer.status, 200, "waiting is no reason to be restarted");
}
