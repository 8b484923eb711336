//! Copies of single events: to a retry tier, to a dead-letter queue, or, out of a pack that keeps
//! coming back, to the queue it came from. Pure.
//!
//! The JSON stays as it was published. What went wrong is told by flat headers, which the Management
//! UI shows; the first failure and the original address survive however many copies follow.

use events::{EVENT_CONTENT_TYPE, Event, Timestamp};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use uuid::Uuid;

use super::connection::shortened;
use super::pack::{Address, Label, PERSISTENT, Parcel, take_apart};

pub(super) const ATTEMPTS: &str = "x-saga-attempts";
pub(super) const FAILURE: &str = "x-saga-failure";
pub(super) const SERVICE: &str = "x-saga-service";
pub(super) const FIRST_FAILURE: &str = "x-saga-first-failure";
pub(super) const LAST_FAILURE: &str = "x-saga-last-failure";
pub(super) const ORIGINAL_EXCHANGE: &str = "x-saga-original-exchange";
pub(super) const ORIGINAL_ROUTING_KEY: &str = "x-saga-original-routing-key";
/// How often an operator put it back from a dead-letter queue; each time its attempts start afresh.
pub(super) const REQUEUED: &str = "x-saga-requeued";
/// Set by quorum queues: how often the message came back. From 4.3 on the first counts only what the
/// broker takes for failures, and the second counts all.
const COMEBACKS: [&str; 2] = ["x-delivery-count", "x-acquired-count"];

/// All headers of a message share one frame, so a failure with a long chain is cut.
const FAILURE_BYTES: usize = 4096;

/// What went wrong with an event.
pub(super) struct Failed<'a> {
    /// The message that brought it.
    pub(super) delivery: &'a Delivery,
    pub(super) json: &'a [u8],
    pub(super) service: &'static str,
    pub(super) failure: &'a str,
    pub(super) at: Timestamp,
}

impl Failed<'_> {
    /// The copy for a retry tier or a dead-letter queue.
    pub(super) fn copy_to(&self, address: Address) -> Parcel {
        let at = self.at.to_string();
        let delivery = self.delivery;
        let mut headers = FieldTable::default();
        let attempts = attempts(&delivery.properties).saturating_add(1);
        let attempts = i32::try_from(attempts).unwrap_or(i32::MAX);
        headers.insert(ATTEMPTS.into(), AMQPValue::LongInt(attempts));
        let failure = &self.failure[..self.failure.floor_char_boundary(FAILURE_BYTES)];
        for (name, value) in [
            (FAILURE, failure),
            (SERVICE, self.service),
            (LAST_FAILURE, at.as_str()),
        ] {
            headers.insert(name.into(), text(value));
        }
        for (name, value) in [
            (FIRST_FAILURE, at.as_str()),
            (ORIGINAL_EXCHANGE, delivery.exchange.as_str()),
            (ORIGINAL_ROUTING_KEY, delivery.routing_key.as_str()),
        ] {
            let earlier = header(&delivery.properties, name).cloned();
            headers.insert(name.into(), earlier.unwrap_or_else(|| text(value)));
        }
        if let Some(requeued) = header(&delivery.properties, REQUEUED) {
            headers.insert(REQUEUED.into(), requeued.clone());
        }
        let properties = properties(delivery, self.json).with_headers(headers);
        parcel(address, self.json, properties)
    }
}

/// Each event of a pack alone, for the queue itself.
pub(super) fn split(delivery: &Delivery, queue: &str) -> Vec<Parcel> {
    let events = take_apart(&delivery.data).into_iter();
    let alone = events.map(|json| {
        let address = Address::Queue {
            exchange: String::new(),
            key: queue.to_owned(),
        };
        parcel(address, json, properties(delivery, json))
    });
    alone.collect()
}

fn parcel(address: Address, json: &[u8], properties: BasicProperties) -> Parcel {
    Parcel {
        address,
        json: json.to_vec(),
        label: Label::Written(Box::new(properties)),
    }
}

/// The properties of an event that can be read; else those of the message it came alone in that only
/// describe it. With a foreign `user_id` the broker would close our channel at each try, and with its
/// `expiration` it would drop what is parked.
pub(super) fn properties(delivery: &Delivery, json: &[u8]) -> BasicProperties {
    if let Ok(event) = Event::from_json(json) {
        return Label::of(&event).into_properties();
    }
    let came_alone = delivery.data == json;
    let came_with = came_alone.then_some(&delivery.properties);
    let text = |property: fn(&BasicProperties) -> &Option<ShortString>| {
        came_with.and_then(|properties| property(properties).clone())
    };
    // A message that comes back as unroutable is known by its id.
    let minted = || shortened(&Uuid::now_v7().to_string());
    let content_type = text(BasicProperties::content_type);
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_message_id(text(BasicProperties::message_id).unwrap_or_else(minted))
        .with_content_type(content_type.unwrap_or_else(|| EVENT_CONTENT_TYPE.into()));
    if let Some(saga) = text(BasicProperties::correlation_id) {
        properties = properties.with_correlation_id(saga);
    }
    if let Some(message_type) = text(BasicProperties::kind) {
        properties = properties.with_type(message_type);
    }
    if let Some(source) = text(BasicProperties::app_id) {
        properties = properties.with_app_id(source);
    }
    if let Some(at) = came_with.and_then(|properties| *properties.timestamp()) {
        properties = properties.with_timestamp(at);
    }
    properties
}

/// How often handling has failed before.
pub(super) fn attempts(properties: &BasicProperties) -> u32 {
    header(properties, ATTEMPTS)
        .and_then(integer)
        .and_then(|attempts| u32::try_from(attempts).ok())
        .unwrap_or(0)
}

/// How often the broker took the message back from a consumer.
pub(super) fn comebacks(properties: &BasicProperties) -> i64 {
    let counts = COMEBACKS.iter().filter_map(|name| header(properties, name));
    counts.filter_map(integer).max().unwrap_or(0)
}

pub(super) fn header<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}

/// A whole number of any width: brokers and tools differ in what they write.
pub(super) fn integer(value: &AMQPValue) -> Option<i64> {
    match *value {
        AMQPValue::ShortShortInt(number) => Some(number.into()),
        AMQPValue::ShortShortUInt(number) => Some(number.into()),
        AMQPValue::ShortInt(number) => Some(number.into()),
        AMQPValue::ShortUInt(number) => Some(number.into()),
        AMQPValue::LongInt(number) => Some(number.into()),
        AMQPValue::LongUInt(number) => Some(number.into()),
        AMQPValue::LongLongInt(number) => Some(number),
        _ => None,
    }
}

pub(super) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead_letter() -> Address {
        Address::Queue {
            exchange: "saga.dlx".into(),
            key: "q".into(),
        }
    }

    fn fail(delivery: &Delivery, failure: &str) -> BasicProperties {
        let failed = Failed {
            delivery,
            json: &delivery.data,
            service: "ticket-worker",
            failure,
            at: Timestamp::now(),
        };
        let copy = failed.copy_to(dead_letter());
        assert_eq!(copy.json, delivery.data);
        copy.label.into_properties()
    }

    fn delivery(exchange: &str, key: &str, properties: BasicProperties) -> Delivery {
        let body = b"no json".to_vec();
        let mut delivery = Delivery::mock(1, exchange.into(), key.into(), false, body);
        delivery.properties = properties;
        delivery
    }

    #[test]
    fn each_failure_counts_and_the_first_one_is_remembered() {
        let first = delivery("saga.commands", "Key", BasicProperties::default());
        let once = fail(&first, "first");
        assert_eq!(attempts(&once), 1);
        let twice = fail(&delivery("", "q", once.clone()), "second");
        assert_eq!(attempts(&twice), 2);
        assert_eq!(header(&twice, FAILURE), Some(&text("second")));
        for name in [FIRST_FAILURE, ORIGINAL_EXCHANGE, ORIGINAL_ROUTING_KEY] {
            assert_eq!(header(&twice, name), header(&once, name), "{name}");
        }
        assert_eq!(header(&twice, ORIGINAL_ROUTING_KEY), Some(&text("Key")));
        assert_ne!(header(&twice, LAST_FAILURE), header(&once, LAST_FAILURE));
    }

    #[test]
    fn comebacks_are_counted_by_whichever_header_the_broker_sets() {
        let with = |pairs: &[(&str, i64)]| {
            let mut headers = FieldTable::default();
            for (name, count) in pairs {
                headers.insert((*name).into(), AMQPValue::LongLongInt(*count));
            }
            comebacks(&BasicProperties::default().with_headers(headers))
        };
        assert_eq!(with(&[]), 0);
        assert_eq!(with(&[("x-delivery-count", 2)]), 2);
        let of_4_3 = [("x-delivery-count", 0), ("x-acquired-count", 2)];
        assert_eq!(with(&of_4_3), 2);
    }

    #[test]
    fn a_copy_that_cannot_be_read_keeps_what_describes_it_and_nothing_that_acts() {
        let came_with = BasicProperties::default()
            .with_message_id("m-1".into())
            .with_app_id("someone".into())
            .with_user_id("someone".into())
            .with_expiration("1000".into())
            .with_reply_to("elsewhere".into())
            .with_timestamp(7);
        let copy = fail(&delivery("", "q", came_with), "no event");
        assert_eq!(
            copy.message_id().as_ref().map(ShortString::as_str),
            Some("m-1")
        );
        assert_eq!(
            copy.app_id().as_ref().map(ShortString::as_str),
            Some("someone")
        );
        assert_eq!(*copy.delivery_mode(), Some(PERSISTENT));
        assert_eq!(*copy.timestamp(), Some(7));
        for gone in [copy.user_id(), copy.expiration(), copy.reply_to()] {
            assert_eq!(*gone, None);
        }
    }

    #[test]
    fn a_long_failure_is_cut_and_a_missing_id_is_minted() {
        let copy = fail(
            &delivery("", "q", BasicProperties::default()),
            &"ü".repeat(9000),
        );
        let Some(AMQPValue::LongString(failure)) = header(&copy, FAILURE) else {
            panic!("the failure is a text")
        };
        assert_eq!(failure.as_bytes().len(), FAILURE_BYTES);
        assert!(copy.message_id().is_some());
    }
}
