//! The messages seen of one saga, as the set that does not care about order or repetition, and its
//! compact text: one JSON array a message, `[type, source, microseconds, cause, id]`.
//!
//! Twenty thousand sagas a second are written, so what follows from the rest is left out: a cause in
//! the same timeline is its place in it, and the id is only there when it is not
//! [`Event::id_of`](events::Event::id_of) the saga and the type.

use std::borrow::Cow;
use std::fmt;

use events::choreography::{self, Saga};
use events::{Event, EventId, MessageType, SagaId, Timestamp};
use serde::de::{self, Deserialize, Deserializer, SeqAccess};
use serde::ser::{Serialize, SerializeSeq, Serializer};
use uuid::Uuid;

/// Ten times what any saga of the table has: a publisher that floods one saga id with messages of
/// fresh ids must not grow its row without end. The earliest are kept.
const MAX_ENTRIES: usize = 64;

/// One message of the saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: EventId,
    pub message_type: MessageType,
    pub source: Cow<'static, str>,
    pub time: Timestamp,
    pub causation_id: Option<EventId>,
}

/// What was seen of one saga: each message once, by time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline(Vec<Entry>);

impl Timeline {
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// Adds a message. Of two with the same id the earlier one stays (an undo's reply is repeated
    /// with another cause when the step it overtook arrives late), so that any order of additions
    /// gives the same timeline.
    pub(super) fn add(&mut self, event: &Event) {
        let entry = Entry::from(event);
        match self.0.iter().position(|known| known.id == entry.id) {
            Some(place) if self.0[place].precedence() <= entry.precedence() => return,
            Some(place) => self.0[place] = entry,
            None => self.0.push(entry),
        }
        self.0.sort_by(|a, b| a.precedence().cmp(&b.precedence()));
        self.0.truncate(MAX_ENTRIES);
    }

    /// The saga these messages belong to: the one that they start, or else the first that has them.
    pub(super) fn saga(&self) -> Option<&'static Saga> {
        let starts = |entry: &Entry| {
            choreography::SAGAS
                .iter()
                .copied()
                .find(|saga| saga.start == entry.message_type)
        };
        let has = |entry: &Entry| choreography::saga_of(entry.message_type);
        let started = self.0.iter().find_map(starts);
        started.or_else(|| self.0.iter().find_map(has))
    }

    pub(super) fn to_text(&self, saga: SagaId) -> String {
        let stored: Vec<_> = self
            .0
            .iter()
            .map(|entry| self.stored(saga, entry))
            .collect();
        serde_json::to_string(&stored).expect("arrays of strings and numbers always serialize")
    }

    pub(super) fn from_text(saga: SagaId, text: &str) -> Result<Self, serde_json::Error> {
        let stored: Vec<Stored<'_>> = serde_json::from_str(text)?;
        let ids: Vec<EventId> = stored.iter().map(|entry| entry.id(saga)).collect();
        let entries = stored.iter().zip(&ids).map(|(stored, id)| {
            let causation_id = match stored.cause {
                StoredCause::None => None,
                StoredCause::Elsewhere(id) => Some(EventId(id)),
                StoredCause::Entry(place) => Some(*ids.get(place).ok_or_else(|| {
                    de::Error::custom(format_args!("there is no entry {place} to be the cause"))
                })?),
            };
            Ok(Entry {
                id: *id,
                message_type: stored.message_type,
                source: known_source(&stored.source),
                time: Timestamp::from_micros(stored.micros),
                causation_id,
            })
        });
        entries.collect::<Result<_, _>>().map(Self)
    }

    fn stored<'a>(&'a self, saga: SagaId, entry: &'a Entry) -> Stored<'a> {
        let place_of = |id| self.0.iter().position(|known| known.id == id);
        let cause = entry.causation_id.map_or(StoredCause::None, |id| {
            place_of(id).map_or(StoredCause::Elsewhere(id.0), StoredCause::Entry)
        });
        let derived = Event::id_of(saga, entry.message_type) == entry.id;
        Stored {
            message_type: entry.message_type,
            source: Cow::Borrowed(&entry.source),
            micros: entry.time.as_micros(),
            cause,
            foreign_id: (!derived).then_some(entry.id.0),
        }
    }
}

impl Entry {
    /// A total order, by time first.
    fn precedence(&self) -> impl Ord + '_ {
        (
            self.time,
            self.message_type,
            self.id,
            self.causation_id,
            self.source.as_ref(),
        )
    }
}

impl From<&Event> for Entry {
    fn from(event: &Event) -> Self {
        Self {
            id: event.id,
            message_type: event.message_type(),
            source: known_source(&event.source),
            time: event.time,
            causation_id: event.causation_id,
        }
    }
}

/// Names of our own services are not allocated again for every message.
fn known_source(source: &str) -> Cow<'static, str> {
    let services = choreography::steps().map(|step| step.service);
    let known = std::iter::once(choreography::API_GATEWAY)
        .chain(services)
        .find(|service| service.0 == source);
    known.map_or_else(
        || Cow::Owned(source.to_owned()),
        |service| Cow::Borrowed(service.0),
    )
}

struct Stored<'a> {
    message_type: MessageType,
    source: Cow<'a, str>,
    micros: i64,
    cause: StoredCause,
    foreign_id: Option<Uuid>,
}

#[derive(Clone, Copy)]
enum StoredCause {
    None,
    /// The place in this timeline.
    Entry(usize),
    Elsewhere(Uuid),
}

impl Stored<'_> {
    fn id(&self, saga: SagaId) -> EventId {
        self.foreign_id
            .map_or_else(|| Event::id_of(saga, self.message_type), EventId)
    }
}

impl Serialize for Stored<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut array = serializer.serialize_seq(None)?;
        array.serialize_element(self.message_type.name())?;
        array.serialize_element(&self.source)?;
        array.serialize_element(&self.micros)?;
        match self.cause {
            StoredCause::None if self.foreign_id.is_none() => {}
            StoredCause::None => array.serialize_element(&())?,
            StoredCause::Entry(place) => array.serialize_element(&place)?,
            StoredCause::Elsewhere(id) => array.serialize_element(&id)?,
        }
        if let Some(id) = self.foreign_id {
            array.serialize_element(&id)?;
        }
        array.end()
    }
}

impl<'de> Deserialize<'de> for Stored<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(StoredVisitor)
    }
}

struct StoredVisitor;

impl<'de> de::Visitor<'de> for StoredVisitor {
    type Value = Stored<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[type, source, microseconds, cause, id], the last two optional")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Stored<'de>, A::Error> {
        let missing = |place| de::Error::invalid_length(place, &self);
        let name: Cow<'de, str> = array.next_element()?.ok_or_else(|| missing(0))?;
        let message_type = MessageType::from_name(&name).ok_or_else(|| {
            de::Error::custom(format_args!("this build knows no message {name:?}"))
        })?;
        Ok(Stored {
            message_type,
            source: array.next_element()?.ok_or_else(|| missing(1))?,
            micros: array.next_element()?.ok_or_else(|| missing(2))?,
            cause: array.next_element()?.unwrap_or(StoredCause::None),
            foreign_id: array.next_element::<Option<Uuid>>()?.flatten(),
        })
    }
}

impl<'de> Deserialize<'de> for StoredCause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Either {
            Place(usize),
            Id(Uuid),
        }
        Ok(match Option::<Either>::deserialize(deserializer)? {
            None => Self::None,
            Some(Either::Place(place)) => Self::Entry(place),
            Some(Either::Id(id)) => Self::Elsewhere(id),
        })
    }
}
