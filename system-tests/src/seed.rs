//! Randomness that a failed run can be repeated with.

use rand::SeedableRng;
use rand::rngs::StdRng;

/// The seed of this run: `TEST_SEED`, or a fresh one; printed, which cargo shows when a test fails.
pub fn seed() -> u64 {
    let seed = match std::env::var("TEST_SEED") {
        Ok(text) => text.parse().expect("TEST_SEED is a whole number"),
        Err(_) => rand::random(),
    };
    println!("TEST_SEED={seed}");
    seed
}

/// The random source of a test that prints its seed.
pub fn random(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}
