//! Putting many messages back without doing harm with all of them: one, then ten, then a hundred,
//! each step only after the one before did not come back.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Choice, DeadLetterError, DeadLetters, Deed, Parked, Selection};
use crate::retry::RetryPolicy;

/// Between two looks at whether something came back.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// A message is parked again only after its last retry.
const MARGIN: Duration = Duration::from_secs(10);
/// So many are in memory at a time when nobody watches what becomes of them.
const AT_ONCE: usize = 1_000;

/// How fast messages are put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ramp {
    /// How many in each step; the last goes on. Empty: all without a pause, and nobody waits for them.
    pub steps: Vec<usize>,
    /// How long a step is watched: longer than all retries take, for only after those is a message
    /// parked again. A bus that can tell when all are handled is not watched any longer.
    pub watch: Duration,
}

impl Ramp {
    /// Cautious at first, and done in reasonable time.
    pub const STEPS: [usize; 4] = [1, 10, 100, 1_000];

    /// Each step is watched until the last of these retries must have failed.
    pub fn watching(steps: Vec<usize>, retry: &RetryPolicy) -> Self {
        let retries: Duration = retry.delays.iter().sum();
        Self {
            steps,
            watch: retries + MARGIN,
        }
    }

    /// Everything at once, unwatched.
    pub fn at_once() -> Self {
        Self {
            steps: Vec::new(),
            watch: Duration::ZERO,
        }
    }

    fn step(&self, index: usize) -> usize {
        let step = self.steps.get(index).or(self.steps.last());
        step.map_or(AT_ONCE, |&step| step.max(1))
    }
}

/// Told while it goes on.
#[derive(Clone, Debug)]
pub enum Progress<'a> {
    PutBack { queue: &'a str, count: usize },
    Watching { queue: &'a str, limit: Duration },
    Held { queue: &'a str },
}

/// What became of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How many were put back.
    pub requeued: usize,
    /// Those that failed again. If there are any, the rest was not put back.
    pub came_back: Vec<Parked>,
    /// How many were not handled while they were watched: nobody consumes their queue, or not fast
    /// enough. If there are any, the rest was not put back either.
    pub unfinished: usize,
    /// Whether it was asked to stop. What was not put back by then stays parked.
    pub cut_short: bool,
}

/// Puts back what is selected, step by step. Stops when something comes back, and when it is asked to.
pub async fn requeue(
    letters: &mut dyn DeadLetters,
    selection: &Selection,
    deed: &Deed,
    ramp: &Ramp,
    stop: &CancellationToken,
    report: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Outcome, DeadLetterError> {
    let mut outcome = Outcome::default();
    for queue in selection.queues(letters.queues())? {
        let mut sent = Sent::default();
        for step in 0.. {
            let limit = ramp.step(step);
            let step = take(letters, &queue, selection, deed, limit, &sent, stop).await?;
            let Some(chosen) = step else {
                break;
            };
            let count = chosen.len();
            if count == 0 {
                continue;
            }
            outcome.requeued += count;
            report(Progress::PutBack {
                queue: &queue,
                count,
            });
            sent.add(chosen);
            if ramp.steps.is_empty() {
                continue;
            }
            report(Progress::Watching {
                queue: &queue,
                limit: ramp.watch,
            });
            let Some(watched) = watch(letters, &queue, &sent, ramp.watch, stop).await? else {
                break;
            };
            (outcome.came_back, outcome.unfinished) = watched;
            if !outcome.came_back.is_empty() || outcome.unfinished > 0 {
                return Ok(outcome);
            }
            report(Progress::Held { queue: &queue });
        }
    }
    outcome.cut_short = stop.is_cancelled();
    Ok(outcome)
}

/// Puts back up to so many that were not sent by us before, fewer where another command is faster.
/// `None`: there are no more, or it is to stop.
async fn take(
    letters: &mut dyn DeadLetters,
    queue: &str,
    selection: &Selection,
    deed: &Deed,
    limit: usize,
    sent: &Sent,
    stop: &CancellationToken,
) -> Result<Option<Vec<Parked>>, DeadLetterError> {
    if stop.is_cancelled() {
        return Ok(None);
    }
    let mut taken = 0;
    let mut choose = |parked: &Parked| {
        if taken == limit || stop.is_cancelled() {
            return Choice::Stop;
        }
        if sent.came_back(parked) || !selection.has(parked) {
            return Choice::Leave;
        }
        taken += 1;
        Choice::Take
    };
    let put_back = letters.act(queue, deed, &mut choose).await?;
    Ok((taken > 0).then_some(put_back))
}

/// Which of those sent come back while they are watched, and how many are not through by then. `None`:
/// it is to stop.
async fn watch(
    letters: &mut dyn DeadLetters,
    queue: &str,
    sent: &Sent,
    limit: Duration,
    stop: &CancellationToken,
) -> Result<Option<(Vec<Parked>, usize)>, DeadLetterError> {
    let until = Instant::now() + limit;
    // Nothing came back to a queue that does not grow, and looking at all of it is dear.
    let mut seen = None;
    loop {
        // In this order: what is handled or parked again after it was counted is looked at later.
        let unfinished = letters.unfinished().await?;
        let last = Instant::now() >= until || unfinished == Some(0);
        let depth = letters.depth(queue).await?;
        if last || seen.replace(depth) != Some(depth) {
            let back = came_back(letters, queue, sent).await?;
            if last || !back.is_empty() {
                return Ok(Some((back, unfinished.unwrap_or(0))));
            }
        }
        let pause = tokio::time::sleep(LOOK_AGAIN);
        if stop.run_until_cancelled(pause).await.is_none() {
            return Ok(None);
        }
    }
}

async fn came_back(
    letters: &mut dyn DeadLetters,
    queue: &str,
    sent: &Sent,
) -> Result<Vec<Parked>, DeadLetterError> {
    let mut back = Vec::new();
    let mut visit = |parked: &Parked| {
        if sent.came_back(parked) {
            back.push(parked.clone());
        }
    };
    letters.look(queue, &mut visit).await?;
    Ok(back)
}

/// What was put back to one queue.
#[derive(Default)]
struct Sent {
    /// How often each had been put back before.
    before: HashMap<String, u32>,
}

impl Sent {
    fn add(&mut self, step: Vec<Parked>) {
        for Parked { id, requeued, .. } in step {
            let before = self.before.entry(id).or_default();
            *before = requeued.max(*before);
        }
    }

    /// A second copy of an event that was parked twice did not come back: it was never put back.
    fn came_back(&self, parked: &Parked) -> bool {
        let before = self.before.get(&parked.id);
        before.is_some_and(|before| parked.requeued > *before)
    }
}
