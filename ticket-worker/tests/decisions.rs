//! The rules of buying a ticket, given / when / then, with no database.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::time::Duration;

use events::{
    Event, Message, MessageType, PurchaseAndRegister, Reason, RegistrationFailed, SagaId, TicketId,
    Timestamp, UserId, UserTicketId,
};
use saga::decision::{Changes, Decision, Moment, Snapshot, decide_batch};
use ticket_worker::decide::{Effect, TicketDecider, Tickets};
use uuid::Uuid;

const NOW: i64 = 1_795_374_913_000_000;

fn moment() -> Moment {
    Moment {
        now: Timestamp::from_micros(NOW),
        fresh_id: Uuid::nil(),
    }
}

fn saga(number: u128) -> SagaId {
    SagaId(Uuid::from_u128(number))
}

fn event(saga_id: SagaId, message: impl Into<Message>) -> Event {
    let message = message.into();
    Event {
        id: Event::id_of(saga_id, message.message_type()),
        source: "test".into(),
        time: Timestamp::from_micros(NOW),
        saga_id,
        causation_id: None,
        traceparent: None,
        reply_to: Some("gateway-1".into()),
        deadline: Some(Timestamp::from_micros(NOW) + Duration::from_secs(1)),
        message,
    }
}

fn ticket_of(saga: SagaId) -> UserTicketId {
    UserTicketId(Uuid::from_u128(saga.0.as_u128() + 1_000))
}

fn purchase(number: u128) -> Event {
    let (user_id, ticket_id) = (UserId(1), TicketId(2));
    let user_ticket_id = ticket_of(saga(number));
    event(
        saga(number),
        PurchaseAndRegister {
            user_id,
            ticket_id,
            user_ticket_id,
        },
    )
}

fn failed(number: u128) -> Event {
    let (user_id, ticket_id, reason) = (UserId(1), TicketId(2), Reason::ALREADY_REGISTERED);
    let user_ticket_id = ticket_of(saga(number));
    event(
        saga(number),
        RegistrationFailed {
            user_id,
            ticket_id,
            user_ticket_id,
            reason,
        },
    )
}

/// What the worker remembers between batches.
#[derive(Default)]
struct Worker(HashMap<SagaId, Decision>);

impl Worker {
    fn when(&mut self, events: &[Event]) -> (Changes<Effect>, Vec<Event>) {
        let snapshot = Snapshot {
            decisions: self.0.clone(),
            facts: Tickets::default(),
        };
        let (changes, replies) = decide_batch(&TicketDecider, snapshot, events, moment).unwrap();
        for decision in changes.decided.iter().chain(&changes.undone) {
            self.0.insert(decision.saga_id, decision.clone());
        }
        (changes, replies)
    }
}

fn types(replies: &[Event]) -> Vec<MessageType> {
    replies.iter().map(Event::message_type).collect()
}

#[test]
fn a_purchase_creates_the_ticket_the_command_names() {
    let (changes, replies) = Worker::default().when(&[purchase(1)]);
    assert_eq!(types(&replies), [MessageType::TicketPurchased]);
    let [Effect::Create(ticket)] = changes.effects.as_slice() else {
        panic!("one ticket")
    };
    assert_eq!((ticket.id, ticket.saga_id), (ticket_of(saga(1)), saga(1)));
}

#[test]
fn a_reply_keeps_what_its_readers_need_to_follow_the_saga() {
    let command = purchase(1);
    let (_, replies) = Worker::default().when(std::slice::from_ref(&command));
    assert_eq!(replies[0].saga_id, command.saga_id);
    assert_eq!(replies[0].causation_id, Some(command.id));
    assert_eq!(replies[0].reply_to, command.reply_to);
    assert_eq!(replies[0].deadline, command.deadline);
}

#[test]
fn a_repeated_purchase_changes_nothing_and_says_the_same_again() {
    let mut worker = Worker::default();
    let (_, first) = worker.when(&[purchase(1)]);
    let (changes, again) = worker.when(&[purchase(1), purchase(1)]);
    assert!(changes.is_empty());
    assert_eq!(again, [first[0].clone(), first[0].clone()]);
}

#[test]
fn a_purchase_twice_in_one_batch_is_one_purchase() {
    let (changes, replies) = Worker::default().when(&[purchase(1), purchase(1)]);
    assert_eq!((changes.decided.len(), changes.effects.len()), (1, 1));
    assert_eq!(replies[0], replies[1]);
}

#[test]
fn a_purchase_after_its_deadline_is_refused_and_stays_refused() {
    let mut late = purchase(1);
    late.deadline = Some(Timestamp::from_micros(NOW - 1));
    let mut worker = Worker::default();
    let (changes, replies) = worker.when(std::slice::from_ref(&late));
    assert_eq!(types(&replies), [MessageType::PurchaseRejected]);
    assert!(changes.effects.is_empty());
    let (changes, again) = worker.when(&[purchase(1)]);
    assert!(
        changes.is_empty(),
        "a decision is made once, whatever the redelivery says"
    );
    assert_eq!(types(&again), [MessageType::PurchaseRejected]);
}

#[test]
fn an_undo_deletes_the_ticket_of_its_own_saga_only() {
    let mut worker = Worker::default();
    worker.when(&[purchase(1), purchase(2)]);
    let mut forged = failed(1);
    let Message::RegistrationFailed(data) = &mut forged.message else {
        panic!()
    };
    data.user_ticket_id = ticket_of(saga(2));
    let (changes, replies) = worker.when(&[forged]);
    let [Effect::Delete { id, saga_id, .. }] = changes.effects.as_slice() else {
        panic!("one")
    };
    assert_eq!((*id, *saga_id), (ticket_of(saga(1)), saga(1)));
    assert_eq!(types(&replies), [MessageType::TicketDeleted]);
}

#[test]
fn a_repeated_undo_changes_nothing_and_says_the_same_again() {
    let mut worker = Worker::default();
    let (_, first) = worker.when(&[purchase(1), failed(1)]);
    let (changes, again) = worker.when(&[failed(1)]);
    assert!(changes.is_empty());
    assert_eq!(again[0], first[1]);
}

#[test]
fn a_late_purchase_after_its_undo_does_not_start() {
    let mut worker = Worker::default();
    let (changes, undone) = worker.when(&[failed(1)]);
    assert_eq!(changes.decided.len(), 1, "the tombstone");
    let (changes, replies) = worker.when(&[purchase(1)]);
    assert!(changes.is_empty());
    assert_eq!(types(&replies), [MessageType::TicketDeleted]);
    assert_eq!(replies[0].id, undone[0].id, "the same end as the undo's");
}

#[test]
fn an_undo_of_a_refused_purchase_repeats_the_refusal() {
    let mut late = purchase(1);
    late.deadline = Some(Timestamp::from_micros(NOW - 1));
    let (changes, replies) = Worker::default().when(&[late, failed(1)]);
    assert!(changes.undone.is_empty() && changes.effects.is_empty());
    assert_eq!(
        types(&replies),
        [MessageType::PurchaseRejected, MessageType::PurchaseRejected]
    );
}

#[test]
fn a_redelivered_purchase_after_the_undo_does_not_bring_the_ticket_back() {
    let mut worker = Worker::default();
    worker.when(&[purchase(1), failed(1)]);
    let (changes, replies) = worker.when(&[purchase(1)]);
    assert!(changes.is_empty());
    assert_eq!(
        types(&replies),
        [MessageType::TicketPurchased],
        "what it said then"
    );
}

#[test]
fn an_undo_has_no_deadline() {
    let mut undo = failed(1);
    undo.deadline = Some(Timestamp::from_micros(NOW - 1));
    let (changes, _) = Worker::default().when(&[purchase(1), undo]);
    assert!(matches!(
        changes.effects.as_slice(),
        [Effect::Create(_), Effect::Delete { .. }]
    ));
}

#[test]
fn a_message_of_another_service_is_an_error_that_names_both() {
    let reply = Worker::default().when(&[purchase(1)]).1.remove(0);
    let snapshot = Snapshot {
        decisions: HashMap::new(),
        facts: Tickets::default(),
    };
    let failure = decide_batch(&TicketDecider, snapshot, &[reply], moment).unwrap_err();
    let text = saga::failure::chain(&failure);
    assert!(
        text.contains("ticket-worker") && text.contains("TicketPurchased"),
        "{text}"
    );
}
