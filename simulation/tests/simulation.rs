//! The promise of the system, under every fault, for as many sagas as there is patience for.
//!
//! `SIMULATION_SAGAS=5000000 cargo test -p simulation --test simulation -- --nocapture` is the long
//! mode; `SIMULATION_SEED=…` runs one world again and prints what happened.

use std::sync::Arc;

use simulation::assembly::{AsShipped, Assembly};
use simulation::campaign::{self, Failed, Summary};
use simulation::check::Outcomes;
use simulation::fault::Fault;
use simulation::world::{Report, World};

const SAGAS: usize = 100_000;

fn as_shipped() -> Arc<dyn Assembly> {
    Arc::new(AsShipped)
}

/// The number in an environment variable.
fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text:?} is no number")),
    )
}

fn succeed(result: Result<Summary, Box<Failed>>) -> Summary {
    let summary = result.unwrap_or_else(|failed| panic!("{failed}"));
    println!("{summary}");
    summary
}

#[test]
fn every_saga_ends_once_and_nothing_is_lost_whatever_fails() {
    if let Some(seed) = setting("SIMULATION_SEED") {
        let report = World::of(seed).run(as_shipped());
        for entry in &report.trace {
            println!("{entry}");
        }
        assert!(report.violations.is_empty(), "{}", Failed(report));
        return;
    }
    let seed = rand::random();
    println!("seeds from {seed}");
    let sagas = setting("SIMULATION_SAGAS").unwrap_or(SAGAS);
    let summary = succeed(campaign::run(seed, sagas, &as_shipped()));
    if sagas >= SAGAS {
        let Outcomes {
            completed,
            rejected,
            compensated,
        } = summary.outcomes;
        assert!(completed > 0 && rejected > 0 && compensated > 0);
        for fault in Fault::ALL {
            assert!(
                summary.faults.of(*fault) > 0,
                "{} never struck",
                fault.text()
            );
        }
    }
}

#[test]
fn the_same_worlds_as_ever_hold() {
    succeed(campaign::run(1, 5_000, &as_shipped()));
}

#[test]
fn the_same_seed_is_the_same_run_to_the_last_entry() {
    for seed in 1..=20 {
        let run = || World::of(seed).run(as_shipped());
        let (first, second) = (run(), run());
        for (one, other) in first.trace.iter().zip(&second.trace) {
            assert_eq!(one, other, "seed {seed}");
        }
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn without_faults_every_message_is_published_and_acknowledged_once() {
    for seed in 1..=20 {
        let report = World::of(seed).without_faults().run(as_shipped());
        let Report {
            violations,
            ledger,
            trace,
            ..
        } = &report;
        assert!(violations.is_empty(), "{}", Failed(report));
        let replayed = trace
            .iter()
            .filter(|entry| entry.what == "replayed")
            .count() as u64;
        assert_eq!(ledger.copied + ledger.duplicated + ledger.garbled, 0);
        assert!(ledger.redelivered <= replayed);
        assert_eq!(ledger.published + ledger.redelivered, ledger.acknowledged);
    }
}
