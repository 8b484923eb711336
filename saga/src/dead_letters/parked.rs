//! One parked message, as it lies there: the bytes to the letter, and the story of its failures.

use std::borrow::Cow;

use events::{DecodeError, Event, SagaId, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use super::Cause;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The event's id. A copy of the same event in the same queue has the same.
    pub id: String,
    /// The work queue it came from, and is put back to.
    pub queue: String,
    pub body: Vec<u8>,
    /// Why it was parked.
    pub failure: String,
    /// How often handling it has failed; 0 if it never was settled.
    pub attempts: u32,
    /// How often an operator put it back before.
    pub requeued: u32,
    pub first_failed_at: Option<Timestamp>,
    pub last_failed_at: Option<Timestamp>,
    /// Where it was published to at first, if the bus keeps that.
    pub exchange: Option<String>,
    pub routing_key: Option<String>,
}

impl Parked {
    /// The id of a message that brings none it can be known by: the same for the same bytes.
    pub(crate) fn id_of(body: &[u8]) -> String {
        let named = serde_json::from_slice::<Value>(body).ok();
        let id = named.as_ref().and_then(|event| event.get("id")?.as_str());
        match id.filter(|id| !id.is_empty()) {
            Some(id) => id.to_owned(),
            None => Uuid::new_v5(&Uuid::NAMESPACE_OID, body).to_string(),
        }
    }

    /// The event, if this build can read it.
    pub fn event(&self) -> Result<Event, DecodeError> {
        Event::from_json(&self.body)
    }

    pub fn cause(&self) -> Cause {
        Cause::of(&self.failure)
    }

    /// The bytes as far as they are text.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The envelope's `type`, readable event or not.
    pub fn message_type(&self) -> Option<String> {
        self.attributes("type").into_iter().next()
    }

    /// The envelope's saga, readable event or not.
    pub fn saga_id(&self) -> Option<String> {
        self.attributes("sagaid").into_iter().next()
    }

    pub(super) fn is_of_saga(&self, saga: SagaId) -> bool {
        self.attributes("sagaid").contains(&saga.to_string())
    }

    /// This attribute of each event in it: a pack that the broker parked has several.
    fn attributes(&self, name: &str) -> Vec<String> {
        let events = match serde_json::from_slice(&self.body) {
            Ok(Value::Array(events)) => events,
            Ok(event) => vec![event],
            Err(_) => Vec::new(),
        };
        let values = events.iter().filter_map(|event| event.get(name)?.as_str());
        values.map(str::to_owned).collect()
    }
}
