//! Which sagas wait at which step, and longer than the step may take, by the choreography table:
//! counted by the replica that projects, shown as gauges, and told once when it begins.
//!
//! A look costs a few index lookups for each step, however many sagas there are.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use events::Timestamp;
use events::choreography::{Step, steps};
use metrics::{Gauge, describe_gauge, gauge};
use saga::bus::Health;
use saga::failure::chain;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::projector::Projector;
use super::{Ledger, LedgerError};

/// Soon enough for an alert, and next to no load.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A gauge goes no further than this, which bounds the cost of a look to some tens of milliseconds.
/// By then an operator knows enough.
pub const COUNTED: usize = 100_000;

/// A step, and since before when who waits at it is overdue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepLimit {
    pub queue: String,
    pub overdue_before: Timestamp,
}

impl StepLimit {
    pub fn of(step: &Step, now: Timestamp) -> Self {
        Self {
            queue: step.queue(),
            overdue_before: now - step.within,
        }
    }
}

/// How many sagas wait at a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AtStep {
    pub waiting: u32,
    pub overdue: u32,
    /// Since when the first of them waits.
    pub oldest: Option<Timestamp>,
}

impl AtStep {
    /// The counts as SQL gives them.
    pub(super) fn of(waiting: i64, overdue: i64, oldest: Option<Timestamp>) -> Self {
        let count = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            waiting: count(waiting),
            overdue: count(overdue),
            oldest,
        }
    }
}

impl Projector {
    /// Goes on for as long as this replica projects.
    pub(super) async fn watch_overdue(&self) -> Infallible {
        let mut watch = OverdueWatch::new(&self.ledger);
        watch.run(self.health.subscribe()).await
    }
}

/// Looks again and again, and shows what it sees until it is dropped.
pub struct OverdueWatch {
    ledger: Arc<dyn Ledger>,
    steps: Vec<Shown>,
}

struct Shown {
    step: &'static Step,
    waiting: Gauge,
    overdue: Gauge,
    is_overdue: bool,
}

impl OverdueWatch {
    pub fn new(ledger: &Arc<dyn Ledger>) -> Self {
        describe_gauge!(
            "sagas_waiting",
            "sagas that wait at this step, on the replica that projects; no more than 100,000"
        );
        describe_gauge!(
            "sagas_overdue",
            "those of them that wait longer than the step may take"
        );
        let shown = |step: &'static Step| Shown {
            step,
            waiting: gauge!("sagas_waiting", "step" => step.queue()),
            overdue: gauge!("sagas_overdue", "step" => step.queue()),
            is_overdue: false,
        };
        let mut watch = Self {
            ledger: Arc::clone(ledger),
            steps: steps().map(shown).collect(),
        };
        watch.show(&vec![AtStep::default(); watch.steps.len()]);
        watch
    }

    /// Looks while the ledger is up to date: one that is behind shows sagas as waiting that have gone
    /// on long since.
    async fn run(&mut self, ledger: watch::Receiver<Health>) -> Infallible {
        loop {
            let is_up_to_date = ledger.borrow().is_up();
            if is_up_to_date && let Err(problem) = self.look(Timestamp::now()).await {
                // The projector tells that the database is away.
                debug!(error = chain(&problem), "overdue sagas are not counted");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// One look. Returns what it saw, step by step.
    pub async fn look(&mut self, now: Timestamp) -> Result<Vec<AtStep>, LedgerError> {
        let limits: Vec<StepLimit> = (self.steps.iter())
            .map(|shown| StepLimit::of(shown.step, now))
            .collect();
        let seen = self.ledger.waiting(&limits).await?;
        self.tell(&seen);
        self.show(&seen);
        Ok(seen)
    }

    /// One line when sagas become overdue at some step, however many, and one when none is any more.
    fn tell(&self, seen: &[AtStep]) {
        let describe = |(shown, at): (&Shown, &AtStep)| {
            let begins = at.overdue > 0 && !shown.is_overdue;
            let since = at.oldest.map(|at| format!(" since {at}"));
            let (count, step) = (at.overdue, shown.step.queue());
            begins.then(|| format!("{count} at {step}{}", since.unwrap_or_default()))
        };
        let begun: Vec<String> = (self.steps.iter().zip(seen)).filter_map(describe).collect();
        let was = self.steps.iter().any(|shown| shown.is_overdue);
        if !begun.is_empty() {
            warn!(
                overdue = begun.join(", "),
                "sagas wait longer at a step than it may take; GET /sagas?status=overdue lists them"
            );
        } else if was && seen.iter().all(|at| at.overdue == 0) {
            info!("no saga is overdue any more");
        }
    }

    fn show(&mut self, seen: &[AtStep]) {
        for (shown, at) in self.steps.iter_mut().zip(seen) {
            shown.waiting.set(f64::from(at.waiting));
            shown.overdue.set(f64::from(at.overdue));
            shown.is_overdue = at.overdue > 0;
        }
    }
}

impl Drop for OverdueWatch {
    /// Another replica shows them now.
    fn drop(&mut self) {
        self.show(&vec![AtStep::default(); self.steps.len()]);
    }
}
