//! Every message as it travels (here with sorted keys, a line each). A change of a golden file is a
//! change of the contract: bless it (`BLESS=1 cargo test -p events`) only together with a plan for
//! old readers.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;

use events::{Event, EventId, Message, MessageType, Reason, SagaId, Timestamp};

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
    Message::decode(message_type, data).unwrap()
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
    let value: serde_json::Value = serde_json::from_slice(json).unwrap();
    serde_json::to_string_pretty(&value).unwrap() + "\n"
}

fn golden(message_type: MessageType) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("tests/golden/{}.json", message_type.wire_type()))
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
        let file = std::fs::read_to_string(golden(message_type));
        if std::env::var_os("BLESS").is_some() && file.ok().as_ref() != Some(&written) {
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

fn edited(edit: impl FnOnce(&mut serde_json::Value)) -> Result<Event, String> {
    let json = std::fs::read(golden(MessageType::TicketPurchased)).unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(&json).unwrap();
    edit(&mut value);
    Event::from_json(value.to_string().as_bytes()).map_err(|error| {
        let cause = std::error::Error::source(&error)
            .map(|c| format!(": {c}"))
            .unwrap_or_default();
        format!("{error}{cause}")
    })
}

fn remove(value: &mut serde_json::Value, key: &str) {
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
        Message::decode(MessageType::TicketDeleted, data).unwrap()
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
