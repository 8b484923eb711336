//! The format: what is written is read again, and what cannot be read is named.

use event_replay::recording::{Ending, Header, Reader, Writer};
use events::choreography::{API_GATEWAY, PURCHASE_AND_REGISTER};
use events::{Event, PurchaseAndRegister, SagaId, TicketId, Timestamp, UserId, UserTicketId};
use saga::bus::JournalPosition;
use saga::failure::chain;
use uuid::Uuid;

fn command(saga: u128) -> Event {
    let saga_id = SagaId(Uuid::from_u128(saga));
    Event {
        id: Event::id_of(saga_id, PURCHASE_AND_REGISTER.start),
        source: API_GATEWAY.0.into(),
        time: Timestamp::EPOCH,
        saga_id,
        causation_id: None,
        traceparent: None,
        reply_to: Some("gateway-1".into()),
        deadline: Some(Timestamp::LAST),
        message: PurchaseAndRegister {
            user_id: UserId(u64::MAX),
            ticket_id: TicketId(9),
            user_ticket_id: UserTicketId(Uuid::from_u128(saga + 1)),
        }
        .into(),
    }
}

/// Two sagas, one of them twice.
fn recorded() -> String {
    let mut writer = Writer::new(Vec::new(), &Header::of("a test")).expect("memory");
    for (position, saga) in [(7, 1), (8, 3), (11, 1)] {
        let position = JournalPosition(position);
        writer.message(position, &command(saga)).expect("memory");
    }
    let (bytes, counts) = writer.finish().expect("memory");
    assert_eq!((counts.messages, counts.sagas), (3, 2));
    String::from_utf8(bytes).expect("JSON is text")
}

/// What can be read of it, and the error that ends it.
fn read(text: &str) -> (Vec<Event>, Result<Ending, String>) {
    let mut events = Vec::new();
    let mut reader = match Reader::new(text.as_bytes()) {
        Ok(reader) => reader,
        Err(error) => return (events, Err(chain(&error))),
    };
    for entry in &mut reader {
        match entry {
            Ok(entry) => events.push(entry.event),
            Err(error) => return (events, Err(chain(&error))),
        }
    }
    (events, Ok(reader.into_ending()))
}

#[test]
fn what_is_written_is_read_again_with_position_line_and_offset() {
    let text = recorded();
    let mut reader = Reader::new(text.as_bytes()).unwrap();
    assert_eq!(reader.header().source, "a test");
    let entries: Vec<_> = (&mut reader).map(Result::unwrap).collect();
    let places: Vec<_> = entries.iter().map(|e| (e.position.0, e.line)).collect();
    assert_eq!(places, [(7, 2), (8, 3), (11, 4)]);
    assert_eq!(entries[1].event, command(3));
    for entry in &entries {
        let line = text[usize::try_from(entry.offset).unwrap()..]
            .lines()
            .next();
        let event = event_replay::recording::decode_line(line.unwrap().as_bytes());
        assert_eq!(event.unwrap(), entry.event, "found again by its offset");
    }
    assert!(matches!(reader.into_ending(), Ending::Whole(counts) if counts.sagas == 2));
}

#[test]
fn a_person_finds_one_message_a_line() {
    let text = recorded();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5);
    assert!(lines[0].starts_with(r#"{"recording":1,"source":"a test","recordedAt":""#));
    assert!(lines[1].starts_with(r#"{"position":7,"event":{"specversion":"1.0","id":""#));
    let end = r#"{"end":{"messages":3,"sagas":2,"types":{"PurchaseAndRegister":3}}}"#;
    assert_eq!(lines[4], end);
}

#[test]
fn a_last_line_that_is_cut_ends_the_recording_and_is_named() {
    let text = recorded();
    let third = text.match_indices('\n').nth(2).unwrap().0 + 1;
    for cut in [third + 1, third + 30, third + 200, third + 300] {
        let (events, ending) = read(&text[..cut]);
        assert_eq!(events.len(), 2, "what is before the cut can be used");
        let Ok(Ending::Cut { line, problem }) = ending else {
            panic!("{ending:?}");
        };
        assert_eq!(line, 4);
        assert!(chain(&problem).contains("EOF"), "{}", chain(&problem));
    }
    let (events, ending) = read(&text[..third]);
    assert!(events.len() == 2 && matches!(ending, Ok(Ending::Open)));
}

#[test]
fn a_wrong_line_is_named_with_its_field() {
    let text = recorded();
    for (from, to, named) in [
        (r#""position":8"#, r#""position":"8""#, "position"),
        (r#""position":8,"#, "", "`position`"),
        (r#""event":{"#, r#""Event":{"#, "`event`"),
        (
            r#""userId":18446744073709551615"#,
            r#""userId":-1"#,
            "`userId`",
        ),
        (r#""time":"1970"#, r#""time":"MCMLXX"#, "`time`"),
        (r#""sagaid":"#, r#""sagaId":"#, "`sagaid`"),
        ("PurchaseAndRegister.v1", "PurchaseAndRegister.v9", "v9"),
        ("PurchaseAndRegister.v1", "Purchase.v1", "Purchase.v1"),
    ] {
        let second = text.match_indices('\n').nth(1).unwrap().0 + 1;
        let (before, after) = text.split_at(second);
        let (events, end) = read(&format!("{before}{}", after.replacen(from, to, 1)));
        let error = end.unwrap_err();
        assert_eq!(events.len(), 1, "{from}");
        assert!(error.starts_with("line 3: "), "{from}: {error}");
        assert!(error.contains(named), "{from}: {error}");
    }
}

#[test]
fn what_is_no_recording_is_told_from_one_of_a_newer_build() {
    for (text, said) in [
        ("", "no header"),
        ("{}\n", "no header"),
        ("{\"position\":1}\n", "no header"),
        (
            "{\"recording\":2,\"new\":1}\n",
            "format 2, and this build reads 1",
        ),
    ] {
        let error = chain(&Reader::new(text.as_bytes()).map(drop).unwrap_err());
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn the_last_line_must_agree_and_be_the_last() {
    let text = recorded();
    let less = text.replace(r#""messages":3"#, r#""messages":2"#);
    assert!(
        read(&less)
            .1
            .unwrap_err()
            .contains("line 5 says that there are 2")
    );
    let line = text.lines().nth(1).unwrap();
    let more = format!("{text}{line}\n");
    let (_, end) = read(&more);
    assert!(
        end.unwrap_err()
            .contains("line 6 comes after the line that ends")
    );
}
