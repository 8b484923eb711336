//! CloudEvents 1.0, structured JSON: the one envelope of every message, and the batch format that
//! carries several in one AMQP message.
//!
//! An [`Event`] is decoded whole, data included, before anyone acts on it. What cannot be decoded
//! is a [`DecodeError`] that names the attribute or field at fault.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::choreography::{API_GATEWAY, OWNERS};
use crate::{EventId, Message, MessageType, SagaId, Timestamp};

/// The content type of one event.
pub const EVENT_CONTENT_TYPE: &str = "application/cloudevents+json";
/// The content type of a JSON array of events.
pub const BATCH_CONTENT_TYPE: &str = "application/cloudevents-batch+json";

const SPEC_VERSION: &str = "1.0";
const DATA_CONTENT_TYPE: &str = "application/json";
/// More than an event is, mostly: one that grows while it is written is copied each time.
const USUAL_BYTES: usize = 640;

/// One message of one saga, with what its readers need to act on it and to follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Derived from the saga and the message type, so that the same message has the same id
    /// however often it is published.
    pub id: EventId,
    /// The service that published it.
    pub source: Cow<'static, str>,
    /// When its publisher decided it.
    pub time: Timestamp,
    pub saga_id: SagaId,
    /// The message that led to this one; none for the message that starts a saga.
    pub causation_id: Option<EventId>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// The gateway instance that waits for the end of the saga: one word of a routing key.
    pub reply_to: Option<String>,
    /// A start step seen after this is refused.
    pub deadline: Option<Timestamp>,
    pub message: Message,
}

/// Why bytes are no event of ours. Final: the same bytes fail the same way again.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the envelope is no CloudEvent")]
    Envelope(#[source] serde_json::Error),
    #[error("the CloudEvents version is {found:?}, and this build reads \"1.0\"")]
    SpecVersion { found: String },
    #[error("the message type {found:?} is unknown")]
    UnknownType { found: String },
    #[error("the message version {found:?} is not supported, this build reads {supported:?}")]
    UnsupportedVersion {
        found: String,
        supported: &'static [&'static str],
    },
    #[error("the data of {message_type} is no JSON object")]
    DataIsNoObject { message_type: MessageType },
    #[error("the data of {message_type} is wrong at field `{field}`")]
    Data {
        message_type: MessageType,
        field: String,
        #[source]
        problem: serde_json::Error,
    },
}

impl DecodeError {
    /// Whether it may be a message of ours, of a type or version that this build does not read.
    pub fn is_of_another_build(&self) -> bool {
        match self {
            Self::SpecVersion { .. }
            | Self::UnknownType { .. }
            | Self::UnsupportedVersion { .. } => true,
            Self::Envelope(_) | Self::DataIsNoObject { .. } | Self::Data { .. } => false,
        }
    }
}

/// What a reply takes over from the message that caused it.
#[derive(Clone, Debug)]
pub struct Cause<'a> {
    pub by: &'a Event,
    pub source: &'static str,
    /// When the reply was decided.
    pub time: Timestamp,
}

/// An event as it travels.
#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Wire<'a, D> {
    #[serde(borrow)]
    #[cfg_attr(test, schemars(extend("const" = SPEC_VERSION)))]
    specversion: Cow<'a, str>,
    /// Follows from saga and message type: the same message has the same id whenever it is sent.
    id: EventId,
    /// The service that published it.
    #[serde(borrow)]
    source: Cow<'a, str>,
    /// The message and the major version of its data.
    #[serde(borrow, rename = "type")]
    wire_type: Cow<'a, str>,
    /// When its publisher decided it.
    time: Timestamp,
    /// Written always, and always application/json.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    datacontenttype: Option<Text<'a>>,
    sagaid: SagaId,
    /// The id of the message that led to this one; none for the message that starts a saga.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    causationid: Option<EventId>,
    /// W3C trace context.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<Cow<'a, str>>,
    /// The gateway instance that waits for the end of the saga: one word of a routing key.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    replyto: Option<Cow<'a, str>>,
    /// A start step seen after this is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline: Option<Timestamp>,
    data: D,
}

/// A text that may be missing and is not kept. Within an `Option` serde borrows no bare `Cow`.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Event {
    /// The id of the message of this type in this saga (UUIDv5).
    pub fn id_of(saga: SagaId, message_type: MessageType) -> EventId {
        EventId(Uuid::new_v5(&saga.0, message_type.name().as_bytes()))
    }

    /// The event that follows from `cause`: same saga, same waiting gateway, same deadline.
    pub fn caused(cause: &Cause<'_>, message: Message) -> Self {
        Self {
            id: Self::id_of(cause.by.saga_id, message.message_type()),
            source: Cow::Borrowed(cause.source),
            time: cause.time,
            saga_id: cause.by.saga_id,
            causation_id: Some(cause.by.id),
            traceparent: cause.by.traceparent.clone(),
            reply_to: cause.by.reply_to.clone(),
            deadline: cause.by.deadline,
            message,
        }
    }

    pub fn message_type(&self) -> MessageType {
        self.message.message_type()
    }

    /// Whether the saga's deadline has passed at `now`.
    pub fn is_late(&self, now: Timestamp) -> bool {
        self.deadline.is_some_and(|deadline| now > deadline)
    }

    /// The event as one JSON object.
    pub fn to_json(&self) -> Vec<u8> {
        let wire = Wire {
            specversion: SPEC_VERSION.into(),
            id: self.id,
            source: self.source.as_ref().into(),
            wire_type: self.message_type().wire_type().into(),
            time: self.time,
            datacontenttype: Some(Text(DATA_CONTENT_TYPE.into())),
            sagaid: self.saga_id,
            causationid: self.causation_id,
            traceparent: self.traceparent.as_deref().map(Cow::from),
            replyto: self.reply_to.as_deref().map(Cow::from),
            deadline: self.deadline,
            data: &self.message,
        };
        let mut json = Vec::with_capacity(USUAL_BYTES);
        serde_json::to_writer(&mut json, &wire).expect(
            "an envelope has string keys and no failing serializer, and a vector takes all",
        );
        json
    }

    /// Reads one event from one JSON object.
    pub fn from_json(json: &[u8]) -> Result<Self, DecodeError> {
        let wire = serde_json::from_slice(json).map_err(DecodeError::Envelope)?;
        Self::from_wire(wire)
    }

    /// Reads the events of a JSON batch, in order; none if anything in it is no CloudEvent, when
    /// [`split_batch`] tells it from its neighbours.
    pub fn from_json_batch(json: &[u8]) -> Option<Vec<Result<Self, DecodeError>>> {
        // Bytes that are no text would pass inside of an attribute that is not read.
        let text = std::str::from_utf8(json).ok()?;
        let batch: Vec<Wire<'_, &RawValue>> = serde_json::from_str(text).ok()?;
        Some(batch.into_iter().map(Self::from_wire).collect())
    }

    fn from_wire(wire: Wire<'_, &RawValue>) -> Result<Self, DecodeError> {
        if wire.specversion != SPEC_VERSION {
            return Err(DecodeError::SpecVersion {
                found: wire.specversion.into_owned(),
            });
        }
        Ok(Self {
            id: wire.id,
            source: source_of(wire.source),
            time: wire.time,
            saga_id: wire.sagaid,
            causation_id: wire.causationid,
            traceparent: wire.traceparent.map(Cow::into_owned),
            reply_to: wire.replyto.map(Cow::into_owned),
            deadline: wire.deadline,
            message: Message::decode(&wire.wire_type, wire.data.get())?,
        })
    }
}

/// Those that are known cost no memory of their own.
fn source_of(text: Cow<'_, str>) -> Cow<'static, str> {
    let known = std::iter::once(&API_GATEWAY).chain(&OWNERS);
    let mut known = known.map(|service| service.0);
    match known.find(|known| *known == text) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(text.into_owned()),
    }
}

/// The events of a JSON batch, each still as JSON, in order.
pub fn split_batch(json: &[u8]) -> Result<Vec<&RawValue>, DecodeError> {
    serde_json::from_slice(json).map_err(DecodeError::Envelope)
}
