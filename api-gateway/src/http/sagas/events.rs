//! `GET /sagas/{id}/events`: what happens in a saga, as server-sent events, up to its end. A stream
//! that broke is continued with `Last-Event-ID`, by any replica.

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use events::{EventId, SagaId, Timestamp};
use futures_util::{Stream, stream};
use uuid::Uuid;

use super::find::{Found, PATH_ID, find, id};
use super::view::{Happened, View};
use crate::auth::Caller;
use crate::http::Gateway;
use crate::http::openapi::{ACCEPT_LANGUAGE, Operation, failures, optional};
use crate::http::problem::Problem;
use crate::http::texts::details;
use crate::ledger::Row;
use crate::places::{Full, Place};

/// Each open stream asks the ledger for its saga so often: soon enough for a person who watches, and
/// two index lookups a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Proxies close connections that say nothing for half a minute or so.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The name and the id of the last event of a stream.
const END: &str = "end";
/// How many streams a gateway has open at most: a thousand lookups a second.
pub(in crate::http) const MOST_STREAMS: usize = 512;
/// How many of them one caller may have that is told apart by its token: more than a person watches,
/// and so few that one caller does not keep the others out.
pub(in crate::http) const MOST_STREAMS_OF_CALLER: usize = 32;

pub(in crate::http) const GET: Operation =
    Operation::stream("watchSaga", "A saga as it happens, up to its end")
        .path(&[PATH_ID])
        .headers(&[
            optional("Last-Event-ID", "Text")
                .about("Goes on after this event; from the beginning if the saga has none such"),
            ACCEPT_LANGUAGE,
        ])
        .fails_with(failures::OF_A_SAGA);

/// A saga that is being watched.
struct Watch {
    gateway: Gateway,
    saga_id: SagaId,
    told: HashSet<EventId>,
    /// What is to be told next.
    pending: Vec<Event>,
    is_over: bool,
    _place: Place,
}

pub(in crate::http) async fn get(
    State(gateway): State<Gateway>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let saga_id = id(path)?;
    let row = match find(&gateway, &caller, saga_id).await? {
        Found::Stored(row, _) => Some(row),
        Found::Accepted(_) => None,
    };
    let place = gateway.streams().take(&caller.subject);
    let place = place.map_err(|full| too_many(full).of_saga(saga_id))?;
    let mut watch = Watch {
        gateway,
        saga_id,
        told: row
            .as_ref()
            .map_or_else(HashSet::new, |row| told(row, &headers)),
        pending: Vec::new(),
        is_over: false,
        _place: place,
    };
    if let Some(row) = row {
        // Tells a browser that it has everything and need not come again.
        if last_event(&headers) == Some(END) {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        watch.learn(&row);
    }
    let heartbeat = KeepAlive::new().interval(HEARTBEAT);
    Ok(Sse::new(watch.stream())
        .keep_alive(heartbeat)
        .into_response())
}

fn too_many(full: Full) -> Problem {
    match full {
        Full::All => Problem::unavailable(details::streams_full(&MOST_STREAMS)),
        Full::Caller => Problem::too_many(details::streams_of_caller_full(&MOST_STREAMS_OF_CALLER)),
    }
}

/// Everything up to the event that the caller got last.
fn told(row: &Row, headers: &HeaderMap) -> HashSet<EventId> {
    let last = last_event(headers).and_then(|id| Uuid::try_parse(id).ok());
    let ids = || row.timeline.entries().iter().map(|entry| entry.id);
    let position = ids().position(|id| Some(id.0) == last);
    ids().take(position.map_or(0, |last| last + 1)).collect()
}

fn last_event(headers: &HeaderMap) -> Option<&str> {
    headers.get("last-event-id").and_then(|id| id.to_str().ok())
}

impl Watch {
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut watch| async {
            let next = watch.next().await?;
            Some((Ok(next), watch))
        })
    }

    /// None at the end of the saga or of this gateway.
    async fn next(&mut self) -> Option<Event> {
        while self.pending.is_empty() {
            if self.is_over {
                return None;
            }
            let stop = &self.gateway.starter().stop;
            stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY))
                .await?;
            // A database that is away is waited for like the saga itself.
            if let Ok(Some(row)) = self.gateway.ledger().find(self.saga_id).await {
                self.learn(&row);
            }
        }
        Some(self.pending.remove(0))
    }

    fn learn(&mut self, row: &Row) {
        for entry in row.timeline.entries() {
            if self.told.insert(entry.id) {
                let event = Event::default().id(entry.id.to_string());
                let event = event.event(entry.message_type.name());
                self.pending.push(with_json(event, &Happened::from(entry)));
            }
        }
        if row.outcome().is_some() {
            let end = View::of(row, Timestamp::now()).without_timeline();
            let event = Event::default().id(END).event(END);
            self.pending.push(with_json(event, &end));
            self.is_over = true;
        }
    }
}

fn with_json(event: Event, data: &impl serde::Serialize) -> Event {
    let json = serde_json::to_string(data).expect("strings and numbers always serialize");
    event.data(json)
}
