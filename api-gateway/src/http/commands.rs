//! What every route that changes something shares: it starts a saga, waits for its end, and answers
//! with what the owner says.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::response::Response;
use events::choreography::{Outcome, Saga};
use events::progress::Status;
use events::{Message, Reason, SagaId, Timestamp, UserTicketId};
use futures_util::future::join_all;
use saga::failure::chain;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Gateway;
pub(super) use super::body::RawBody;
use super::body::{Fields, received};
use super::envelope::{accepted, saga_url, success};
use super::idempotency::{Identity, reused};
use super::prefer::Patience;
use super::problem::Problem;
use super::texts::{Text, details};
use crate::accepted::End;
use crate::auth::Caller;
use crate::ledger::projector::BEHIND;
use crate::places::{Full, Place};
use crate::settings::LARGEST_BATCH;
use crate::starter::{NotStarted, Request, Waited};
use crate::traceparent;

/// An answer of a saga that has been completed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done<T> {
    saga_id: SagaId,
    #[serde(flatten)]
    result: T,
}

/// Nothing to tell but that it is done.
#[derive(Serialize)]
pub(super) struct Nothing {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Running {
    saga_id: SagaId,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_ticket_id: Option<UserTicketId>,
    /// All sagas of a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    saga_ids: Option<Vec<SagaId>>,
}

impl Running {
    fn of(saga_id: SagaId) -> Self {
        Self {
            saga_id,
            status: Status::Running.as_str(),
            user_ticket_id: None,
            saga_ids: None,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    saga_ids: Vec<SagaId>,
}

/// Runs one saga. Answers with what `result` makes of its end, or with its address while it runs.
pub(super) async fn run<T: Serialize>(
    gateway: &Gateway,
    caller: &Caller,
    headers: &HeaderMap,
    saga: &'static Saga,
    (identity, message): (Identity, impl Into<Message>),
    result: impl FnOnce(&End) -> T,
) -> Result<Response, Problem> {
    let (patience, message) = (patience(gateway, headers), message.into());
    let saga_id = identity.saga_id();
    let user_ticket_id = message.particulars().user_ticket_id;
    let answer = match start(gateway, caller, headers, saga, (identity, message, None)).await? {
        Some(end) => {
            let result = result(&end);
            success(Done { saga_id, result })
        }
        None => still_running(saga_id, user_ticket_id),
    };
    Ok(patience.mark(answer))
}

/// Places for all sagas of a batch, before anything is asked for any of them.
pub(super) fn places(
    gateway: &Gateway,
    caller: &Caller,
    count: usize,
) -> Result<Vec<Place>, Problem> {
    let taken = gateway.starter().places.take_all(&caller.subject, count);
    taken.map_err(no_place)
}

fn no_place(full: Full) -> Problem {
    match full {
        Full::All => Problem::unavailable(details::TOO_MANY_WAIT),
        Full::Caller => Problem::too_many(details::CALLER_WAITS_FOR_TOO_MANY),
    }
}

/// Runs a saga for each message, all at once. Whatever becomes of one, the others are waited for.
pub(super) async fn run_all(
    gateway: &Gateway,
    caller: &Caller,
    headers: &HeaderMap,
    saga: &'static Saga,
    messages: Vec<(Place, Message)>,
) -> Result<Response, Problem> {
    let started = messages.into_iter().map(async |(place, message)| {
        let (identity, place) = (Identity::fresh(), Some(place));
        let asked = (identity, message, place);
        let ended = start(gateway, caller, headers, saga, asked).await?;
        Ok((identity.saga_id(), ended.is_some()))
    });
    let ended: Result<Vec<(SagaId, bool)>, Problem> = join_all(started).await.into_iter().collect();
    let ended = ended?;
    let running = ended
        .iter()
        .find(|(_, ended)| !ended)
        .map(|(saga, _)| *saga);
    let saga_ids = ended.into_iter().map(|(saga_id, _)| saga_id).collect();
    let answer = match running {
        Some(saga_id) => accepted(
            saga_id,
            Running {
                saga_ids: Some(saga_ids),
                ..Running::of(saga_id)
            },
        ),
        None => success(Batch { saga_ids }),
    };
    Ok(patience(gateway, headers).mark(answer))
}

fn patience(gateway: &Gateway, headers: &HeaderMap) -> Patience {
    Patience::of(headers, gateway.starter().wait_limit)
}

/// Starts a saga and waits. `None`: it still runs. A refusal is a problem.
async fn start(
    gateway: &Gateway,
    caller: &Caller,
    headers: &HeaderMap,
    saga: &'static Saga,
    (identity, message, place): (Identity, Message, Option<Place>),
) -> Result<Option<End>, Problem> {
    let callers_trace = headers
        .get("traceparent")
        .and_then(|text| text.to_str().ok());
    let request = Request {
        saga,
        saga_id: identity.saga_id(),
        caller: Arc::clone(&caller.subject),
        place,
        message,
        traceparent: traceparent::adopt(callers_trace),
        patience: patience(gateway, headers).limit,
        may_be_known: matches!(identity, Identity::Keyed(_)),
    };
    match gateway.starter().run(request).await {
        Ok(Waited::Ended(end)) => match end.outcome {
            Outcome::Completed => Ok(Some(end)),
            Outcome::Rejected | Outcome::Compensated => {
                Err(refused(end.reason.as_ref()).of_saga(identity.saga_id()))
            }
        },
        Ok(Waited::StillRunning) => Ok(None),
        Err(problem) => Err(not_started(saga, identity, &problem)),
    }
}

fn refused(reason: Option<&Reason>) -> Problem {
    match reason {
        Some(reason) if *reason == Reason::NOT_FOUND => Problem::not_found(details::NO_SUCH_OBJECT),
        reason => Problem::refused(reason),
    }
}

fn still_running(saga_id: SagaId, user_ticket_id: Option<UserTicketId>) -> Response {
    let running = Running {
        user_ticket_id,
        ..Running::of(saga_id)
    };
    accepted(saga_id, running)
}

fn not_started(saga: &Saga, identity: Identity, why: &NotStarted) -> Problem {
    match why {
        NotStarted::NoPlace(full) => no_place(*full),
        NotStarted::NotListening => Problem::unavailable(details::NOT_LISTENING),
        NotStarted::BrokerAway(reason) => Problem::unavailable(details::broker_away(reason)),
        NotStarted::OtherRequest => reused(),
        NotStarted::NotConfirmed(problem) => {
            let why = details::not_confirmed(&chain(problem));
            unavailable_perhaps_started(saga, identity, why)
        }
        NotStarted::NotInTime => {
            unavailable_perhaps_started(saga, identity, details::NOT_IN_TIME.into())
        }
    }
}

fn unavailable_perhaps_started(saga: &Saga, identity: Identity, why: Text) -> Problem {
    let saga_id = identity.saga_id();
    let what_next = match identity {
        Identity::Keyed(_) => details::SEND_AGAIN_WITH_KEY.into(),
        Identity::Fresh(_) => {
            // Past its deadline a command is refused, whenever it may yet arrive.
            let over = Timestamp::now() + saga.deadline + BEHIND;
            details::ask_and_send_again(&saga_url(saga_id), &over)
        }
    };
    Problem::unavailable(Text::sentences(&[why, what_next])).of_saga(saga_id)
}

/// The `id` of a body that names one object.
pub(super) fn id_of<Id: DeserializeOwned>(body: RawBody) -> Result<Id, Problem> {
    const EXAMPLE: &str = r#"{"id": "0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f"}"#;
    let body = received(body)?;
    let mut fields = Fields::parse(&body, EXAMPLE)?;
    match fields.required("id", &details::UUID) {
        Some(id) => Ok(id),
        None => Err(fields.problem()),
    }
}

/// The `ids` of a body that names some objects, each once.
pub(super) fn ids_of<Id: DeserializeOwned + Ord>(body: RawBody) -> Result<Vec<Id>, Problem> {
    const EXAMPLE: &str = r#"{"ids": ["0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f"]}"#;
    let body = received(body)?;
    let mut fields = Fields::parse(&body, EXAMPLE)?;
    let ids: Option<Vec<Id>> = fields.required("ids", &details::UUIDS);
    let mut ids = match ids {
        Some(ids) if (1..=LARGEST_BATCH).contains(&ids.len()) => ids,
        Some(ids) => {
            let detail = details::has_so_many(&details::UUIDS, &ids.len());
            return Err(fields.with_error("ids", detail).problem());
        }
        None => return Err(fields.problem()),
    };
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}
