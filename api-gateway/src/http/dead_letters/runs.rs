//! `GET /dead-letters/runs`: what requeues and drops this gateway does or did lately;
//! `GET /dead-letters/runs/{id}`: how far one is; `POST /dead-letters/runs/{id}/stop`: stop it.
//!
//! A run lives in the gateway that began it. Of any other the record tells what was done, so no replica
//! and no restart leaves an operator without an answer.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use saga::dead_letters::Entry;
use uuid::Uuid;

use super::view::{List, RunView};
use super::{OF_ONE, OF_ONE_HERE, OF_THIS_GATEWAY, page, wrong};
use crate::auth::Caller;
use crate::http::Gateway;
use crate::http::envelope::success;
use crate::http::openapi::{Field, Operation, PAGE_NUMBER, PAGE_SIZE, required};
use crate::http::parameters::RawParameters;
use crate::http::problem::Problem;
use crate::http::texts::details::{self, UUID};

const PATH_ID: Field = required("id", "Uuid").about("The run's");

pub(in crate::http) const LIST: Operation = Operation::list(
    "listRuns",
    "The requeues and drops of this gateway, newest first",
    "DeadLetterRunList",
)
.about("For operators: those that run, and the last hundred that ended. The log has those of all.")
.query(&[PAGE_NUMBER, PAGE_SIZE])
.fails_with(OF_THIS_GATEWAY);

pub(in crate::http) const GET: Operation = Operation::find(
    "findRun",
    "How far a requeue or drop is",
    "DeadLetterRun",
)
.about(
    "For operators. A run that another gateway does, or one did that is gone, has the status \
             `elsewhere` and what the record has of it: what it did is done, the rest is parked.",
)
.path(&[PATH_ID])
.query(&[])
.fails_with(OF_ONE);

pub(in crate::http) const STOP: Operation = Operation::find(
    "stopRun",
    "Stop a requeue or drop",
    "DeadLetterRun",
)
.about(
    "For operators. What it did stays done and the rest parked. Only the gateway that began \
             it can; one that ended stays as it is, so it may be sent again. What it has in hand is \
             finished first: if that takes longer than the gateway waits, the status is still `running`.",
)
.path(&[PATH_ID])
.query(&[])
.fails_with(OF_ONE_HERE);

pub(in crate::http) async fn list(
    State(gateway): State<Gateway>,
    caller: Caller,
    raw: RawParameters,
) -> Result<Response, Problem> {
    caller.check_operator()?;
    let (skip, limit) = page(raw)?;
    let runs = gateway.dead_letters().runs();
    let shown = runs.iter().skip(skip).take(limit);
    Ok(success(List {
        total: runs.len(),
        list: shown.map(|run| RunView::of(run, run.state())).collect(),
    }))
}

pub(in crate::http) async fn get(
    State(gateway): State<Gateway>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    caller.check_operator()?;
    let id = id(path)?;
    if let Some(run) = gateway.dead_letters().find(id) {
        return Ok(success(RunView::of(&run, run.state())));
    }
    let recorded = recorded(&gateway, id).await?;
    let view = recorded.map(|(first, count)| RunView::of_record(&first, count));
    let view = view.ok_or_else(|| Problem::not_found(details::no_run(&id)))?;
    Ok(success(view))
}

pub(in crate::http) async fn stop(
    State(gateway): State<Gateway>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    caller.check_operator()?;
    let id = id(path)?;
    let run = gateway.dead_letters().find(id);
    let run = run.ok_or_else(|| Problem::not_found(details::run_elsewhere(&id)))?;
    run.stop();
    let state = run.ended(gateway.starter().wait_limit).await;
    Ok(success(RunView::of(&run, state)))
}

/// The first entry of the run, and how many it has.
pub(super) async fn recorded(
    gateway: &Gateway,
    id: Uuid,
) -> Result<Option<(Entry, usize)>, Problem> {
    let look = gateway.dead_letters().look(move |letters| {
        Box::pin(async move {
            let mut found: Option<(Entry, usize)> = None;
            let mut count = |entry: Entry| match &mut found {
                _ if entry.run != id => {}
                Some((_, count)) => *count += 1,
                none => *none = Some((entry, 1)),
            };
            letters.record(&mut count).await?;
            Ok(found)
        })
    });
    Ok(look.await?)
}

fn id(path: Result<Path<String>, PathRejection>) -> Result<Uuid, Problem> {
    let text = path.map_or_else(|rejection| rejection.to_string(), |Path(text)| text);
    Uuid::parse_str(&text).map_err(|_| wrong("id", details::is_other(&UUID, &format!("{text:?}"))))
}
