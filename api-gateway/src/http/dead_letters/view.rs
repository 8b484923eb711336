//! Dead letters as callers see them.

use events::Timestamp;
use saga::dead_letters::{self, Action, Dropped, Parked};
use saga::failure::chain;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::dead_letters::{Run, State, Status, Summary};

#[derive(Serialize)]
pub(super) struct List<T> {
    pub(super) total: usize,
    pub(super) list: Vec<T>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    queue: String,
    cause: String,
    failure: String,
    count: usize,
    oldest: Option<Timestamp>,
    newest: Option<Timestamp>,
    example: String,
}

impl Group {
    pub(super) fn of(group: &dead_letters::Group) -> Self {
        Self {
            queue: group.queue.clone(),
            cause: group.cause.key(),
            failure: group.cause.to_string(),
            count: group.count,
            oldest: group.oldest,
            newest: group.newest,
            example: group.example.id.clone(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeadLetter {
    #[serde(flatten)]
    summary: Summary,
    exchange: Option<String>,
    routing_key: Option<String>,
    /// Why this build cannot read it, if it cannot.
    unreadable: Option<String>,
    envelope: Value,
    body: String,
}

impl DeadLetter {
    pub(super) fn of(parked: &Parked) -> Self {
        Self {
            summary: Summary::of(parked),
            exchange: parked.exchange.clone(),
            routing_key: parked.routing_key.clone(),
            unreadable: parked.event().err().map(|error| chain(&error)),
            envelope: serde_json::from_slice(&parked.body).unwrap_or_default(),
            body: parked.text().into_owned(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Story {
    pub(super) parked: Vec<DeadLetter>,
    pub(super) history: Vec<Entry>,
}

/// One deed to one message.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    run: Uuid,
    at: Timestamp,
    by: String,
    action: Action,
    reason: String,
    id: String,
    queue: String,
    failure: String,
    attempts: u32,
    requeued: u32,
    message: Option<Message>,
}

/// A message that was dropped.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    body: Option<String>,
    /// Hexadecimal, of one that is no text.
    bytes: Option<String>,
    first_failed_at: Option<Timestamp>,
    last_failed_at: Option<Timestamp>,
    exchange: Option<String>,
    routing_key: Option<String>,
}

impl From<dead_letters::Entry> for Entry {
    fn from(entry: dead_letters::Entry) -> Self {
        Self {
            run: entry.run,
            at: entry.at,
            by: entry.by,
            action: entry.action,
            reason: entry.reason,
            id: entry.id,
            queue: entry.queue,
            failure: entry.failure,
            attempts: entry.attempts,
            requeued: entry.requeued,
            message: entry.message.map(Into::into),
        }
    }
}

impl From<Dropped> for Message {
    fn from(dropped: Dropped) -> Self {
        Self {
            body: dropped.body,
            bytes: dropped.bytes,
            first_failed_at: dropped.first_failed_at,
            last_failed_at: dropped.last_failed_at,
            exchange: dropped.exchange,
            routing_key: dropped.routing_key,
        }
    }
}

/// What is told of a run that was just begun.
#[derive(Serialize)]
pub(super) struct Begun {
    pub(super) run: Uuid,
    pub(super) status: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunView {
    run: Uuid,
    action: Action,
    by: String,
    reason: String,
    status: &'static str,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    count: usize,
    came_back: Vec<Summary>,
    unfinished: usize,
    detail: Option<String>,
}

impl RunView {
    pub(super) fn of(run: &Run, state: State) -> Self {
        Self {
            run: run.id,
            action: run.order.deed.action,
            by: run.order.deed.by.clone(),
            reason: run.order.deed.reason.clone(),
            status: state.status.as_str(),
            started_at: run.started_at,
            ended_at: state.ended_at,
            count: state.count,
            came_back: state.came_back,
            unfinished: state.unfinished,
            detail: state.detail,
        }
    }

    /// What the record has of a run that this gateway does not know.
    pub(super) fn of_record(first: &dead_letters::Entry, count: usize) -> Self {
        let detail = "another gateway does it, or one did that is gone; what it did is done, the rest \
                      is parked";
        Self {
            run: first.run,
            action: first.action,
            by: first.by.clone(),
            reason: first.reason.clone(),
            status: Status::Elsewhere.as_str(),
            started_at: first.at,
            ended_at: None,
            count,
            came_back: Vec::new(),
            unfinished: 0,
            detail: Some(detail.to_owned()),
        }
    }
}
