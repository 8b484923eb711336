//! Every kind of fault at random, one after the other and sometimes two at once, under load with
//! refusals; then every saga has come to its one end, and nothing is parked.
//!
//! `CHAOS_SEED` repeats the choices of a run (not its timing); `CHAOS_MINUTES` makes it longer than
//! the one round of all kinds that every test run has; `CHAOS_KINDS` chooses kinds, one at a time. How
//! each is made, and figures: `docs/reliability.md`.

mod fault;
mod nemesis;
mod recovery;
mod report;
mod rig;

use std::time::Duration;

use fault::Kind;
use nemesis::Nemesis;
use rand::RngExt;
use rand::rngs::StdRng;
use rig::Rig;
use system_tests::audit::settle;
use system_tests::load::{Load, Plan};
use system_tests::seed::seed_of;

/// Far more than a recovery takes: whatever takes longer is stuck.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// Calls that show that the system works when all is over.
const SOME_CALLS: u64 = 300;
/// No run takes more calls in a second than this.
const CALLS_PER_SECOND: u64 = 2000;
/// Beyond the time that was asked for, what the last round may take.
const LAST_ROUND: u64 = 600;
/// How often a second fault comes along.
const TWO_AT_ONCE: f64 = 0.25;
/// How often the next fault waits only until the system works again, not until all is done.
const IMPATIENT: f64 = 0.25;
/// How often a long run holds a fault longer than every time limit of the services.
const LONG: f64 = 0.1;

struct Run {
    /// Rounds go on for so long; there is always one.
    duration: Duration,
    kinds: Vec<Kind>,
    /// How often two faults are there at once, and how often the next comes early.
    two_at_once: f64,
    impatient: f64,
}

impl Run {
    fn from_environment() -> Self {
        let minutes = std::env::var("CHAOS_MINUTES").unwrap_or_default();
        let minutes: u64 = match minutes.as_str() {
            "" => 0,
            minutes => minutes.parse().expect("CHAOS_MINUTES is a whole number"),
        };
        let duration = Duration::from_secs(60 * minutes);
        match std::env::var("CHAOS_KINDS") {
            Ok(names) => Self {
                duration,
                kinds: fault::named(&names),
                two_at_once: 0.0,
                impatient: 0.0,
            },
            Err(_) => Self {
                duration,
                kinds: fault::all(),
                two_at_once: TWO_AT_ONCE,
                impatient: IMPATIENT,
            },
        }
    }

    fn load(&self, seed: u64) -> Plan {
        Plan {
            callers: 32,
            calls: CALLS_PER_SECOND * (self.duration.as_secs() + LAST_ROUND),
            rest: Duration::from_millis(80),
            repeats_per_cent: 20,
            seed,
        }
    }

    /// How long a fault lasts.
    fn hold(&self, random: &mut StdRng) -> Duration {
        let seconds = match self.duration.is_zero() {
            true => 0.5..3.0,
            false if random.random_bool(LONG) => 25.0..40.0,
            false => 0.5..8.0,
        };
        Duration::from_secs_f64(random.random_range(seconds))
    }
}

#[test]
fn every_saga_comes_to_its_one_end_whatever_fault_is_next() {
    let seed = seed_of("CHAOS_SEED");
    let run = Run::from_environment();
    let mut rig = Rig::start();
    let load = Load::start(rig.services.gateway.address(), run.load(seed));
    let history = Nemesis::of(&mut rig, &load, seed).torment(&run);

    load.wait_for_more(SOME_CALLS, LIMIT);
    let lasted = history.elapsed();
    let calls = load.finish();
    let totals = settle(&rig.databases(), &calls, LIMIT);
    println!("{}", history.table(&run.kinds));
    println!("{} calls in {lasted:.0?}, {totals:?}", calls.len());
    assert!(
        totals.completed > 100 && totals.compensated > 10,
        "{totals:?}"
    );
    assert_eq!(rig.servers.parked(), [], "no fault was an event's own");
}
