//! The audit must see each way in which a world can be wrong, or it proves nothing.

use super::*;

const SAGA: Uuid = Uuid::from_u128(1);
const TICKET: Uuid = Uuid::from_u128(2);
const PAIR: Pair = Pair { user: 7, ticket: 9 };

fn completed() -> (World, Vec<Call>) {
    let mut world = World::default();
    world.tickets.push(LiveTicket {
        id: TICKET,
        saga: SAGA,
    });
    world.registrations.push(LiveRegistration {
        user_ticket: TICKET,
        saga: SAGA,
        user: 7,
        ticket: 9,
    });
    world.decided.insert(SAGA);
    world.ledger.insert(SAGA, "completed".to_owned());
    (world, vec![told(Answer::Completed { saga: SAGA })])
}

fn told(answer: Answer) -> Call {
    Call { pair: PAIR, answer }
}

#[test]
fn a_completed_saga_with_its_ticket_and_registration_passes() {
    let (world, calls) = completed();
    let totals = check(&world, &calls).unwrap();
    assert_eq!(totals.completed, 1);
    assert_eq!(unfinished(&world, &calls), 0);
}

#[test]
fn a_live_ticket_without_a_registration_is_found() {
    let (mut world, calls) = completed();
    world.registrations.clear();
    let found = check(&world, &calls).unwrap_err();
    assert!(matches!(
        found[..],
        [Violation::CompletedWithout {
            tickets: 1,
            registrations: 0,
            ..
        }]
    ));
}

#[test]
fn a_ticket_that_outlives_its_compensation_is_found() {
    let (mut world, _) = completed();
    world.ledger.insert(SAGA, "compensated".to_owned());
    world.registrations.clear();
    let found = check(&world, &[]).unwrap_err();
    assert!(matches!(
        found[..],
        [Violation::LeftBehind { tickets: 1, .. }]
    ));
}

#[test]
fn an_accepted_saga_that_the_ledger_lost_is_found() {
    let lost = told(Answer::Taken { saga: SAGA });
    let found = check(&World::default(), std::slice::from_ref(&lost)).unwrap_err();
    assert!(matches!(
        found[..],
        [Violation::NotEnded { status: None, .. }]
    ));
    assert_eq!(unfinished(&World::default(), &[lost]), 1);
}

#[test]
fn a_decision_of_a_saga_that_never_ends_is_found() {
    let mut world = World::default();
    world.decided.insert(SAGA);
    assert!(check(&world, &[]).is_err());
}

#[test]
fn a_registration_of_another_ticket_is_found() {
    let (mut world, calls) = completed();
    world.registrations[0].user_ticket = Uuid::from_u128(3);
    let found = check(&world, &calls).unwrap_err();
    assert_eq!(found, [Violation::WrongTicket { saga: SAGA }]);
}

#[test]
fn two_live_registrations_of_one_pair_are_found() {
    let (mut world, calls) = completed();
    let other = Uuid::from_u128(4);
    world.tickets.push(LiveTicket {
        id: other,
        saga: other,
    });
    world.registrations.push(LiveRegistration {
        user_ticket: other,
        saga: other,
        ..world.registrations[0]
    });
    world.ledger.insert(other, "completed".to_owned());
    let found = check(&world, &calls).unwrap_err();
    assert_eq!(found, [Violation::RegisteredTwice { user: 7, ticket: 9 }]);
}

#[test]
fn an_answer_that_the_ledger_contradicts_is_found() {
    let (world, _) = completed();
    let refused = told(Answer::Refused {
        saga: SAGA,
        reason: "deadline_exceeded".to_owned(),
    });
    let found = check(&world, &[refused]).unwrap_err();
    assert!(matches!(found[..], [Violation::ToldOtherwise { .. }]));
}

#[test]
fn two_successes_for_one_pair_are_found() {
    let (world, calls) = completed();
    let found = check(&world, &[calls[0].clone(), calls[0].clone()]).unwrap_err();
    assert_eq!(found, [Violation::SucceededTwice { pair: PAIR }]);
}

#[test]
fn a_refusal_of_a_pair_that_was_sent_only_once_is_found() {
    let mut world = World::default();
    world.ledger.insert(SAGA, "compensated".to_owned());
    let refused = |reason: &str| {
        let reason = reason.to_owned();
        told(Answer::Refused { saga: SAGA, reason })
    };
    let found = check(&world, &[refused("already_registered")]).unwrap_err();
    let (saga, pair) = (SAGA, PAIR);
    assert_eq!(found, [Violation::RefusedWithoutARival { saga, pair }]);
    // The answer to the other one may have been lost on the way.
    let both = [told(Answer::Lost), refused("already_registered")];
    assert!(check(&world, &both).is_ok());
    assert!(check(&world, &[refused("deadline_exceeded")]).is_ok());
}

#[test]
fn an_answer_other_than_an_outcome_or_unavailable_is_found() {
    let not_taken = |status| {
        let body = "why".to_owned();
        told(Answer::NotTaken { status, body })
    };
    assert!(check(&World::default(), &[not_taken(503)]).is_ok());
    for status in [400, 404, 500] {
        let found = check(&World::default(), &[not_taken(status)]).unwrap_err();
        assert!(matches!(found[..], [Violation::WrongStatus { .. }]));
    }
}
