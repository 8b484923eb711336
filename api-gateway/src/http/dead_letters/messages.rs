//! `GET /dead-letters/messages?queue=&cause=&sagaId=`: what is parked, message by message; and
//! `GET /dead-letters/messages/{id}`: one with its envelope, and what operators did to it.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use saga::dead_letters::{Entry, Parked, Selection, entries, find};

use super::view::{DeadLetter, List, Story};
use super::{OF_A_LOOK, OF_ONE, selection, wrong};
use crate::auth::Caller;
use crate::dead_letters::Summary;
use crate::http::Gateway;
use crate::http::envelope::success;
use crate::http::openapi::{Field, Operation, PAGE_NUMBER, PAGE_SIZE, required};
use crate::http::parameters::{Parameters, RawParameters};
use crate::http::problem::Problem;
use crate::http::texts::details;

/// One event is parked in few places.
const MOST_COPIES: usize = 100;

const PATH_ID: Field = required("id", "Text").about("The message's: an event's own");

pub(in crate::http) const LIST: Operation = Operation::list(
    "listDeadLetterMessages",
    "What the system gave up on, message by message",
    "DeadLetterList",
)
.about("For operators. In the order in which the messages lie there.")
.query(&[
    selection::QUEUE,
    selection::CAUSE,
    selection::SAGA_ID,
    PAGE_NUMBER,
    PAGE_SIZE,
])
.fails_with(OF_A_LOOK);

pub(in crate::http) const ONE: Operation = Operation::find(
    "findDeadLetter",
    "A dead letter with its envelope, its failure and its history",
    "DeadLetterStory",
)
.about(
    "For operators. `parked` is empty when it was put back or dropped since; `history` has what \
     operators did to it, and all of a message that was dropped.",
)
.path(&[PATH_ID])
.query(&[selection::QUEUE])
.fails_with(OF_ONE);

pub(in crate::http) async fn list(
    State(gateway): State<Gateway>,
    caller: Caller,
    raw: RawParameters,
) -> Result<Response, Problem> {
    caller.check_operator()?;
    let (selection, (skip, limit)) = selection::of_query(raw)?;
    let look = gateway
        .dead_letters()
        .look(move |letters| Box::pin(async move { find(letters, &selection, skip, limit).await }));
    let found = look.await?;
    Ok(success(List {
        total: found.total,
        list: found.messages.iter().map(Summary::of).collect(),
    }))
}

pub(in crate::http) async fn one(
    State(gateway): State<Gateway>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    raw: RawParameters,
) -> Result<Response, Problem> {
    caller.check_operator()?;
    let Path(id) = path.map_err(|rejection| wrong("id", details::of_path(&rejection)))?;
    let mut parameters = Parameters::parse(raw)?;
    let queue = parameters.optional("queue", &details::QUEUE_NAME);
    parameters.check()?;
    let (parked, history) = story(&gateway, id.clone(), queue).await?;
    if parked.is_empty() && history.is_empty() {
        return Err(Problem::not_found(details::no_dead_letter(&id)));
    }
    Ok(success(Story {
        parked: parked.iter().map(DeadLetter::of).collect(),
        history: history.into_iter().map(Into::into).collect(),
    }))
}

async fn story(
    gateway: &Gateway,
    id: String,
    queue: Option<String>,
) -> Result<(Vec<Parked>, Vec<Entry>), Problem> {
    let look = gateway.dead_letters().look(move |letters| {
        Box::pin(async move {
            let selection = Selection {
                queue,
                ids: [id.clone()].into(),
                ..Selection::default()
            };
            let parked = find(letters, &selection, 0, MOST_COPIES).await?.messages;
            let history = entries(letters, |entry| entry.id == id).await?;
            Ok((parked, history))
        })
    });
    Ok(look.await?)
}
