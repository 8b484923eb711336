//! Every message as it travels (here with sorted keys, a line each). A golden file is a promise:
//! blessing (`BLESS=1 cargo test -p events`) adds to it and never changes what it says, and the files
//! of versions that are only read are never written (`docs/contract.md`).

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;

use events::{
    Event, EventId, Message, MessageType, PurchaseAndRegister, Reason, SagaId, TicketId, Timestamp,
    UserId, UserTicketId,
};
use serde_json::Value;

fn uuid(last: u8) -> uuid::Uuid {
    let mut bytes = *b"\x01\x93\x4f\x00\x00\x00\x70\x00\x80\x00\x00\x00\x00\x00\x00\x00";
    bytes[15] = last;
    uuid::Uuid::from_bytes(bytes)
}

/// Every field that any message has.
const DATA: &str = r#"{
    "userId": 7, "ticketId": 18446744073709551615,
    "userTicketId": "01934f00-0000-7000-8000-000000000002",
    "registId": "01934f00-0000-7000-8000-000000000003",
    "from": "01934f00-0000-7000-8000-000000000004",
    "cancelled": "01934f00-0000-7000-8000-000000000003",
    "heldBy": "01934f00-0000-7000-8000-000000000005",
    "freed": {
        "ticket": "01934f00-0000-7000-8000-000000000004",
        "heldBy": "01934f00-0000-7000-8000-000000000005"
    },
    "createdAt": "2026-11-22T20:15:13.123456Z", "changedAt": "2026-11-22T20:15:14Z",
    "reason": "already_registered", "cause": "already_registered"
}"#;

fn sample(message_type: MessageType) -> Message {
    let late = DATA.replacen("already_registered", Reason::DEADLINE_EXCEEDED.as_str(), 1);
    let data = match message_type {
        MessageType::PurchaseRejected => &late,
        _ => DATA,
    };
    Message::decode(message_type.wire_type(), data).unwrap()
}

fn sample_event(message_type: MessageType) -> Event {
    let saga_id = SagaId(uuid(1));
    let starts = message_type == MessageType::PurchaseAndRegister;
    let cause = Event::id_of(saga_id, MessageType::PurchaseAndRegister);
    Event {
        id: Event::id_of(saga_id, message_type),
        source: if starts {
            "api-gateway"
        } else {
            "ticket-worker"
        }
        .into(),
        time: Timestamp::from_micros(1_795_374_913_123_456),
        saga_id,
        causation_id: (!starts).then_some(cause),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        reply_to: Some("gateway-1".into()),
        deadline: Some(Timestamp::from_micros(1_795_374_973_123_456)),
        message: sample(message_type),
    }
}

fn pretty(json: &[u8]) -> String {
    let value: Value = serde_json::from_slice(json).unwrap();
    serde_json::to_string_pretty(&value).unwrap() + "\n"
}

fn golden(message_type: MessageType) -> PathBuf {
    golden_of(message_type.wire_type())
}

fn golden_of(wire_type: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{wire_type}.json"))
}

/// Whether a reader of `known` finds everything in `written`, as it was. A new file has no reader.
fn only_adds(known: &str, written: &str) -> bool {
    fn has(written: &Value, known: &Value) -> bool {
        match (written, known) {
            (Value::Object(written), Value::Object(known)) => known
                .iter()
                .all(|(key, value)| written.get(key).is_some_and(|written| has(written, value))),
            (written, known) => written == known,
        }
    }
    let parsed = |text| serde_json::from_str(text).unwrap();
    known.is_empty() || has(&parsed(written), &parsed(known))
}

/// What the golden file of this message says.
fn known(message_type: MessageType) -> String {
    std::fs::read_to_string(golden(message_type)).unwrap_or_else(|error| {
        panic!("{message_type} has no golden file ({error}): BLESS=1 cargo test -p events")
    })
}

#[test]
fn every_message_is_written_as_its_golden_file_says() {
    for &message_type in MessageType::ALL {
        let written = pretty(&sample_event(message_type).to_json());
        let before = std::fs::read_to_string(golden(message_type)).unwrap_or_default();
        if std::env::var_os("BLESS").is_some() && before != written {
            assert!(
                only_adds(&before, &written),
                "{message_type} would be written so that old readers break, and BLESS does not \
                 help: see docs/contract.md\n{written}"
            );
            std::fs::write(golden(message_type), &written).unwrap();
        }
        assert_eq!(written, known(message_type), "{message_type}");
    }
}

#[test]
fn every_golden_file_is_read_as_the_event_it_was() {
    for &message_type in MessageType::ALL {
        let json = known(message_type);
        let event = Event::from_json(json.as_bytes()).unwrap();
        assert_eq!(event, sample_event(message_type));
    }
}

#[test]
fn blessing_adds_to_a_golden_file_and_changes_nothing_in_it() {
    let known = r#"{"data": {"userId": 7}}"#;
    assert!(only_adds("", known), "a new message");
    assert!(only_adds(
        known,
        r#"{"data": {"userId": 7, "seat": 1}, "x": 1}"#
    ));
    assert!(!only_adds(known, r#"{"data": {"userId": "7"}}"#));
    assert!(!only_adds(known, r#"{"data": {"visitorId": 7}}"#));
}

/// The golden file of a version that is only read, as the event it is read as.
#[test]
fn a_purchase_of_version_0_is_read_as_todays_and_passed_on_as_todays() {
    let json = std::fs::read(golden_of("PurchaseAndRegister.v0")).unwrap();
    let event = Event::from_json(&json).unwrap();
    let expected = Event {
        message: Message::from(PurchaseAndRegister {
            user_id: UserId(7),
            ticket_id: TicketId(9),
            user_ticket_id: UserTicketId(uuid::uuid!("00000000-0000-0000-161f-177006a61000")),
        }),
        ..sample_event(MessageType::PurchaseAndRegister)
    };
    assert_eq!(event, expected);
    let passed_on = String::from_utf8(event.to_json()).unwrap();
    assert!(
        passed_on.contains(r#""type":"PurchaseAndRegister.v1""#),
        "{passed_on}"
    );
}

#[test]
fn every_version_that_is_only_read_has_a_golden_file_of_that_message() {
    for &message_type in MessageType::ALL {
        for wire_type in message_type.wire_types() {
            let json = std::fs::read(golden_of(wire_type)).unwrap();
            let event = Event::from_json(&json).unwrap();
            assert_eq!(event.message_type(), message_type, "{wire_type}");
            assert_eq!(event.id, Event::id_of(event.saga_id, message_type));
        }
    }
}

fn edited(edit: impl FnOnce(&mut Value)) -> Result<Event, String> {
    let json = std::fs::read(golden(MessageType::TicketPurchased)).unwrap();
    let mut value: Value = serde_json::from_slice(&json).unwrap();
    edit(&mut value);
    Event::from_json(value.to_string().as_bytes()).map_err(|error| {
        let cause = std::error::Error::source(&error)
            .map(|c| format!(": {c}"))
            .unwrap_or_default();
        format!("{error}{cause}")
    })
}

fn remove(value: &mut Value, key: &str) {
    value.as_object_mut().unwrap().remove(key).unwrap();
}

#[test]
fn unknown_attributes_and_unknown_data_fields_pass() {
    let event = edited(|v| {
        v["partitionkey"] = "x".into();
        v["data"]["seat"] = serde_json::json!({"row": 4});
    });
    assert_eq!(event.unwrap(), sample_event(MessageType::TicketPurchased));
}

#[test]
fn an_unknown_reason_passes() {
    let data = r#"{"userTicketId":"01934f00-0000-7000-8000-000000000002","cause":"sold_out"}"#;
    let Message::TicketDeleted(deleted) =
        Message::decode(MessageType::TicketDeleted.wire_type(), data).unwrap()
    else {
        panic!("another message")
    };
    assert_eq!(deleted.cause, Reason::from("sold_out".to_owned()));
}

#[test]
fn a_missing_or_wrong_field_is_named() {
    let missing = edited(|v| remove(&mut v["data"], "userId")).unwrap_err();
    assert!(missing.contains("missing field `userId`"), "{missing}");
    let wrong = edited(|v| v["data"]["userTicketId"] = 5.into()).unwrap_err();
    assert!(wrong.contains("field `userTicketId`"), "{wrong}");
    let negative = edited(|v| v["data"]["ticketId"] = (-1).into()).unwrap_err();
    assert!(negative.contains("field `ticketId`"), "{negative}");
    let envelope = edited(|v| remove(v, "sagaid")).unwrap_err();
    assert!(envelope.contains("missing field `sagaid`"), "{envelope}");
}

#[test]
fn another_version_is_told_from_an_unknown_message() {
    let version = edited(|v| v["type"] = "TicketPurchased.v2".into()).unwrap_err();
    assert!(
        version.contains("version \"TicketPurchased.v2\" is not supported"),
        "{version}"
    );
    let command = edited(|v| v["type"] = "PurchaseAndRegister.v2".into()).unwrap_err();
    let reads = r#"this build reads ["PurchaseAndRegister.v1", "PurchaseAndRegister.v0"]"#;
    assert!(command.contains(reads), "{command}");
    let unknown = edited(|v| v["type"] = "CouponIssued.v1".into()).unwrap_err();
    assert!(
        unknown.contains("\"CouponIssued.v1\" is unknown"),
        "{unknown}"
    );
    let spec = edited(|v| v["specversion"] = "0.3".into()).unwrap_err();
    assert!(spec.contains("\"0.3\""), "{spec}");
}

#[test]
fn a_message_keeps_its_id_however_often_it_is_published() {
    let saga = SagaId(uuid(1));
    let id = Event::id_of(saga, MessageType::TicketPurchased);
    assert_eq!(id, Event::id_of(saga, MessageType::TicketPurchased));
    assert_ne!(id, Event::id_of(saga, MessageType::TicketDeleted));
    assert_ne!(id, EventId(saga.0));
}
