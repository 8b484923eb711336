//! A saga told in any order is the same row.

use events::{
    Cause, Message, MessageType, PurchaseAndRegister, RegistrationCompleted, RegistrationFailed,
    TicketDeleted, TicketPurchased,
};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

struct Story {
    events: Vec<Event>,
}

/// A saga by its messages, one a second.
impl Story {
    fn begins() -> Self {
        let saga_id = SagaId::mint();
        let message = Message::from(PurchaseAndRegister {
            user_id: UserId(7),
            ticket_id: TicketId(u64::MAX),
            user_ticket_id: UserTicketId::mint(),
        });
        let command = Event {
            id: Event::id_of(saga_id, message.message_type()),
            source: "api-gateway".into(),
            time: at(0),
            saga_id,
            causation_id: None,
            traceparent: None,
            reply_to: None,
            deadline: None,
            message,
        };
        Self {
            events: vec![command],
        }
    }

    fn then(mut self, source: &'static str, message: impl Into<Message>) -> Self {
        let by = self.events.last().expect("it has begun");
        let time = at(i64::try_from(self.events.len()).unwrap());
        let cause = Cause { by, source, time };
        self.events.push(Event::caused(&cause, message.into()));
        self
    }

    fn purchased(self) -> Self {
        let ids = self.ids();
        let message = TicketPurchased {
            user_id: UserId(7),
            ticket_id: TicketId(u64::MAX),
            user_ticket_id: ids,
        };
        self.then("ticket-worker", message)
    }

    fn completed(self, regist_id: RegistId) -> Self {
        let ids = self.ids();
        let message = RegistrationCompleted {
            regist_id,
            user_id: UserId(7),
            ticket_id: TicketId(u64::MAX),
            user_ticket_id: ids,
        };
        self.then("regist-worker", message)
    }

    fn failed(self) -> Self {
        let ids = self.ids();
        let message = RegistrationFailed {
            user_id: UserId(7),
            ticket_id: TicketId(u64::MAX),
            user_ticket_id: ids,
            reason: Reason::ALREADY_REGISTERED,
        };
        self.then("regist-worker", message)
    }

    fn deleted(self) -> Self {
        let message = TicketDeleted {
            user_ticket_id: self.ids(),
            cause: Reason::ALREADY_REGISTERED,
        };
        self.then("ticket-worker", message)
    }

    fn ids(&self) -> UserTicketId {
        self.events[0].message.particulars().user_ticket_id.unwrap()
    }
}

fn folded<'a>(events: impl IntoIterator<Item = &'a Event>) -> Row {
    events
        .into_iter()
        .fold(None, |row, event| Some(fold(row, event)))
        .unwrap()
}

/// Every order of the events, by Heap's algorithm.
fn orders(events: &mut Vec<Event>, k: usize, seen: &mut impl FnMut(&[Event])) {
    if k <= 1 {
        return seen(events);
    }
    for i in 0..k {
        orders(events, k - 1, seen);
        events.swap(if k.is_multiple_of(2) { i } else { 0 }, k - 1);
    }
}

/// The command of another request with the same key.
fn other_request(command: &Event, user_ticket: u128) -> Event {
    let mut other = command.clone();
    other.message = PurchaseAndRegister {
        user_id: UserId(1),
        ticket_id: TicketId(1),
        user_ticket_id: UserTicketId(uuid::Uuid::from_u128(user_ticket)),
    }
    .into();
    other
}

/// Two requests with one key: only what was done shows, whichever command came when.
#[test]
fn what_the_participants_did_counts_and_not_what_another_request_asked_for() {
    let mut story = Story::begins();
    let command = story.events[0].clone();
    let ids = command.message.particulars();
    let done = Event::caused(
        &Cause {
            by: &command,
            source: "ticket-worker",
            time: at(1),
        },
        TicketPurchased {
            user_id: ids.user_id.unwrap(),
            ticket_id: ids.ticket_id.unwrap(),
            user_ticket_id: ids.user_ticket_id.unwrap(),
        }
        .into(),
    );
    story.events.push(done.clone());
    let row = |events: &[Event]| {
        let row = events
            .iter()
            .fold(None, |row, event| Some(fold(row, event)));
        row.unwrap()
    };
    let expected = row(&story.events);
    for other in [
        other_request(&command, 0),
        other_request(&command, u128::MAX),
    ] {
        for events in [
            [command.clone(), other.clone(), done.clone()],
            [other.clone(), command.clone(), done.clone()],
            [command.clone(), done.clone(), other],
        ] {
            let row = row(&events);
            assert_eq!(
                (row.user_id, row.ticket_id, row.user_ticket_id),
                (
                    expected.user_id,
                    expected.ticket_id,
                    expected.user_ticket_id
                )
            );
        }
    }
}

#[test]
fn a_completed_saga_has_all_that_its_messages_carry() {
    let regist_id = RegistId::mint();
    let story = Story::begins().purchased().completed(regist_id);
    let row = folded(&story.events);
    assert_eq!(row.status(), Status::Completed);
    assert_eq!(row.kind(), "PurchaseAndRegister");
    assert_eq!(row.started_at(), Some(at(0)));
    assert_eq!(row.regist_id, Some(regist_id));
    assert_eq!(row.ticket_id, Some(TicketId(u64::MAX)));
    assert_eq!(row.reason, None);
    assert_eq!(row.timeline.entries().len(), 3);
}

#[test]
fn any_order_and_any_repetition_gives_the_same_row() {
    let mut events = Story::begins().purchased().failed().deleted().events;
    let row = folded(&events);
    assert_eq!(row.status(), Status::Compensated);
    assert_eq!(row.reason, Some(Reason::ALREADY_REGISTERED));
    events.push(events[1].clone());
    let count = events.len();
    orders(&mut events, count, &mut |order| {
        assert_eq!(folded(order), row);
    });
}

#[test]
fn an_undos_reply_repeated_with_another_cause_is_the_same_message() {
    let story = Story::begins().purchased().failed().deleted();
    let deleted = story.events[3].clone();
    let mut again = deleted.clone();
    again.causation_id = Some(story.events[0].id);
    let (one, other) = (folded([&deleted, &again]), folded([&again, &deleted]));
    assert_eq!(one, other);
    assert_eq!(one.timeline.entries().len(), 1);
}

#[test]
fn a_running_saga_waits_for_the_step_that_has_not_answered() {
    let row = folded(&Story::begins().purchased().events);
    let Progress::Waiting { step, since } = row.progress() else {
        panic!("{row:?}")
    };
    assert_eq!(
        (step.queue().as_str(), since),
        ("regist-worker.TicketPurchased", at(1))
    );
}

#[test]
fn a_timeline_survives_its_text_and_the_text_is_short() {
    let story = Story::begins().purchased().completed(RegistId::mint());
    let row = folded(&story.events);
    let text = row.timeline.to_text(row.saga_id);
    assert_eq!(
        Timeline::from_text(row.saga_id, &text).unwrap(),
        row.timeline
    );
    assert_eq!(
        text,
        r#"[["PurchaseAndRegister","api-gateway",0],["TicketPurchased","ticket-worker",1000000,0],["RegistrationCompleted","regist-worker",2000000,1]]"#
    );
}

#[test]
fn foreign_ids_causes_and_sources_survive_as_well() {
    let mut event = Story::begins().events.remove(0);
    event.id = events::EventId(SagaId::mint().0);
    event.source = "some\u{0}one \"else\"".into();
    let mut other = Story::begins().purchased().events.remove(1);
    other.saga_id = event.saga_id;
    let row = folded([&event, &other]);
    let text = row.timeline.to_text(row.saga_id);
    assert!(!text.contains('\0'));
    assert_eq!(
        Timeline::from_text(row.saga_id, &text).unwrap(),
        row.timeline
    );
}

#[test]
fn a_flood_of_messages_does_not_grow_a_row_without_end() {
    let mut event = Story::begins().events.remove(0);
    let start = event.time;
    let mut row = None;
    for second in 0..1_000 {
        event.id = events::EventId(SagaId::mint().0);
        event.time = start + std::time::Duration::from_secs(second);
        row = Some(fold(row, &event));
    }
    let row = row.unwrap();
    assert_eq!(row.timeline.entries().len(), 64);
    assert_eq!(row.started_at(), Some(start));
}

#[test]
fn a_text_of_another_build_is_an_error_and_not_a_guess() {
    let saga = SagaId::mint();
    for wrong in [
        "",
        "{}",
        r#"[["CouponIssued","x",1]]"#,
        r#"[["TicketPurchased","x",1,7]]"#,
    ] {
        assert!(Timeline::from_text(saga, wrong).is_err(), "{wrong}");
    }
    assert_eq!(MessageType::from_name("CouponIssued"), None);
}
