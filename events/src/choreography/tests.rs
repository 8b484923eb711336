//! What any table must be.

use super::*;
use crate::MessageType;

#[test]
fn every_message_is_published_by_someone_and_read_by_someone() {
    for &message in MessageType::ALL {
        let saga = saga_of(message).unwrap_or_else(|| panic!("nobody publishes {message}"));
        let read = saga.steps.iter().any(|step| step.on == message);
        assert!(
            read || saga.outcome_of(message).is_some(),
            "nobody reads {message}"
        );
    }
}

#[test]
fn every_undo_takes_back_a_step_of_its_own_service() {
    for undo in steps() {
        let Role::Undo { of } = undo.role else {
            continue;
        };
        let undone = step(undo.service, of).expect("the undone step exists");
        assert!(
            matches!(undone.role, Role::Do { .. }),
            "{} undoes what is no step",
            undo.queue()
        );
    }
}

#[test]
fn a_service_has_one_queue_for_each_message_it_reacts_to() {
    let mut queues: Vec<String> = steps().map(Step::queue).collect();
    queues.sort();
    let total = queues.len();
    queues.dedup();
    assert_eq!(queues.len(), total);
    assert!(queues.contains(&"ticket-worker.PurchaseAndRegister".to_owned()));
}

/// Every way through a saga, as the messages from its start to one of its ends.
fn paths(saga: &Saga) -> Vec<Vec<MessageType>> {
    let (mut open, mut ended) = (vec![vec![saga.start]], Vec::new());
    while let Some(path) = open.pop() {
        let last = path[path.len() - 1];
        if saga.outcome_of(last).is_some() {
            ended.push(path);
            continue;
        }
        let next: Vec<_> = saga.steps.iter().filter(|step| step.on == last).collect();
        assert_eq!(next.len(), 1, "{path:?} leads nowhere, or forks");
        for output in next[0].outputs() {
            assert!(!path.contains(&output), "{path:?} runs in a circle");
            open.push([path.clone(), vec![output]].concat());
        }
    }
    ended
}

/// The steps that were done on a path: forward ones, and those that took one back.
fn done_and_undone(saga: &Saga, path: &[MessageType]) -> (Vec<MessageType>, Vec<MessageType>) {
    let (mut done, mut undone) = (Vec::new(), Vec::new());
    for (on, output) in path.iter().zip(&path[1..]) {
        let step = saga.steps.iter().find(|step| step.on == *on).unwrap();
        match step.role {
            Role::Do { refusal } if refusal == *output => {}
            Role::Do { .. } | Role::Finish => done.push(*on),
            Role::Undo { of } => undone.push(of),
        }
    }
    (done, undone)
}

#[test]
fn every_path_ends_with_everything_done_or_everything_that_was_done_undone() {
    for saga in SAGAS {
        let forward = |step: &&Step| matches!(step.role, Role::Do { .. } | Role::Finish);
        let steps = saga.steps.iter().filter(forward).count();
        for path in paths(saga) {
            let (mut done, mut undone) = done_and_undone(saga, &path);
            done.sort_by_key(|message| message.wire_type());
            undone.sort_by_key(|message| message.wire_type());
            let end = path[path.len() - 1];
            match saga.outcome_of(end).unwrap() {
                Outcome::Completed => {
                    assert_eq!((done.len(), undone.len()), (steps, 0), "{path:?}");
                }
                Outcome::Rejected => assert_eq!(done, [], "{path:?}"),
                Outcome::Compensated => {
                    assert!(!done.is_empty(), "{path:?} has nothing to undo");
                    assert_eq!(done, undone, "{path:?} leaves something behind");
                }
            }
        }
    }
}

#[test]
fn nothing_is_refused_after_a_step_that_cannot_be_undone_any_more() {
    for saga in SAGAS {
        for path in paths(saga) {
            let roles = path.iter().filter_map(|on| {
                let step = saga.steps.iter().find(|step| step.on == *on)?;
                Some(step.role)
            });
            let after = roles.skip_while(|role| *role != Role::Finish);
            assert!(
                after.into_iter().all(|role| role == Role::Finish),
                "{path:?}"
            );
        }
    }
}

/// The decision table has a row for each saga, with one place for the step and one for what concludes
/// it: a second step would be answered with the reply of the first.
#[test]
fn on_no_path_has_a_service_two_steps_or_two_conclusions() {
    for saga in SAGAS {
        for path in paths(saga) {
            let mut seen = Vec::new();
            for on in &path {
                let Some(step) = saga.steps.iter().find(|step| step.on == *on) else {
                    continue;
                };
                let is_step = matches!(step.role, Role::Do { .. });
                let place = (step.service, is_step);
                assert!(!seen.contains(&place), "{} is one too many", step.queue());
                seen.push(place);
            }
        }
    }
}

#[test]
fn every_message_belongs_to_one_saga() {
    for &message in MessageType::ALL {
        let has = |saga: &&&Saga| {
            let mut outputs = saga.steps.iter().flat_map(Step::outputs);
            saga.start == message || outputs.any(|output| output == message)
        };
        assert_eq!(SAGAS.iter().filter(has).count(), 1, "{message}");
    }
}
