//! A message that waits for an operator, read, and as it goes back. Pure.

use events::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::copy::{
    FAILURE, FIRST_FAILURE, LAST_FAILURE, ORIGINAL_EXCHANGE, ORIGINAL_ROUTING_KEY, REQUEUED,
    attempts, header, integer, properties, text,
};
use super::pack::EVENTS_HEADER;
use super::shelf::{Shelf, address};
use crate::dead_letters::Parked;

/// The broker's own word for why it parked a message, and where that was published to.
const DEATH_REASON: &str = "x-first-death-reason";
const DEATH_EXCHANGE: &str = "x-first-death-exchange";

/// What a dead letter that is put back keeps of its headers. Its attempts it does not keep, so that
/// it has all its retries again; nor what brokers count, which is theirs to set.
const KEPT: [&str; 4] = [
    FIRST_FAILURE,
    ORIGINAL_EXCHANGE,
    ORIGINAL_ROUTING_KEY,
    EVENTS_HEADER,
];
/// What an unrouted message keeps: it may be a copy on its way to a retry tier or a dead-letter
/// queue, with a story to tell there.
const KEPT_UNROUTED: [&str; 3] = ["x-saga-", "x-first-death-", EVENTS_HEADER];

/// What lies on the shelf.
pub(super) fn read(delivery: &Delivery, shelf: &Shelf) -> Parked {
    let properties = &delivery.properties;
    let message_id = properties.message_id().as_ref().map(ShortString::to_string);
    let told = |name: &str| match header(properties, name) {
        Some(AMQPValue::LongString(text)) => Some(text.to_string()),
        _ => None,
    };
    let at = |name: &str| told(name)?.parse::<Timestamp>().ok();
    let parked_by_the_broker = || {
        let reason = told(DEATH_REASON).unwrap_or_else(|| "without a reason".to_owned());
        format!("parked by the broker: {reason}")
    };
    // Of a dead letter that is an address of ours, and says nothing.
    let published = |to: &str| matches!(shelf, Shelf::Unrouted { .. }).then(|| to.to_owned());
    let failure = match shelf {
        Shelf::DeadLetters { .. } => told(FAILURE).unwrap_or_else(parked_by_the_broker),
        Shelf::Unrouted { .. } => format!("no queue is bound for {}", address(delivery)),
    };
    Parked {
        id: message_id.unwrap_or_else(|| Parked::id_of(&delivery.data)),
        queue: shelf.name(),
        body: delivery.data.clone(),
        failure,
        attempts: attempts(properties),
        requeued: requeued(properties),
        first_failed_at: at(FIRST_FAILURE),
        last_failed_at: at(LAST_FAILURE),
        exchange: told(ORIGINAL_EXCHANGE)
            .or_else(|| told(DEATH_EXCHANGE))
            .or_else(|| published(delivery.exchange.as_str())),
        routing_key: told(ORIGINAL_ROUTING_KEY)
            .or_else(|| published(delivery.routing_key.as_str())),
    }
}

/// The properties of the copy that goes back.
pub(super) fn put_back(delivery: &Delivery, shelf: &Shelf) -> BasicProperties {
    let parked = &delivery.properties;
    let mut headers = FieldTable::default();
    for (name, value) in parked.headers().iter().flat_map(FieldTable::inner) {
        let kept = match shelf {
            Shelf::DeadLetters { .. } => KEPT.contains(&name.as_str()),
            Shelf::Unrouted { .. } => KEPT_UNROUTED.iter().any(|of| name.as_str().starts_with(of)),
        };
        if kept {
            headers.insert(name.clone(), value.clone());
        }
    }
    for (name, value) in origin(delivery, shelf) {
        if header(parked, name).is_none() {
            headers.insert(name.into(), value);
        }
    }
    let count = i32::try_from(requeued(parked).saturating_add(1)).unwrap_or(i32::MAX);
    headers.insert(REQUEUED.into(), AMQPValue::LongInt(count));
    let written = properties(delivery, &delivery.data);
    // One that the broker parked is known by the id it has, and comes back under the same.
    match parked.message_id() {
        Some(id) => written.with_message_id(id.clone()),
        None => written.with_message_id(Parked::id_of(&delivery.data).as_str().into()),
    }
    .with_headers(headers)
}

/// Where a message that does not say so was published to.
fn origin(delivery: &Delivery, shelf: &Shelf) -> Vec<(&'static str, AMQPValue)> {
    match shelf {
        Shelf::DeadLetters { .. } => {
            let exchange = header(&delivery.properties, DEATH_EXCHANGE).cloned();
            let exchange = exchange.map(|exchange| (ORIGINAL_EXCHANGE, exchange));
            exchange.into_iter().collect()
        }
        Shelf::Unrouted { .. } => vec![
            (ORIGINAL_EXCHANGE, text(delivery.exchange.as_str())),
            (ORIGINAL_ROUTING_KEY, text(delivery.routing_key.as_str())),
        ],
    }
}

fn requeued(properties: &BasicProperties) -> u32 {
    let count = header(properties, REQUEUED).and_then(integer);
    count
        .and_then(|count| u32::try_from(count).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::topology::Names;
    use super::*;

    fn parked(pairs: &[(&str, AMQPValue)]) -> Delivery {
        let mut headers = FieldTable::default();
        for (name, value) in pairs {
            headers.insert((*name).into(), value.clone());
        }
        let mut delivery =
            Delivery::mock(1, "saga.dlx".into(), "q".into(), false, b"no json".to_vec());
        delivery.properties = BasicProperties::default().with_headers(headers);
        delivery
    }

    fn shelf(name: &str) -> Shelf {
        Shelf::of(&Names::new(""), name)
    }

    #[test]
    fn what_goes_back_has_all_its_retries_again_and_tells_how_often_it_went_back() {
        let mut delivery = parked(&[
            ("x-saga-attempts", AMQPValue::LongInt(4)),
            ("x-delivery-count", AMQPValue::LongLongInt(9)),
            (FIRST_FAILURE, text("2026-11-23T00:00:00Z")),
            (ORIGINAL_EXCHANGE, text("saga.commands")),
        ]);
        let id = read(&delivery, &shelf("q")).id;
        for count in 1..=3 {
            delivery.properties = put_back(&delivery, &shelf("q"));
            let back = read(&delivery, &shelf("q"));
            assert_eq!((back.attempts, back.requeued), (0, count));
            assert_eq!(back.id, id, "known by the same id");
            assert_eq!(back.exchange.as_deref(), Some("saga.commands"));
            assert!(back.first_failed_at.is_some());
        }
        assert!(header(&delivery.properties, "x-delivery-count").is_none());
    }

    #[test]
    fn what_the_broker_parked_has_its_word_for_it() {
        let delivery = parked(&[
            (DEATH_REASON, text("delivery_limit")),
            (DEATH_EXCHANGE, text("saga.events")),
        ]);
        let read = read(&delivery, &shelf("q"));
        assert_eq!(read.failure, "parked by the broker: delivery_limit");
        assert_eq!(read.exchange.as_deref(), Some("saga.events"));
    }

    #[test]
    fn an_unrouted_copy_keeps_its_story_on_its_way_to_where_it_was_going() {
        let mut delivery = parked(&[
            (FAILURE, text("no seat")),
            ("x-saga-attempts", AMQPValue::LongInt(4)),
            ("x-delivery-count", AMQPValue::LongLongInt(2)),
            ("CC", text("elsewhere")),
        ]);
        let unrouted = shelf("saga.unrouted");
        let seen = read(&delivery, &unrouted);
        assert_eq!(seen.failure, "no queue is bound for saga.dlx with key q");
        assert_eq!(seen.routing_key.as_deref(), Some("q"));
        delivery.properties = put_back(&delivery, &unrouted);
        for gone in ["x-delivery-count", "CC"] {
            assert!(header(&delivery.properties, gone).is_none(), "{gone}");
        }
        let parked = read(&delivery, &shelf("q"));
        assert_eq!((&*parked.failure, parked.attempts), ("no seat", 4));
        assert_eq!(read(&delivery, &unrouted).requeued, 1);
    }
}
