//! Randomness that a failed run can be repeated with.

use rand::SeedableRng;
use rand::rngs::StdRng;

/// The seed of this run: `TEST_SEED`, or a fresh one; printed, which cargo shows when a test fails.
pub fn seed() -> u64 {
    seed_of("TEST_SEED")
}

/// The same by another variable.
pub fn seed_of(variable: &str) -> u64 {
    let seed = match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is a whole number")),
        Err(_) => rand::random(),
    };
    println!("{variable}={seed}");
    seed
}

/// The random source of a test that prints its seed.
pub fn random(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}
