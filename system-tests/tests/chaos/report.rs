//! What was done to the system and how it came back: a line for each fault as it happens, and at the
//! end a table by kind.

use std::time::{Duration, Instant};

use crate::fault::Kind;
use crate::recovery::Recovery;

/// The row of faults that were there together.
const TWO_AT_ONCE: &str = "two at once";

/// Faults that were there together; mostly it is one.
struct Fault {
    kinds: Vec<Kind>,
    recovery: Recovery,
}

/// All faults so far. What it prints is shown by cargo when the test fails.
pub(crate) struct History {
    since: Instant,
    faults: Vec<Fault>,
}

impl History {
    pub(crate) fn begin() -> Self {
        Self {
            since: Instant::now(),
            faults: Vec::new(),
        }
    }

    pub(crate) fn say(&self, what: &str, kind: Kind) {
        let at = self.since.elapsed().as_secs_f64();
        println!("{at:8.2} s  {what} {}", kind.name());
    }

    pub(crate) fn recovered(&mut self, kinds: Vec<Kind>, recovery: Recovery) {
        let drained = recovery
            .drained
            .map(|drained| format!(", drained after {drained:.2?}"));
        println!(
            "            first end after {:.2?}{}",
            recovery.first_end,
            drained.unwrap_or_default()
        );
        self.faults.push(Fault { kinds, recovery });
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// A Markdown table with a row for each of these kinds.
    pub(crate) fn table(&self, kinds: &[Kind]) -> String {
        let mut table = String::from(
            "| fault | times | first saga ended after p50 / p99 / max | drained after p50 / p99 / max |\n\
             |---|---|---|---|\n",
        );
        for kind in kinds {
            let alone = |fault: &&Fault| fault.kinds == [*kind];
            table += &row(kind.name(), self.faults.iter().filter(alone));
        }
        let together = self.faults.iter().filter(|fault| fault.kinds.len() > 1);
        table += &row(TWO_AT_ONCE, together);
        table
    }
}

fn row<'a>(name: &str, faults: impl Iterator<Item = &'a Fault>) -> String {
    let recoveries: Vec<Recovery> = faults.map(|fault| fault.recovery).collect();
    let first = recoveries.iter().map(|recovery| recovery.first_end);
    let drained = recoveries.iter().filter_map(|recovery| recovery.drained);
    format!(
        "| {name} | {} | {} | {} |\n",
        recoveries.len(),
        percentiles(first.collect()),
        percentiles(drained.collect())
    )
}

/// By nearest rank.
fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let rank = |per_cent: usize| (times.len() * per_cent).div_ceil(100).saturating_sub(1);
    let at = |per_cent| times.get(rank(per_cent)).map(Duration::as_secs_f64);
    match (at(50), at(99), at(100)) {
        (Some(half), Some(most), Some(all)) => format!("{half:.2} / {most:.2} / {all:.2} s"),
        _ => "–".to_owned(),
    }
}
