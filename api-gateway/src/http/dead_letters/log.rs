//! `GET /dead-letters/log`: what operators did: who, when, what, why. The same record as `dlq log`.

use axum::extract::State;
use axum::response::Response;
use saga::dead_letters::newest;

use super::view::{Entry, List};
use super::{OF_A_LOOK, page};
use crate::auth::Caller;
use crate::http::Gateway;
use crate::http::envelope::success;
use crate::http::openapi::{Operation, PAGE_NUMBER, PAGE_SIZE};
use crate::http::parameters::RawParameters;
use crate::http::problem::Problem;

pub(in crate::http) const GET: Operation = Operation::list(
    "listDeeds",
    "What operators did to dead letters, newest first",
    "DeedList",
)
.about("For operators: who, when, what, why. An entry of a dropped message has all of it.")
.query(&[PAGE_NUMBER, PAGE_SIZE])
.fails_with(OF_A_LOOK);

pub(in crate::http) async fn get(
    State(gateway): State<Gateway>,
    caller: Caller,
    raw: RawParameters,
) -> Result<Response, Problem> {
    caller.check_operator()?;
    let (skip, limit) = page(raw)?;
    let look = gateway
        .dead_letters()
        .look(move |letters| Box::pin(newest(letters, skip.saturating_add(limit))));
    let (total, newest) = look.await?;
    let newest_first = newest.into_iter().rev().skip(skip);
    Ok(success(List {
        total,
        list: newest_first.map(Entry::from).collect(),
    }))
}
