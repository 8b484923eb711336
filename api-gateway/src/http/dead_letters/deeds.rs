//! `POST /dead-letters/requeue` and `POST /dead-letters/drop`. Each begins a run, which goes on whatever
//! becomes of its caller, and answers with what became of it, or with its address while it runs. With an
//! `Idempotency-Key` the request may be sent again: it is the same run.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use saga::dead_letters::{Action, Deed, Ramp, Selection};

use super::runs::recorded;
use super::selection;
use super::view::{Begun, RunView};
use crate::auth::Caller;
use crate::dead_letters::{Order, Run, Status};
use crate::http::Gateway;
use crate::http::body::{Fields, RawBody, received};
use crate::http::envelope::{RETRY_AFTER, success, with_code};
use crate::http::idempotency::{self, Identity, is_keyed};
use crate::http::openapi::{Operation, optional, required};
use crate::http::prefer::Patience;
use crate::http::problem::Problem;
use crate::http::texts::details::{
    NO_STEPS_TO_WATCH, RAMP, REASON_TEXT, TRUE_OR_FALSE, WATCH_SECONDS, must_be,
};

/// Who it is where callers are not told apart.
const ANYBODY: &str = "anybody (callers are not told apart)";
const LONGEST_REASON: usize = 1_000;
const MOST_STEPS: usize = 16;
/// A step is in memory whole.
const LARGEST_STEP: usize = 1_000;
const LONGEST_WATCH: u64 = 86_400;

pub(in crate::http) const REQUEUE: Operation = Operation::run(
    "requeueDeadLetters",
    "Put dead letters back where they came from",
)
.about(
    "For operators. Step by step, and no further once one fails again or is not handled. On RabbitMQ \
     nobody sees whether a message is done, only whether it comes back, so each step is watched for \
     as long as all retries take.",
)
.body(&[
    selection::IDS_FIELD,
    selection::CAUSE,
    selection::QUEUE,
    selection::SAGA_ID,
    selection::ALL,
    optional("ramp", "Ramp").about("How many in each step; the last goes on. 1, 10, 100, 1000"),
    optional("watchSeconds", "WatchSeconds")
        .about("How long each step is watched; all retry delays and ten seconds, unless it is said"),
    optional("atOnce", "Flag").about("Without steps, and without waiting for what becomes of them"),
    optional("reason", "Reason").about("Why, for the record"),
]);

pub(in crate::http) const DROP: Operation =
    Operation::run("dropDeadLetters", "Take dead letters out for good")
        .about("For operators. The record keeps the whole messages.")
        .body(&[
            selection::IDS_FIELD,
            selection::CAUSE,
            selection::QUEUE,
            selection::SAGA_ID,
            selection::ALL,
            required("reason", "Reason").about("Why, for the record"),
        ]);

pub(in crate::http) async fn requeue(
    State(gateway): State<Gateway>,
    caller: Caller,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, Problem> {
    const EXAMPLE: &str = r#"{"cause": "2a04bfac", "reason": "the seat plan is free again"}"#;
    caller.check_operator()?;
    let body = received(body)?;
    let mut fields = Fields::parse(&body, EXAMPLE)?;
    let reason: Option<String> = fields.optional("reason", &REASON_TEXT);
    let (ramp, fields) = ramp_of(fields, &gateway);
    let (selection, fields) = selection::of_body(fields);
    check_reason(reason.as_deref(), fields)?;
    let order = Order {
        deed: deed(&headers, &caller, Action::Requeue, reason)?,
        selection,
        ramp,
    };
    begin(&gateway, &headers, order).await
}

pub(in crate::http) async fn drop(
    State(gateway): State<Gateway>,
    caller: Caller,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, Problem> {
    const EXAMPLE: &str =
        r#"{"ids": ["2f8b6ede-c7a4-5141-9132-7b2607ce454b"], "reason": "bought elsewhere"}"#;
    caller.check_operator()?;
    let body = received(body)?;
    let mut fields = Fields::parse(&body, EXAMPLE)?;
    let reason: Option<String> = fields.required("reason", &REASON_TEXT);
    let (selection, fields) = selection::of_body(fields);
    check_reason(reason.as_deref(), fields)?;
    let order = Order {
        deed: deed(&headers, &caller, Action::Drop, reason)?,
        selection,
        ramp: Ramp::at_once(),
    };
    begin(&gateway, &headers, order).await
}

/// With a key, it is of the run that the key names.
fn deed(
    headers: &HeaderMap,
    caller: &Caller,
    action: Action,
    reason: Option<String>,
) -> Result<Deed, Problem> {
    let run = Identity::of(headers, caller)?.on_route(&format!("{action} dead letters"));
    let reason = reason.unwrap_or_default();
    Ok(Deed::of_run(run.saga_id().0, action, name(caller), reason))
}

fn name(caller: &Caller) -> String {
    match &*caller.subject {
        "" => ANYBODY.to_owned(),
        subject => subject.to_owned(),
    }
}

fn check_reason(reason: Option<&str>, fields: Fields<'_>) -> Result<(), Problem> {
    let length = reason.map(|reason| reason.trim().chars().count());
    match length.is_none_or(|length| (1..=LONGEST_REASON).contains(&length)) {
        true => fields.check(),
        false => Err(fields.with_error("reason", must_be(&REASON_TEXT)).problem()),
    }
}

fn ramp_of<'a>(mut fields: Fields<'a>, gateway: &Gateway) -> (Ramp, Fields<'a>) {
    let at_once: Option<bool> = fields.optional("atOnce", &TRUE_OR_FALSE);
    let steps: Option<Vec<usize>> = fields.optional("ramp", &RAMP);
    let watch: Option<u64> = fields.optional("watchSeconds", &WATCH_SECONDS);
    let is_ramp = |steps: &Vec<usize>| {
        let in_bounds = |step: &usize| (1..=LARGEST_STEP).contains(step);
        (1..=MOST_STEPS).contains(&steps.len()) && steps.iter().all(in_bounds)
    };
    if steps.as_ref().is_some_and(|steps| !is_ramp(steps)) {
        fields = fields.with_error("ramp", must_be(&RAMP));
    }
    if watch.is_some_and(|watch| watch > LONGEST_WATCH) {
        fields = fields.with_error("watchSeconds", must_be(&WATCH_SECONDS));
    }
    if at_once == Some(true) {
        if steps.is_some() || watch.is_some() {
            fields = fields.with_error("atOnce", NO_STEPS_TO_WATCH.into());
        }
        return (Ramp::at_once(), fields);
    }
    let steps = steps.unwrap_or_else(|| Ramp::STEPS.to_vec());
    let ramp = Ramp::watching(steps, gateway.dead_letters().retry());
    let watch = watch.map_or(ramp.watch, Duration::from_secs);
    (Ramp { watch, ..ramp }, fields)
}

/// Begins it once it is known that the queue is there and can be reached. What this gateway does not
/// know and the record does was begun by another one, or before a restart, and is not begun again.
async fn begin(gateway: &Gateway, headers: &HeaderMap, order: Order) -> Result<Response, Problem> {
    let office = gateway.dead_letters();
    if office.find(order.deed.run()).is_some() {
        let run = office.start(order)?;
        return Ok(patiently(gateway, headers, &run).await);
    }
    let selection = Selection {
        queue: order.selection.queue.clone(),
        ..Selection::default()
    };
    let known = office.look(move |letters| {
        Box::pin(async move { selection.queues(letters.queues()).map(std::mem::drop) })
    });
    known.await?;
    if is_keyed(headers)
        && let Some(begun) = begun_elsewhere(gateway, &order.deed).await?
    {
        return Ok(success(begun));
    }
    let run = office.start(order)?;
    Ok(patiently(gateway, headers, &run).await)
}

async fn patiently(gateway: &Gateway, headers: &HeaderMap, run: &Run) -> Response {
    let patience = Patience::of(headers, gateway.starter().wait_limit);
    let answer = answer(run, patience.limit).await;
    patience.mark(answer)
}

/// The record has a run from its first message on, and of what was asked for only the reason.
async fn begun_elsewhere(gateway: &Gateway, deed: &Deed) -> Result<Option<RunView>, Problem> {
    let Some((first, count)) = recorded(gateway, deed.run()).await? else {
        return Ok(None);
    };
    match (first.action, &first.reason) == (deed.action, &deed.reason) {
        true => Ok(Some(RunView::of_record(&first, count))),
        false => Err(idempotency::reused()),
    }
}

async fn answer(run: &Run, limit: Duration) -> Response {
    if limit.is_zero() {
        return still_running(run);
    }
    let state = run.ended(limit).await;
    match state.status {
        Status::Running => still_running(run),
        // However it ended: what it did before is done, so it is not to be sent again unread.
        _ => success(RunView::of(run, state)),
    }
}

fn still_running(run: &Run) -> Response {
    let headers = [
        (header::LOCATION, url(run)),
        (header::RETRY_AFTER, RETRY_AFTER.to_owned()),
    ];
    let begun = Begun {
        run: run.id,
        status: Status::Running.as_str(),
    };
    (
        StatusCode::ACCEPTED,
        headers,
        with_code(202, "accepted", begun),
    )
        .into_response()
}

fn url(run: &Run) -> String {
    format!("/dead-letters/runs/{}", run.id)
}
