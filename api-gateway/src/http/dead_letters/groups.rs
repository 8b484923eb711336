//! `GET /dead-letters?queue=&cause=&sagaId=`: what is parked, by queue and grouped by cause.

use axum::extract::State;
use axum::response::Response;
use saga::dead_letters::groups;

use super::view::{Group, List};
use super::{OF_A_LOOK, selection};
use crate::auth::Caller;
use crate::http::Gateway;
use crate::http::envelope::success;
use crate::http::openapi::{Operation, PAGE_NUMBER, PAGE_SIZE};
use crate::http::parameters::RawParameters;
use crate::http::problem::Problem;

pub(in crate::http) const GET: Operation = Operation::list(
    "listDeadLetters",
    "What the system gave up on, by queue and grouped by cause",
    "DeadLetterGroupList",
)
.about(
    "For operators. Failures that differ only in ids, numbers and quoted texts have the same cause; \
     the largest group of a queue comes first. The queue `saga.unrouted` has what no queue was bound \
     for. Every look goes through the whole queue.",
)
.query(&[
    selection::QUEUE,
    selection::CAUSE,
    selection::SAGA_ID,
    PAGE_NUMBER,
    PAGE_SIZE,
])
.fails_with(OF_A_LOOK);

pub(in crate::http) async fn get(
    State(gateway): State<Gateway>,
    caller: Caller,
    raw: RawParameters,
) -> Result<Response, Problem> {
    caller.check_operator()?;
    let (selection, (skip, limit)) = selection::of_query(raw)?;
    let look = gateway
        .dead_letters()
        .look(move |letters| Box::pin(async move { groups(letters, &selection).await }));
    let groups = look.await?;
    Ok(success(List {
        total: groups.len(),
        list: groups
            .iter()
            .skip(skip)
            .take(limit)
            .map(Group::of)
            .collect(),
    }))
}
