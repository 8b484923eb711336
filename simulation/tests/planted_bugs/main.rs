//! The simulation has teeth: each of these mistakes, planted with a wrapper around a port, breaks
//! the promise in a way that it sees within a few dozen worlds. The same worlds hold as shipped.
//! All planted bugs, here and elsewhere: `docs/planted-bugs.md`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod bus;
mod store;
mod undo;

use std::sync::Arc;

use simulation::assembly::{AsShipped, Assembly};
use simulation::campaign;
use simulation::check::Violation;
use simulation::world::World;

use crate::bus::BusBug;

/// In so many worlds a planted bug must have shown.
const WORLDS: u64 = 60;

/// Panics unless the bug breaks the promise in the expected way, in one of the first worlds.
pub(crate) fn is_caught(bug: impl Assembly, expected: impl Fn(&Violation) -> bool) {
    let bug: Arc<dyn Assembly> = Arc::new(bug);
    for seed in 1..=WORLDS {
        let report = World::of(seed).run(Arc::clone(&bug));
        if let Some(violation) = report.violations.iter().find(|v| expected(v)) {
            println!("caught in the world of seed {seed}: {violation}");
            let sound = World::of(seed).run(Arc::new(AsShipped));
            assert!(sound.violations.is_empty(), "{:?}", sound.violations);
            return;
        }
    }
    panic!("not caught in {WORLDS} worlds");
}

#[test]
fn the_story_of_a_failed_world_says_how_to_see_it_again_and_what_happened() {
    let bug: Arc<dyn Assembly> = Arc::new(BusBug::AcknowledgesBeforeCommit);
    let failed = campaign::run(1, 5_000, &bug).unwrap_err();
    let (story, seed) = (failed.to_string(), failed.0.seed);
    let again = World::of(seed).run(bug);
    assert_eq!(again, failed.0, "the seed is all it takes");
    let saga = again.violations.iter().find_map(Violation::saga).unwrap();
    for part in [
        format!("SIMULATION_SEED={seed} cargo test -p simulation"),
        again.violations[0].to_string(),
        format!("what happened to saga {saga}"),
        "published: PurchaseAndRegister".to_owned(),
    ] {
        assert!(story.contains(&part), "{part:?} is not in:\n{story}");
    }
}
