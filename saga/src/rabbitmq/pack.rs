//! Many events, few messages: gathers events that wait for the same address into one message, and
//! takes a message apart again. Pure.
//!
//! Every event keeps its own JSON to the letter, packed or not, so that a copy on a retry tier or in
//! a dead-letter queue is what was published, readable or not.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use events::{
    BATCH_CONTENT_TYPE, Class, DecodeError, EVENT_CONTENT_TYPE, Event, EventId, MessageType, Route,
    SagaId, Timestamp, split_batch,
};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::Packing;
use super::compression::{self, compressed};
use super::connection::shortened;
use super::entrance::Entrance;
use super::returns::Returns;

/// Written to disk with the message.
pub(super) const PERSISTENT: u8 = 2;
/// How many events a pack holds, for who looks at the queue.
pub(super) const EVENTS_HEADER: &str = "x-events";

/// One event on its way to the broker, encoded.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    pub(super) address: Address,
    pub(super) json: Vec<u8>,
    pub(super) label: Label,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// To whom it may concern. May travel in a pack.
    Route(Route),
    /// A copy to exactly one queue. Travels alone.
    Queue { exchange: String, key: String },
}

/// What becomes the AMQP properties, if the event is the first one of its message.
#[derive(Clone, Debug)]
pub(super) enum Label {
    Event {
        id: EventId,
        saga_id: SagaId,
        message_type: MessageType,
        time: Timestamp,
        source: Cow<'static, str>,
    },
    Written(Box<BasicProperties>),
}

impl Parcel {
    pub(super) fn of(event: &Event) -> Self {
        Self {
            address: Address::Route(events::route(event)),
            json: event.to_json(),
            label: Label::of(event),
        }
    }

    fn saga_id(&self) -> Option<SagaId> {
        match &self.label {
            Label::Event { saga_id, .. } => Some(*saga_id),
            Label::Written(_) => None,
        }
    }

    pub(super) fn size(&self) -> usize {
        self.json.len()
    }
}

impl Label {
    pub(super) fn of(event: &Event) -> Self {
        Self::Event {
            id: event.id,
            saga_id: event.saga_id,
            message_type: event.message_type(),
            time: event.time,
            source: event.source.clone(),
        }
    }

    /// What the Management UI shows of an event.
    pub(super) fn into_properties(self) -> BasicProperties {
        match self {
            Self::Written(properties) => *properties,
            Self::Event {
                id,
                saga_id,
                message_type,
                time,
                source,
            } => BasicProperties::default()
                .with_message_id(shortened(&id.to_string()))
                .with_correlation_id(shortened(&saga_id.to_string()))
                .with_type(ShortString::from(message_type.wire_type()))
                .with_content_type(EVENT_CONTENT_TYPE.into())
                .with_delivery_mode(PERSISTENT)
                .with_timestamp(u64::try_from(time.as_micros() / 1_000_000).unwrap_or(0))
                .with_app_id(shortened(&source)),
        }
    }
}

/// Names a call of `publish` that waits for its events.
pub(super) type CallId = u64;

/// What waits to be sent.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    routes: HashMap<Route, VecDeque<(CallId, Parcel)>>,
    /// The routes with something waiting, the next one first.
    turns: VecDeque<Route>,
    copies: VecDeque<(CallId, Parcel)>,
    /// Forgotten with what waits at it.
    entrance: Entrance,
}

/// One message for the broker.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) address: Address,
    pub(super) body: Vec<u8>,
    pub(super) properties: BasicProperties,
    /// Who waits for it, and with how many of its events.
    pub(super) calls: Vec<(CallId, usize)>,
}

impl Backlog {
    pub(super) fn new(returns: &Arc<Returns>) -> Self {
        Self {
            entrance: Entrance::new(returns),
            ..Self::default()
        }
    }

    /// Drops all of it, and the group that was leaving.
    pub(super) fn clear(&mut self) {
        let entrance = self.entrance.anew();
        *self = Self {
            entrance,
            ..Self::default()
        };
    }

    pub(super) fn push(&mut self, call: CallId, parcel: Parcel) {
        let Address::Route(route) = &parcel.address else {
            self.copies.push_back((call, parcel));
            return;
        };
        if let Some(waiting) = self.routes.get_mut(route) {
            waiting.push_back((call, parcel));
            return;
        }
        self.turns.push_back(route.clone());
        let waiting = VecDeque::from([(call, parcel)]);
        self.routes
            .insert(self.turns[self.turns.len() - 1].clone(), waiting);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty() && self.copies.is_empty()
    }

    /// Resolves when the commands have gathered for long enough: open the entrance then.
    pub(super) fn opening(&self) -> impl Future<Output = ()> + use<> {
        let waiting = |route| self.routes.get(route).map_or(0, VecDeque::len);
        let commands = command_routes(&self.turns).map(waiting).sum();
        self.entrance.opening(commands)
    }

    /// Lets what has gathered leave.
    pub(super) fn open_entrance(&mut self) {
        self.entrance.open();
    }

    /// The messages that leave now, at most so many.
    pub(super) fn leave(&mut self, room: usize, packing: &Packing) -> Vec<Pack> {
        let packs = std::iter::from_fn(|| self.next(packing));
        let packs = packs.take(room).collect();
        let waiting = command_routes(&self.turns);
        self.entrance.close_behind_group(waiting);
        packs
    }

    /// The next message, as full as it can be by now. Copies go first, then routes take turns, but
    /// for commands while the entrance is closed.
    fn next(&mut self, packing: &Packing) -> Option<Pack> {
        if let Some((call, copy)) = self.copies.pop_front() {
            return Some(seal(vec![(call, copy)]));
        }
        let admitted = self.turns.iter().position(|route| {
            self.entrance
                .admits(route, || fill_a_message(&self.routes[route], packing))
        });
        let route = self.turns.remove(admitted?)?;
        let waiting = self.routes.get_mut(&route)?;
        let parcels = take_one_message(waiting, packing);
        let sagas = parcels.iter().filter_map(|(_, parcel)| parcel.saga_id());
        self.entrance.admitted(&route, parcels.len(), sagas);
        if waiting.is_empty() {
            self.routes.remove(&route);
        } else {
            self.turns.push_back(route);
        }
        Some(seal(parcels))
    }
}

/// Those of commands.
fn command_routes(routes: &VecDeque<Route>) -> impl Iterator<Item = &Route> {
    let is_command = |route: &&Route| route.class == Class::Command;
    routes.iter().filter(is_command)
}

/// How many go into one message together, by number and by bytes.
fn fitting(waiting: &VecDeque<(CallId, Parcel)>, packing: &Packing) -> usize {
    let mut bytes = 0;
    let fit = waiting.iter().take_while(|(_, parcel)| {
        bytes += parcel.size() + 1;
        bytes <= packing.max_message_bytes
    });
    fit.take(packing.max_events_per_message).count()
}

/// Whether the next message would be no larger if more came.
fn fill_a_message(waiting: &VecDeque<(CallId, Parcel)>, packing: &Packing) -> bool {
    waiting.len() >= packing.max_events_per_message || fitting(waiting, packing) < waiting.len()
}

/// At least one; one that alone is over the limit of bytes travels alone.
fn take_one_message(
    waiting: &mut VecDeque<(CallId, Parcel)>,
    packing: &Packing,
) -> Vec<(CallId, Parcel)> {
    let fitting = fitting(waiting, packing);
    waiting.drain(..fitting.clamp(1, waiting.len())).collect()
}

fn seal(parcels: Vec<(CallId, Parcel)>) -> Pack {
    let calls = count_by_call(&parcels);
    let body = match parcels.as_slice() {
        [_] => None,
        several => Some(join(several)),
    };
    let count = i32::try_from(parcels.len()).unwrap_or(i32::MAX);
    let (_, first) = parcels.into_iter().next().expect("a message has an event");
    let properties = first.label.into_properties();
    let Some(mut body) = body else {
        return Pack {
            address: first.address,
            body: first.json,
            properties,
            calls,
        };
    };
    let mut headers = FieldTable::default();
    headers.insert(EVENTS_HEADER.into(), AMQPValue::LongInt(count));
    let mut properties = properties
        .with_content_type(BATCH_CONTENT_TYPE.into())
        .with_headers(headers);
    if let Some(frame) = compressed(&body) {
        body = frame;
        properties = properties.with_content_encoding(compression::ENCODING.into());
    }
    Pack {
        address: first.address,
        body,
        properties,
        calls,
    }
}

fn count_by_call(parcels: &[(CallId, Parcel)]) -> Vec<(CallId, usize)> {
    // Events of one call stand side by side.
    let runs = parcels.chunk_by(|(left, _), (right, _)| left == right);
    runs.map(|run| (run[0].0, run.len())).collect()
}

/// A JSON array of the events as they are.
fn join(parcels: &[(CallId, Parcel)]) -> Vec<u8> {
    let size: usize = parcels.iter().map(|(_, parcel)| parcel.size() + 1).sum();
    let mut body = Vec::with_capacity(size + 1);
    for (_, parcel) in parcels {
        body.push(if body.is_empty() { b'[' } else { b',' });
        body.extend_from_slice(&parcel.json);
    }
    body.push(b']');
    body
}

/// The JSON of each event of a message, in order. One event is a JSON object, so what starts as an
/// array is a pack, whatever a tool that moved the message made of its content type. A pack that
/// is no JSON comes back whole, as one event that will not decode.
pub(super) fn take_apart(body: &[u8]) -> Vec<&[u8]> {
    if !is_pack(body) {
        return vec![body];
    }
    match split_batch(body) {
        Ok(events) => events.iter().map(|raw| raw.get().as_bytes()).collect(),
        Err(_) => vec![body],
    }
}

fn is_pack(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'[')
}

/// The events of a message, in order. A pack is read in one go, and taken apart only if something in
/// it is no event.
pub(super) fn decode(body: &[u8]) -> Vec<Result<Event, DecodeError>> {
    let at_once = is_pack(body).then(|| Event::from_json_batch(body));
    if let Some(events) = at_once.flatten() {
        return events;
    }
    take_apart(body).into_iter().map(Event::from_json).collect()
}

#[cfg(test)]
mod tests;
