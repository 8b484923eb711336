//! A message of a dead-letter queue, read, and as it goes back to its work queue. Pure.

use events::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::copy::{
    FAILURE, FIRST_FAILURE, LAST_FAILURE, ORIGINAL_EXCHANGE, ORIGINAL_ROUTING_KEY, REQUEUED,
    attempts, header, integer, properties,
};
use super::pack::EVENTS_HEADER;
use crate::dead_letters::Parked;

/// The broker's own word for why it parked a message, and where that was published to.
const DEATH_REASON: &str = "x-first-death-reason";
const DEATH_EXCHANGE: &str = "x-first-death-exchange";

/// What a message that is put back keeps of its headers. Its attempts it does not keep, so that it
/// has all its retries again; nor what brokers count, which is theirs to set.
const KEPT: [&str; 4] = [
    FIRST_FAILURE,
    ORIGINAL_EXCHANGE,
    ORIGINAL_ROUTING_KEY,
    EVENTS_HEADER,
];

/// What lies in the dead-letter queue of the work queue.
pub(super) fn read(delivery: &Delivery, queue: &str) -> Parked {
    let properties = &delivery.properties;
    let message_id = properties.message_id().as_ref().map(ShortString::to_string);
    let text = |name: &str| match header(properties, name) {
        Some(AMQPValue::LongString(text)) => Some(text.to_string()),
        _ => None,
    };
    let at = |name: &str| text(name)?.parse::<Timestamp>().ok();
    let parked_by_the_broker = || {
        let reason = text(DEATH_REASON).unwrap_or_else(|| "without a reason".to_owned());
        format!("parked by the broker: {reason}")
    };
    Parked {
        id: message_id.unwrap_or_else(|| Parked::id_of(&delivery.data)),
        queue: queue.to_owned(),
        body: delivery.data.clone(),
        failure: text(FAILURE).unwrap_or_else(parked_by_the_broker),
        attempts: attempts(properties),
        requeued: requeued(properties),
        first_failed_at: at(FIRST_FAILURE),
        last_failed_at: at(LAST_FAILURE),
        exchange: text(ORIGINAL_EXCHANGE).or_else(|| text(DEATH_EXCHANGE)),
        routing_key: text(ORIGINAL_ROUTING_KEY),
    }
}

/// The properties of the copy that goes back.
pub(super) fn put_back(delivery: &Delivery) -> BasicProperties {
    let parked = &delivery.properties;
    let mut headers = FieldTable::default();
    for name in KEPT {
        if let Some(value) = header(parked, name) {
            headers.insert(name.into(), value.clone());
        }
    }
    if let (None, Some(exchange)) = (
        header(parked, ORIGINAL_EXCHANGE),
        header(parked, DEATH_EXCHANGE),
    ) {
        headers.insert(ORIGINAL_EXCHANGE.into(), exchange.clone());
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

fn requeued(properties: &BasicProperties) -> u32 {
    let count = header(properties, REQUEUED).and_then(integer);
    count
        .and_then(|count| u32::try_from(count).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::copy::text;
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

    #[test]
    fn what_goes_back_has_all_its_retries_again_and_tells_how_often_it_went_back() {
        let mut delivery = parked(&[
            ("x-saga-attempts", AMQPValue::LongInt(4)),
            ("x-delivery-count", AMQPValue::LongLongInt(9)),
            (FIRST_FAILURE, text("2026-11-23T00:00:00Z")),
            (ORIGINAL_EXCHANGE, text("saga.commands")),
        ]);
        let id = read(&delivery, "q").id;
        for count in 1..=3 {
            delivery.properties = put_back(&delivery);
            let back = read(&delivery, "q");
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
        let read = read(&delivery, "q");
        assert_eq!(read.failure, "parked by the broker: delivery_limit");
        assert_eq!(read.exchange.as_deref(), Some("saga.events"));
    }
}
