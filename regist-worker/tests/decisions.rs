//! The rules of registering, given / when / then, with no database.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;

use events::{
    CancelRegistration, Event, Message, MessageType, Reason, RegistId, SagaId, TicketId,
    TicketPurchased, Timestamp, UserId, UserTicketId,
};
use regist_worker::decide::{Effect, Regist, RegistDecider, Registrations};
use saga::decision::{Changes, Decision, Moment, Snapshot, decide_batch};
use uuid::Uuid;

const NOW: i64 = 1_795_374_913_000_000;
const FRESH: u128 = 77;

fn purchased(saga: u128, user: u64, ticket: u64) -> Event {
    let saga_id = SagaId(Uuid::from_u128(saga));
    let user_ticket_id = UserTicketId(Uuid::from_u128(saga + 1_000));
    let (user_id, ticket_id) = (UserId(user), TicketId(ticket));
    Event {
        id: Event::id_of(saga_id, MessageType::TicketPurchased),
        source: "test".into(),
        time: Timestamp::from_micros(NOW),
        saga_id,
        causation_id: None,
        traceparent: None,
        reply_to: None,
        deadline: None,
        message: TicketPurchased {
            user_id,
            ticket_id,
            user_ticket_id,
        }
        .into(),
    }
}

fn when(
    known: HashMap<SagaId, Decision>,
    registered: &[(u64, u64)],
    events: &[Event],
) -> (Changes<Effect>, Vec<Event>) {
    let keys = registered
        .iter()
        .map(|&(user, ticket)| (UserId(user), TicketId(ticket)));
    let snapshot = Snapshot {
        decisions: known,
        facts: Registrations {
            registered: keys.collect(),
            ..Registrations::default()
        },
    };
    let moment = || Moment {
        now: Timestamp::from_micros(NOW),
        fresh_id: Uuid::from_u128(FRESH),
    };
    decide_batch(&RegistDecider, snapshot, events, moment).unwrap()
}

fn reason(reply: &Event) -> Option<&Reason> {
    match &reply.message {
        Message::RegistrationFailed(failed) => Some(&failed.reason),
        _ => None,
    }
}

#[test]
fn a_bought_ticket_is_registered_under_the_id_that_was_handed_in() {
    let (changes, replies) = when(HashMap::new(), &[], &[purchased(1, 7, 9)]);
    let [Effect::Create(regist)] = changes.effects.as_slice() else {
        panic!("one registration")
    };
    assert_eq!(regist.id, RegistId(Uuid::from_u128(FRESH)));
    assert_eq!(
        replies[0].message_type(),
        MessageType::RegistrationCompleted
    );
}

#[test]
fn a_second_registration_of_the_user_for_the_ticket_is_refused() {
    let (changes, replies) = when(HashMap::new(), &[(7, 9)], &[purchased(1, 7, 9)]);
    assert_eq!(reason(&replies[0]), Some(&Reason::ALREADY_REGISTERED));
    assert!(changes.effects.is_empty());
    assert_eq!(changes.decided.len(), 1, "the refusal is recorded");
}

#[test]
fn another_ticket_or_another_user_is_not_the_same_registration() {
    let events = [purchased(1, 7, 10), purchased(2, 8, 9)];
    let (changes, _) = when(HashMap::new(), &[(7, 9)], &events);
    assert_eq!(changes.effects.len(), 2);
}

#[test]
fn of_two_in_one_batch_the_first_wins_and_the_second_is_refused() {
    let (changes, replies) = when(
        HashMap::new(),
        &[],
        &[purchased(1, 7, 9), purchased(2, 7, 9)],
    );
    assert_eq!(changes.effects.len(), 1);
    assert_eq!(reason(&replies[0]), None);
    assert_eq!(reason(&replies[1]), Some(&Reason::ALREADY_REGISTERED));
}

#[test]
fn a_refusal_stands_although_the_world_has_changed_since() {
    let event = purchased(1, 7, 9);
    let (changes, refused) = when(HashMap::new(), &[(7, 9)], std::slice::from_ref(&event));
    let known = HashMap::from([(event.saga_id, changes.decided[0].clone())]);
    let (changes, again) = when(known, &[], &[event]);
    assert!(changes.is_empty());
    assert_eq!(again, refused);
}

#[test]
fn a_ticket_seen_after_the_deadline_is_refused() {
    let mut late = purchased(1, 7, 9);
    late.deadline = Some(Timestamp::from_micros(NOW - 1));
    let (changes, replies) = when(HashMap::new(), &[], &[late]);
    assert_eq!(reason(&replies[0]), Some(&Reason::DEADLINE_EXCEEDED));
    assert!(changes.effects.is_empty());
}

#[test]
fn a_cancellation_that_names_no_registration_is_refused_whatever_else_the_batch_is_about() {
    let regist = Regist {
        id: RegistId(Uuid::from_u128(5)),
        user_id: UserId(7),
        user_ticket_id: UserTicketId(Uuid::from_u128(6)),
        ticket_id: TicketId(9),
        saga_id: SagaId(Uuid::from_u128(1)),
        created_at: Timestamp::from_micros(NOW),
    };
    for user_id in [None, Some(UserId(7))] {
        let command = CancelRegistration {
            regist_id: None,
            user_id,
            user_ticket_id: None,
        };
        let event = Event {
            message: command.into(),
            ..purchased(2, 7, 9)
        };
        let snapshot = Snapshot {
            decisions: HashMap::new(),
            facts: Registrations {
                live: HashMap::from([(regist.id, regist.clone())]),
                ..Registrations::default()
            },
        };
        let (changes, replies) =
            decide_batch(&RegistDecider, snapshot, &[event], Moment::now).unwrap();
        let reason = replies[0].message.particulars().reason;
        assert_eq!(reason, Some(&Reason::NOTHING_NAMED));
        assert!(changes.effects.is_empty());
    }
}
