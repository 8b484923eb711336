//! Every interleaving of two sagas that want the same: the rules of both workers, run by a model
//! checker through all orders, duplicates, crashes, lost races and passed deadlines there are at
//! this scope. Where the simulation samples large worlds, this misses nothing in a small one.
//!
//! `model.rs` says what can happen, `properties.rs` what must hold. The planted bugs show that it
//! would not hold by itself.

mod database;
mod kept;
mod model;
mod planted;
mod properties;
mod telling;
mod world;

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use model::Scope;
use planted::Planted;

/// One batch of one event at a time in each service; deadlines pass, and a purchase may be lost.
const ONE_OF_EACH: Scope = Scope {
    replicas: [1, 1],
    batch: 1,
    deadlines: true,
    lost_purchase: true,
    planted: None,
};

/// Explores all states, and expects no counterexample and an example of all that may happen.
fn holds(scope: Scope) {
    let begin = Instant::now();
    let checker = scope.checker().threads(THREADS).spawn_bfs().join();
    println!(
        "{scope:?}: {} states, {} transitions, {} deep, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        begin.elapsed().as_secs_f64(),
    );
    for (name, path) in checker.discoveries() {
        if scope.property(name).expectation.discovery_is_failure() {
            println!("NOT SO: {name}\n{}", telling::tell(&path.into_vec()));
        }
    }
    checker.assert_properties();
}

/// Expects a way to break this property, and tells it. The search is breadth first: the way is
/// among the shortest.
fn breaks(scope: Scope, property: &'static str) {
    let enough = HasDiscoveries::AnyOf([property].into());
    let checker = scope.checker().finish_when(enough).spawn_bfs().join();
    let path = checker.discovery(property);
    let path = path.unwrap_or_else(|| panic!("{:?} was not noticed: {property}", scope.planted));
    let story = telling::tell(&path.into_vec());
    println!("{:?} breaks \"{property}\":\n{story}", scope.planted);
}

/// The bug alone, without a lost purchase to help it.
fn with(planted: Planted) -> Scope {
    Scope {
        lost_purchase: false,
        planted: Some(planted),
        ..ONE_OF_EACH
    }
}

/// The machines that run the tests have two cores or more.
const THREADS: usize = 2;

#[test]
fn the_promise_holds_in_every_interleaving_past_deadlines_and_a_lost_purchase() {
    holds(ONE_OF_EACH);
}

/// No deadlines, and the fresh start only.
const RACES: Scope = Scope {
    deadlines: false,
    lost_purchase: false,
    ..ONE_OF_EACH
};

#[test]
fn the_promise_holds_in_every_interleaving_of_two_ticket_workers() {
    holds(Scope {
        replicas: [2, 1],
        ..RACES
    });
}

#[test]
fn the_promise_holds_in_every_interleaving_of_two_regist_workers() {
    holds(Scope {
        replicas: [1, 2],
        ..RACES
    });
}

#[test]
#[ignore = "half a million states: a minute or two on two cores"]
fn the_promise_holds_in_every_interleaving_of_two_replicas_of_each() {
    holds(Scope {
        replicas: [2, 2],
        ..RACES
    });
}

#[test]
fn the_promise_holds_in_every_interleaving_of_batches_of_two() {
    holds(Scope { batch: 2, ..RACES });
}

#[test]
fn without_a_tombstone_a_purchase_that_its_undo_overtook_starts() {
    let scope = Scope {
        lost_purchase: true,
        ..with(Planted::NoTombstone)
    };
    breaks(scope, properties::STAYS_GONE);
}

#[test]
fn without_a_row_a_refusal_is_taken_back() {
    breaks(with(Planted::RefusalsUnrecorded), properties::ONE_END);
}

#[test]
fn an_undo_that_touches_another_sagas_ticket_deletes_a_registered_one() {
    breaks(with(Planted::UndoOfAnyTicket), properties::NOT_UNDONE);
}

#[test]
fn deciding_again_gives_a_saga_two_ends() {
    breaks(with(Planted::DecidesAgain), properties::ONE_END);
}

#[test]
fn without_the_unique_index_two_replicas_register_one_user_twice() {
    let scope = Scope {
        replicas: [1, 2],
        deadlines: false,
        ..with(Planted::NoUniqueIndex)
    };
    breaks(scope, properties::ONE_REGISTRATION);
}

#[test]
fn acknowledging_before_publishing_loses_a_saga() {
    breaks(with(Planted::AcknowledgesFirst), properties::ENDED);
}
