use std::sync::Arc;
use std::time::Duration;

use events::{Message, PurchaseAndRegister, UserId, UserTicketId};
use futures_util::FutureExt;
use tokio::time::{Instant, advance};

use super::super::returns::Returns;
use super::*;

fn event() -> Event {
    let saga_id = SagaId::mint();
    let message = Message::from(PurchaseAndRegister {
        user_id: UserId(1),
        ticket_id: events::TicketId(2),
        user_ticket_id: UserTicketId::mint(),
    });
    Event {
        id: Event::id_of(saga_id, message.message_type()),
        source: "api-gateway".into(),
        time: Timestamp::now(),
        saga_id,
        causation_id: None,
        traceparent: None,
        reply_to: None,
        deadline: None,
        message,
    }
}

/// A command that does not go where the others go.
fn of_another_route() -> Parcel {
    let mut parcel = Parcel::of(&event());
    parcel.address = Address::Route(Route {
        class: Class::Command,
        key: "AddTicket".into(),
    });
    parcel
}

/// Room for all that may leave.
const ROOM: usize = usize::MAX;

fn packs(backlog: &mut Backlog, packing: &Packing) -> Vec<Pack> {
    backlog.leave(ROOM, packing)
}

/// How many events are in each message that leaves now, before the entrance opens and after it.
fn leaving(room: usize, backlog: &mut Backlog, packing: &Packing) -> Vec<usize> {
    let mut packs = backlog.leave(room, packing);
    if let Some(()) = backlog.opening().now_or_never() {
        backlog.open_entrance();
        packs.extend(backlog.leave(room - packs.len(), packing));
    }
    let events = |pack: Pack| pack.calls.iter().map(|(_, events)| events).sum();
    packs.into_iter().map(events).collect()
}

fn filled(events: &[Event]) -> Backlog {
    let mut backlog = Backlog::default();
    fill(&mut backlog, events);
    backlog
}

fn fill(backlog: &mut Backlog, events: &[Event]) {
    for event in events {
        backlog.push(1, Parcel::of(event));
    }
}

#[test]
fn a_lone_event_travels_as_it_is() {
    let event = event();
    let packs = packs(
        &mut filled(std::slice::from_ref(&event)),
        &Packing::default(),
    );
    assert_eq!(packs.len(), 1);
    assert_eq!(packs[0].body, event.to_json());
    let content_type = packs[0].properties.content_type().as_ref().unwrap();
    assert_eq!(content_type.as_str(), EVENT_CONTENT_TYPE);
    assert!(packs[0].properties.headers().is_none());
}

#[test]
fn what_waits_for_the_same_address_is_one_message_and_comes_apart_again() {
    let events: Vec<_> = (0..5).map(|_| event()).collect();
    let packs = packs(&mut filled(&events), &Packing::default());
    assert_eq!(packs.len(), 1);
    let content_type = packs[0].properties.content_type().as_ref().unwrap();
    assert_eq!(content_type.as_str(), BATCH_CONTENT_TYPE);
    let headers = packs[0].properties.headers().as_ref().unwrap();
    let count = headers.inner().get(EVENTS_HEADER);
    assert_eq!(count, Some(&AMQPValue::LongInt(5)));
    let decoded: Vec<_> = decode(&packs[0].body)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(decoded, events);
}

#[test]
fn a_message_is_bounded_by_events_and_by_bytes() {
    let events: Vec<_> = (0..5).map(|_| event()).collect();
    let sizes = |packing: Packing| -> Vec<usize> {
        let packs = packs(&mut filled(&events), &packing);
        packs.iter().map(|pack| pack.calls[0].1).collect()
    };
    assert_eq!(sizes(Packing::of(2)), [2, 2, 1]);
    assert_eq!(sizes(Packing::of(1)), [1; 5]);
    let two_events = Packing {
        max_message_bytes: 2 * events[0].to_json().len() + 50,
        ..Packing::default()
    };
    assert_eq!(sizes(two_events), [2, 2, 1]);
    let less_than_one = Packing {
        max_message_bytes: 10,
        ..Packing::default()
    };
    assert_eq!(sizes(less_than_one), [1; 5]);
}

#[test]
fn routes_take_turns_and_a_copy_travels_alone() {
    let mut backlog = filled(&[event(), event(), event()]);
    let mut for_a_gateway = Parcel::of(&event());
    for_a_gateway.address = Address::Route(Route {
        class: Class::Event,
        key: "TicketDeleted.g1".into(),
    });
    backlog.push(2, for_a_gateway);
    let mut copy = Parcel::of(&event());
    copy.address = Address::Queue {
        exchange: "saga.retry.1s".into(),
        key: "q".into(),
    };
    backlog.push(3, copy);
    let packs = packs(&mut backlog, &Packing::of(2));
    let order: Vec<_> = packs.iter().map(|pack| pack.calls.clone()).collect();
    let expected = [[(3, 1)], [(1, 2)], [(2, 1)], [(1, 1)]];
    assert_eq!(order, expected);
    assert!(backlog.is_empty());
}

#[tokio::test(start_paused = true)]
async fn commands_wait_for_the_entrance_to_open_and_results_and_full_messages_do_not() {
    let packing = Packing::of(3);
    let sent = |backlog: &mut Backlog| leaving(ROOM, backlog, &packing);
    let mut backlog = filled(&[event(), event()]);
    assert_eq!(sent(&mut backlog), [2]);
    backlog.push(1, Parcel::of(&event()));
    assert!(sent(&mut backlog).is_empty());
    let mut result = Parcel::of(&event());
    result.address = Address::Route(Route {
        class: Class::Event,
        key: "TicketPurchased".into(),
    });
    backlog.push(2, result);
    assert_eq!(sent(&mut backlog), [1]);
    backlog.push(1, Parcel::of(&event()));
    assert!(sent(&mut backlog).is_empty());
    backlog.push(1, Parcel::of(&event()));
    assert_eq!(sent(&mut backlog), [3]);
    assert!(backlog.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_full_by_its_bytes_does_not_wait_for_the_entrance_either() {
    let packing = Packing {
        max_message_bytes: 2 * event().to_json().len() + 50,
        ..Packing::default()
    };
    let mut backlog = filled(&[event(), event()]);
    assert_eq!(leaving(ROOM, &mut backlog, &packing), [2]);
    fill(&mut backlog, &[event(), event()]);
    assert!(leaving(ROOM, &mut backlog, &packing).is_empty());
    fill(&mut backlog, &[event()]);
    assert_eq!(
        leaving(ROOM, &mut backlog, &packing),
        [2],
        "one did not fit"
    );
    let mut large = Parcel::of(&event());
    large.json.resize(packing.max_message_bytes, b' ');
    let mut backlog = filled(&[event(), event()]);
    assert_eq!(leaving(ROOM, &mut backlog, &packing), [2]);
    backlog.push(1, large);
    assert_eq!(leaving(ROOM, &mut backlog, &packing), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_group_on_one_route_closes_the_entrance_to_every_other_and_one_opening_lets_all_leave() {
    let (packing, returns) = (Packing::default(), Arc::new(Returns::default()));
    let mut backlog = Backlog::new(&returns);
    let crowd = [(); 8].map(|()| event());
    fill(&mut backlog, &crowd);
    assert_eq!(leaving(ROOM, &mut backlog, &packing), [8]);
    backlog.push(9, of_another_route());
    backlog.push(9, of_another_route());
    assert!(leaving(ROOM, &mut backlog, &packing).is_empty());
    // Six come again, and the two of the other route are the rest of the eight.
    returns.ended(crowd.iter().map(|event| event.saga_id));
    fill(&mut backlog, &[(); 6].map(|()| event()));
    assert_eq!(leaving(ROOM, &mut backlog, &packing), [2, 6]);
}

/// How long the entrance is closed if a full message of ten leaves, then some wait, and five
/// milliseconds later so many of the first route come, ten of them as another full message.
async fn closed_for(wait: Vec<Parcel>, come: usize) -> Duration {
    let packing = Packing::of(10);
    let mut backlog = filled(&[(); 10].map(|()| event()));
    let closed = Instant::now();
    assert_eq!(leaving(ROOM, &mut backlog, &packing), [10]);
    wait.into_iter().for_each(|parcel| backlog.push(9, parcel));
    advance(Duration::from_millis(5)).await;
    for _ in 0..come {
        backlog.push(1, Parcel::of(&event()));
    }
    assert_eq!(leaving(ROOM, &mut backlog, &packing), [10]);
    backlog.opening().await;
    closed.elapsed()
}

#[tokio::test(start_paused = true)]
async fn full_messages_of_one_route_do_not_keep_the_entrance_closed_to_another() {
    let closed = closed_for(vec![of_another_route()], 10).await;
    assert_eq!(closed, Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn full_messages_keep_the_entrance_closed_to_the_rest_of_their_own_route() {
    let closed = closed_for(Vec::new(), 13).await;
    assert_eq!(closed, Duration::from_millis(15));
}

#[tokio::test(start_paused = true)]
async fn a_group_for_which_there_is_no_room_at_once_leaves_whole_and_closes_behind_all_of_it() {
    let packing = Packing::of(4);
    let mut backlog = filled(&[(); 9].map(|()| event()));
    assert_eq!(leaving(2, &mut backlog, &packing), [4, 4]);
    assert_eq!(leaving(2, &mut backlog, &packing), [1]);
    let closed = Instant::now();
    backlog.opening().await;
    assert_eq!(closed.elapsed(), Duration::from_millis(9));
}

#[test]
fn a_message_knows_how_many_events_of_each_call_it_holds() {
    let mut backlog = Backlog::default();
    for call in [7, 7, 8, 9, 9] {
        backlog.push(call, Parcel::of(&event()));
    }
    let packs = packs(&mut backlog, &Packing::default());
    assert_eq!(packs[0].calls, [(7, 2), (8, 1), (9, 2)]);
}

#[test]
fn a_bad_event_of_a_pack_keeps_its_letters_and_harms_no_neighbour() {
    let good = event();
    let bad = br#"{"specversion" :"9.9", "n": 1.50}"#;
    let body = [b"[", good.to_json().as_slice(), b", ", bad, b"]"].concat();
    assert_eq!(take_apart(&body)[1], bad);
    let decoded = decode(&body);
    assert_eq!(decoded[0].as_ref().unwrap(), &good);
    decoded[1].as_ref().unwrap_err();
}

#[test]
fn an_event_of_another_build_in_a_pack_harms_no_neighbour() {
    let (good, newer) = (event(), event());
    let newer = String::from_utf8(newer.to_json()).unwrap();
    let newer = newer.replace(MessageType::PurchaseAndRegister.wire_type(), "Later.v9");
    let body = [b"[", newer.as_bytes(), b",", &good.to_json(), b"]"].concat();
    let decoded = decode(&body);
    assert!(decoded[0].as_ref().unwrap_err().is_of_another_build());
    assert_eq!(decoded[1].as_ref().unwrap(), &good);
}

#[test]
fn a_pack_with_bytes_that_are_no_text_is_one_event_that_will_not_decode() {
    let good = event().to_json();
    let odd = [&good[..good.len() - 1], b",\"odd\":\"\xff\"}"].concat();
    let body = [b"[", good.as_slice(), b",", &odd, b"]"].concat();
    assert_eq!(take_apart(&body), [body.as_slice()]);
    let decoded = decode(&body);
    assert!(decoded.len() == 1 && decoded[0].is_err());
}

#[test]
fn what_is_no_json_is_one_event_that_will_not_decode() {
    for body in [&b"hello"[..], b"[1, 2", b"", b"\xff\xfe"] {
        assert_eq!(take_apart(body), [body]);
        assert!(decode(body)[0].is_err());
    }
    assert!(take_apart(b"[]").is_empty());
}
