//! Two kinds of trying again, kept apart: an *event* whose handling failed goes to a retry tier and
//! uses up an attempt; a *dependency* that is away is waited for, and uses up nothing.

use std::str::FromStr;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::bus::Settlement;

/// When a failed event is delivered again, and how often before it is parked.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// The wait after the first failure, the second, and so on. After the last, the event is
    /// parked in the dead-letter queue. Each is a queue on the broker.
    pub delays: Vec<Duration>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            delays: [1, 10, 60].map(Duration::from_secs).to_vec(),
        }
    }
}

/// A list of waits, e.g. `1s,10s,60s`; an empty one tries nothing again.
impl FromStr for RetryPolicy {
    type Err = NoDuration;

    fn from_str(text: &str) -> Result<Self, NoDuration> {
        let parts = text.split(',').map(str::trim);
        let delays = parts.filter(|part| !part.is_empty()).map(|part| {
            humantime::parse_duration(part).map_err(|reason| NoDuration {
                part: part.to_owned(),
                reason,
            })
        });
        Ok(Self {
            delays: delays.collect::<Result<_, _>>()?,
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{part:?} is no duration like 500ms, 10s or 1m ({reason})")]
pub struct NoDuration {
    part: String,
    reason: humantime::DurationError,
}

impl RetryPolicy {
    /// What becomes of an event that failed now and `attempts` times before.
    pub fn after_failure(&self, attempts: u32, failure: String) -> Settlement {
        match usize::try_from(attempts)
            .ok()
            .and_then(|n| self.delays.get(n))
        {
            Some(&after) => Settlement::Retry { after, failure },
            None => Settlement::DeadLetter { failure },
        }
    }

    /// The configured wait that is as long as this or longer, for on RabbitMQ each wait is a queue and
    /// there are no others; past the longest, the longest. None if nothing is ever tried again.
    pub(crate) fn tier(&self, after: Duration) -> Option<Duration> {
        let enough = self.delays.iter().filter(|delay| **delay >= after).min();
        enough.or(self.delays.iter().max()).copied()
    }
}

/// Waits between tries of something that is away: doubling, jittered, bounded.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    jitter: SmallRng,
}

impl Backoff {
    /// Short enough that a blink of the broker is not noticed.
    const FIRST: Duration = Duration::from_millis(100);
    /// Long enough not to hammer a broker that is starting, short enough that a saga resumes within
    /// seconds of its return.
    const LONGEST: Duration = Duration::from_secs(2);

    pub fn new() -> Self {
        Self::seeded(rand::random())
    }

    /// Waits that are the same for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self {
            next: Self::FIRST,
            jitter: SmallRng::seed_from_u64(seed),
        }
    }

    /// The wait before the next try: half to all of the current step, so that replicas spread out.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.next.mul_f64(self.jitter.random_range(0.5..=1.0));
        self.next = (self.next * 2).min(Self::LONGEST);
        delay
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_walks_through_the_tiers_and_is_then_parked() {
        let policy = RetryPolicy::default();
        let waits = [0, 1, 2].map(
            |attempts| match policy.after_failure(attempts, "x".into()) {
                Settlement::Retry { after, .. } => after.as_secs(),
                other => panic!("{other:?}"),
            },
        );
        assert_eq!(waits, [1, 10, 60]);
        for attempts in [3, u32::MAX] {
            let parked = policy.after_failure(attempts, "x".into());
            assert!(matches!(parked, Settlement::DeadLetter { .. }));
        }
    }

    #[test]
    fn a_retry_waits_as_long_as_asked_or_longer_or_longest() {
        let policy = RetryPolicy::default();
        let tier = |seconds| policy.tier(Duration::from_secs(seconds));
        let tiers = [0, 1, 2, 60, 61].map(|asked| tier(asked).unwrap().as_secs());
        assert_eq!(tiers, [1, 1, 10, 60, 60]);
        assert_eq!(RetryPolicy { delays: vec![] }.tier(Duration::ZERO), None);
    }

    #[test]
    fn the_wait_for_a_dependency_grows_to_its_bound() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..20).map(|_| backoff.next_delay()).collect();
        assert!(waits[0] <= Backoff::FIRST);
        assert!(waits.iter().all(|wait| *wait <= Backoff::LONGEST));
        assert!(waits[19] >= Backoff::LONGEST / 2);
    }
}
