//! `DELETE /userTicket`, `DELETE /userTicket/delete-batch` and `POST /userTicket/add-rollback`: delete
//! tickets, and the registrations made with them. One that is not there is as good as deleted, and
//! closed: it cannot be registered with when it comes. So only operators may, where callers are told
//! apart: an id that is not there yet may be another user's.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use events::choreography::REMOVE_TICKET;
use events::query::UserTicket;
use events::{RemoveTicket, UserTicketId};

use crate::auth::Caller;
use crate::http::Gateway;
use crate::http::commands::{self, Nothing, RawBody};
use crate::http::idempotency::Identity;
use crate::http::openapi::{ID, LATE, Operation, failures, required};
use crate::http::problem::Problem;
use crate::http::reads;

pub(in crate::http) const ONE: Operation =
    Operation::saga("deleteTicket", "Delete a ticket", "Done")
        .about(
            "Also the registration made with it. An unknown id is a success, but with a token that \
             is no operator's 404: it may be another user's one day.",
        )
        .body(&[ID])
        .refused_with(LATE)
        .fails_with(failures::OF_A_COMMAND_BY_ID);
pub(in crate::http) const ROLLBACK: Operation =
    Operation::saga("rollBackTicket", "Undo a purchase", "Done")
        .about("The same as deleting the ticket.")
        .body(&[ID])
        .refused_with(LATE)
        .fails_with(failures::OF_A_COMMAND_BY_ID);
pub(in crate::http) const BATCH: Operation =
    Operation::saga("deleteTickets", "Delete tickets", "DoneAll")
        .about(
            "Each by a saga of its own; unknown ids are a success, but with a token that is no \
             operator's 404, and nothing is deleted.",
        )
        .body(&[required("ids", "UuidList")])
        .refused_with(LATE)
        .fails_with(failures::OF_A_COMMAND_BY_ID);

/// The undo of a purchase is the deletion of its ticket.
pub(in crate::http) async fn one(
    State(gateway): State<Gateway>,
    caller: Caller,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, Problem> {
    let user_ticket_id = commands::id_of(body)?;
    reads::may_change::<UserTicket>(&gateway, &caller, user_ticket_id).await?;
    let command = RemoveTicket {
        user_ticket_id,
        user_id: caller.rights.user(),
    };
    let asked = (Identity::fresh(), command);
    commands::run(&gateway, &caller, &headers, &REMOVE_TICKET, asked, |_| {
        Nothing {}
    })
    .await
}

pub(in crate::http) async fn batch(
    State(gateway): State<Gateway>,
    caller: Caller,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, Problem> {
    let ids: Vec<UserTicketId> = commands::ids_of(body)?;
    let places = commands::places(&gateway, &caller, ids.len())?;
    reads::may_change_all::<UserTicket>(&gateway, &caller, &ids).await?;
    let command = |user_ticket_id| RemoveTicket {
        user_ticket_id,
        user_id: caller.rights.user(),
    };
    let commands = ids.into_iter().map(|id| command(id).into());
    let all = places.into_iter().zip(commands).collect();
    commands::run_all(&gateway, &caller, &headers, &REMOVE_TICKET, all).await
}
