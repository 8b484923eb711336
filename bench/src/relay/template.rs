//! The messages that the relay sends: the exact bytes of real events, prepared once, so that
//! forwarding costs neither decoding nor encoding.
//!
//! Which saga a message belongs to travels in the correlation id, as in the real system. It also
//! says whether the saga is one to be refused, so that a hop need not look into the body.

use std::collections::HashMap;

use events::choreography::{Role, Step};
use events::{EVENT_CONTENT_TYPE, Event, MessageType, route};
use futures_util::TryFutureExt;
use lapin::Confirmation;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel};
use saga::rabbitmq::topology::Names;
use uuid::Uuid;

use crate::failure::BenchError;
use crate::sample;

/// The instance in the routing key of end events.
pub(crate) const INSTANCE: &str = "bench-relay";

/// The delivery mode of a message that outlives a restart of the broker.
pub(crate) const PERSISTENT: u8 = 2;
/// The bit of the correlation id that marks a saga to be refused.
const REFUSED: u128 = 1 << 127;

/// A message but for its saga.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    exchange: ShortString,
    routing_key: ShortString,
    body: Vec<u8>,
    properties: BasicProperties,
}

/// Reads the correlation id of saga number `slot`.
pub(crate) fn correlation_id(slot: usize, refused: bool) -> ShortString {
    let mark = if refused { REFUSED } else { 0 };
    let id = Uuid::from_u128(slot as u128 | mark);
    id.hyphenated().to_string().into()
}

/// The saga number in a correlation id.
pub(crate) fn slot_of(correlation_id: &ShortString) -> Option<usize> {
    let id = Uuid::parse_str(correlation_id.as_str()).ok()?;
    usize::try_from(id.as_u128() & !REFUSED).ok()
}

fn is_refused(correlation_id: &ShortString) -> bool {
    correlation_id.as_str().starts_with('8')
}

/// The template of every message.
pub(crate) fn templates(names: &Names) -> HashMap<MessageType, Template> {
    sample::every_event(INSTANCE)
        .iter()
        .map(|event| (event.message_type(), Template::of(event, names)))
        .collect()
}

impl Template {
    fn of(event: &Event, names: &Names) -> Self {
        let route = route(event);
        let seconds = event.time.as_micros().unsigned_abs() / 1_000_000;
        Self {
            exchange: names.front(route.class).into(),
            routing_key: route.key.as_ref().into(),
            body: event.to_json(),
            properties: BasicProperties::default()
                .with_content_type(EVENT_CONTENT_TYPE.into())
                .with_delivery_mode(PERSISTENT)
                .with_type(event.message_type().wire_type().into())
                .with_timestamp(seconds)
                .with_app_id(event.source.as_ref().into()),
        }
    }

    /// Publishes the message for the saga of this correlation id; resolves to `then` when the broker
    /// has confirmed it. The first poll puts it on the connection, in order.
    pub(crate) async fn publish<T>(
        &self,
        channel: &Channel,
        correlation_id: ShortString,
        then: T,
    ) -> Result<T, BenchError> {
        let properties = self.properties.clone();
        let properties = properties
            .with_message_id(correlation_id.clone())
            .with_correlation_id(correlation_id);
        let (exchange, key) = (self.exchange.clone(), self.routing_key.clone());
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        let confirmation = channel
            .basic_publish(exchange, key, options, &self.body, properties)
            .and_then(|confirm| confirm)
            .await?;
        match confirmation {
            Confirmation::Ack(None) => Ok(then),
            other => Err(BenchError::NotConfirmed {
                answer: format!("{other:?}"),
            }),
        }
    }
}

/// What a step sends on, by the mark in the correlation id.
#[derive(Debug)]
pub(crate) struct Answers {
    done: Template,
    refused: Template,
}

impl Answers {
    /// Sagas marked so are refused by the last step that can refuse: registration.
    pub(crate) fn of(step: &Step, names: &Names) -> Self {
        let templates = templates(names);
        let refusal = match step.role {
            Role::Do { refusal } if templates.contains_key(&refusal) => refusal,
            _ => step.emits,
        };
        Self {
            done: templates[&step.emits].clone(),
            refused: templates[&refusal].clone(),
        }
    }

    pub(crate) fn to(&self, correlation_id: &ShortString) -> &Template {
        if is_refused(correlation_id) {
            &self.refused
        } else {
            &self.done
        }
    }
}

#[cfg(test)]
mod tests {
    use events::choreography::{self, REGIST_WORKER, TICKET_WORKER};

    use super::*;

    #[test]
    fn the_correlation_id_carries_saga_and_mark() {
        for (slot, refused) in [(0, false), (1_999, true)] {
            let id = correlation_id(slot, refused);
            assert_eq!((slot_of(&id), is_refused(&id)), (Some(slot), refused));
        }
    }

    #[test]
    fn only_registration_refuses() {
        let names = Names::new("test");
        for (service, on, answer) in [
            (
                TICKET_WORKER,
                MessageType::PurchaseAndRegister,
                "TicketPurchased",
            ),
            (
                REGIST_WORKER,
                MessageType::TicketPurchased,
                "RegistrationFailed",
            ),
            (
                TICKET_WORKER,
                MessageType::RegistrationFailed,
                "TicketDeleted.bench-relay",
            ),
        ] {
            let step = choreography::step(service, on).unwrap();
            let answers = Answers::of(step, &names);
            let sent = answers.to(&correlation_id(1, true));
            assert_eq!(sent.routing_key.as_str(), answer);
        }
    }
}
