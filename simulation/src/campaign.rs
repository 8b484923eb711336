//! Worlds by the thousand, on every core, and what to print when one of them fails.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::assembly::Assembly;
use crate::check::Outcomes;
use crate::fate::Faults;
use crate::ledger::Ledger;
use crate::world::{Report, World};

/// What many worlds add up to.
#[derive(Debug, Default)]
pub struct Summary {
    pub first_seed: u64,
    pub worlds: u64,
    pub sagas: usize,
    pub outcomes: Outcomes,
    pub faults: Faults,
    pub ledger: Ledger,
    /// On the worlds' own clocks, one after the other.
    pub lived: Duration,
    pub took: Duration,
}

/// Runs the worlds of this seed and the following ones until so many sagas have run. The error is
/// the story of the first one that failed.
pub fn run(
    first_seed: u64,
    sagas: usize,
    assembly: &Arc<dyn Assembly>,
) -> Result<Summary, Box<Failed>> {
    let (begun, next, done) = (Instant::now(), AtomicU64::new(0), AtomicUsize::new(0));
    let result = Mutex::new(Ok(Summary {
        first_seed,
        ..Summary::default()
    }));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while done.load(Ordering::Relaxed) < sagas {
                    let seed = first_seed.wrapping_add(next.fetch_add(1, Ordering::Relaxed));
                    let report = World::of(seed).run(Arc::clone(assembly));
                    done.fetch_add(report.sagas, Ordering::Relaxed);
                    if !add(&result, report) {
                        done.store(sagas, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let result = result.into_inner().expect("adding does not panic");
    result.map(|summary| Summary {
        took: begun.elapsed(),
        ..summary
    })
}

/// Whether it is worth going on.
fn add(result: &Mutex<Result<Summary, Box<Failed>>>, report: Report) -> bool {
    let mut result = result.lock().expect("adding does not panic");
    let Ok(summary) = &mut *result else {
        return false;
    };
    if !report.violations.is_empty() {
        *result = Err(Box::new(Failed(report)));
        return false;
    }
    summary.worlds += 1;
    summary.sagas += report.sagas;
    summary.outcomes.add(&report.outcomes);
    summary.faults.add(&report.faults);
    summary.ledger.add(&report.ledger);
    summary.lived += report.lasted;
    true
}

/// A world in which the promise was broken; shows how to see it again, and what happened.
#[derive(Debug)]
pub struct Failed(pub Report);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            seed,
            violations,
            trace,
            ledger,
            ..
        } = &self.0;
        writeln!(
            f,
            "the world of seed {seed} broke the promise; to see it again:"
        )?;
        writeln!(
            f,
            "  SIMULATION_SEED={seed} cargo test -p simulation --test simulation"
        )?;
        for violation in violations {
            writeln!(f, "  {violation}")?;
        }
        writeln!(f, "books: {ledger}")?;
        if let Some(saga) = violations.iter().find_map(|violation| violation.saga()) {
            writeln!(f, "what happened to saga {saga}, and to everybody:")?;
            for entry in trace.iter().filter(|entry| entry.concerns(saga)) {
                writeln!(f, "{entry}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcomes {
            completed,
            rejected,
            compensated,
        } = self.outcomes;
        writeln!(
            f,
            "{} sagas in {} worlds (seeds from {}) in {:.1} s, {:.0} h on their own clocks",
            self.sagas,
            self.worlds,
            self.first_seed,
            self.took.as_secs_f64(),
            self.lived.as_secs_f64() / 3600.0
        )?;
        writeln!(
            f,
            "{completed} completed, {rejected} rejected, {compensated} compensated"
        )?;
        writeln!(f, "{}\nfaults that struck:\n{}", self.ledger, self.faults)
    }
}
