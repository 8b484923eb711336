//! What has to be true of all that was ever told about a key, and of the keys of one order.

use std::collections::{HashMap, HashSet};

use system_tests::load::{Answer, Call, Pair};
use uuid::Uuid;

use crate::plan::Plan;
use crate::sender::Told;

/// A server that was away, and promised nothing.
const UNAVAILABLE: u16 = 503;

/// Returns the one outcome of every key; panics if one has none, or two.
pub(crate) fn one_for_each_key(plan: &Plan, told: &[Told], asked: &[Told]) -> Vec<Call> {
    let mut by_key: HashMap<usize, Vec<&Told>> = HashMap::new();
    for told in told.iter().chain(asked) {
        by_key.entry(told.key).or_default().push(told);
    }
    let outcome = |(key, pair): (usize, &Pair)| Call {
        pair: *pair,
        answer: one_outcome(key, &by_key[&key]).clone(),
    };
    plan.pairs.iter().enumerate().map(outcome).collect()
}

fn one_outcome<'a>(key: usize, told: &[&'a Told]) -> &'a Answer {
    let is_outcome = |told: &&&Told| {
        matches!(
            told.answer,
            Answer::Completed { .. } | Answer::Refused { .. }
        )
    };
    let outcomes: Vec<_> = told.iter().filter(is_outcome).collect();
    let bodies: HashSet<&str> = outcomes.iter().map(|told| told.body.as_str()).collect();
    assert_eq!(
        bodies.len(),
        1,
        "key {key} has other than one outcome: {told:#?}"
    );
    let sagas: HashSet<Uuid> = told.iter().filter_map(|told| told.answer.saga()).collect();
    assert_eq!(
        sagas.len(),
        1,
        "key {key} is other than one saga: {told:#?}"
    );
    for told in told {
        if let Answer::NotTaken { status, body } = &told.answer {
            assert_eq!(*status, UNAVAILABLE, "key {key}: {body}");
        }
    }
    &outcomes[0].answer
}

/// Of the keys that ask for the same, one is registered and every other refused.
pub(crate) fn one_success_for_each_pair(calls: &[Call]) {
    let mut successes: HashMap<Pair, usize> = HashMap::new();
    for call in calls {
        let succeeded = matches!(call.answer, Answer::Completed { .. });
        *successes.entry(call.pair).or_default() += usize::from(succeeded);
    }
    let wrong: Vec<_> = successes.iter().filter(|(_, count)| **count != 1).collect();
    assert_eq!(
        wrong.len(),
        0,
        "pairs and how often they were registered: {wrong:?}"
    );
}
