//! The embedded system in one process is killed twenty times under load, at random moments, and
//! every saga that it ever accepted comes to its one end.

use std::time::Duration;

use rand::RngExt;
use system_tests::audit::settle;
use system_tests::deployment::Embedded;
use system_tests::load::{Load, Plan};
use system_tests::seed::{random, seed};

const KILLS: usize = 20;
/// Between two kills at least this many calls are answered, so that each hits a working system.
const CALLS_BETWEEN: u64 = 20;
/// The random part of the time between two kills.
const SPREAD: u64 = 400;
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn every_accepted_saga_ends_once_although_the_process_is_killed_twenty_times() {
    let seed = seed();
    let mut random = random(seed);
    let mut system = Embedded::create();
    system.service.start_and_wait();
    let load = Load::start(
        system.service.address(),
        Plan {
            callers: 16,
            calls: 100_000,
            rest: Duration::from_millis(5),
            repeats_per_cent: 20,
            seed,
        },
    );

    for _ in 0..KILLS {
        load.wait_for_more(CALLS_BETWEEN, LIMIT);
        std::thread::sleep(Duration::from_millis(random.random_range(0..SPREAD)));
        system.service.kill_dash_9();
        system.service.start_and_wait();
    }

    load.wait_for_more(CALLS_BETWEEN, LIMIT);
    let calls = load.finish();
    let totals = settle(&system.databases, &calls, LIMIT);
    println!("{} calls, {totals:?}", calls.len());
    assert!(
        totals.completed > 100 && totals.compensated > 10,
        "{totals:?}"
    );
}
