//! Replicas of each service are killed under load, at random moments, on RabbitMQ and PostgreSQL,
//! and every saga that was ever accepted comes to its one end.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use system_tests::audit::settle;
use system_tests::deployment::{Servers, Services};
use system_tests::load::{Load, Plan};
use system_tests::seed::{random, seed};
use system_tests::service::Service;

/// Of each of the three services.
const KILLS: usize = 20;
const REPLICAS: usize = 2;
/// Between two kills at least this many calls are answered, so that each hits a working system.
const CALLS_BETWEEN: u64 = 10;
/// The random part of the time between two kills.
const SPREAD: u64 = 300;
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn every_accepted_saga_ends_once_although_every_service_is_killed_twenty_times() {
    let seed = seed();
    let mut random = random(seed);
    let servers = Servers::start_new();
    let mut services = Services::on(&servers, REPLICAS);
    services.start_and_wait();
    let load = Load::start(
        services.gateway.address(),
        Plan {
            callers: 16,
            calls: 100_000,
            rest: Duration::from_millis(10),
            repeats_per_cent: 20,
            seed,
        },
    );

    for _ in 0..KILLS {
        for victims in [
            &mut services.ticket_workers[..],
            &mut services.regist_workers[..],
            std::slice::from_mut(&mut services.gateway),
        ] {
            load.wait_for_more(CALLS_BETWEEN, LIMIT);
            kill_some(victims, &mut random);
        }
    }

    load.wait_for_more(CALLS_BETWEEN, LIMIT);
    let calls = load.finish();
    let totals = settle(&servers.databases(), &calls, LIMIT);
    println!("{} calls, {totals:?}", calls.len());
    assert!(
        totals.completed > 100 && totals.compensated > 10,
        "{totals:?}"
    );
    assert_eq!(servers.parked(), [], "a kill is nobody's failure");
}

/// Kills one replica, or all of them together, and starts them again.
fn kill_some(replicas: &mut [Service], random: &mut StdRng) {
    std::thread::sleep(Duration::from_millis(random.random_range(0..SPREAD)));
    let one = random.random_range(0..replicas.len());
    let victims = match random.random_bool(0.25) {
        true => replicas,
        false => &mut replicas[one..=one],
    };
    victims.iter_mut().for_each(Service::kill_dash_9);
    victims.iter_mut().for_each(Service::start);
    victims.iter_mut().for_each(Service::wait_until_ready);
}
