//! The one source of randomness of a world: what is drawn here, in this order, is the run.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

#[derive(Clone, Debug)]
pub(crate) struct Chance(Arc<Mutex<SmallRng>>);

impl Chance {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))))
    }

    pub(crate) fn hits(&self, probability: f64) -> bool {
        probability > 0.0 && self.dice().random_bool(probability)
    }

    /// From 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        self.dice().random_range(0.0..=1.0)
    }

    pub(crate) fn number(&self, range: Range<usize>) -> usize {
        self.dice().random_range(range)
    }

    pub(crate) fn millis(&self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.dice().random_range(range))
    }

    pub(crate) fn uuid(&self) -> Uuid {
        Uuid::from_u128(self.dice().random())
    }

    pub(crate) fn seed(&self) -> u64 {
        self.dice().random()
    }

    fn dice(&self) -> MutexGuard<'_, SmallRng> {
        self.0.lock().expect("drawing a number does not panic")
    }
}
