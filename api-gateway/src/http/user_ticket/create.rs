//! `POST /userTicket`: creates a ticket, with no registration.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use events::choreography::ADD_TICKET;
use events::{AddTicket, TicketId, UserId};

use crate::accepted::End;
use crate::auth::Caller;
use crate::http::Gateway;
use crate::http::body::{Fields, received};
use crate::http::commands::{self, RawBody};
use crate::http::idempotency::Identity;
use crate::http::openapi::{LATE, Operation, required};
use crate::http::problem::Problem;
use crate::http::reads::UserTicketView;
use crate::http::texts::details;

const EXAMPLE: &str = r#"{"userId": 7, "ticketId": 42}"#;

pub(in crate::http) const POST: Operation =
    Operation::keyed_saga("createTicket", "Create a ticket", "SavedUserTicket")
        .about("It has no registration yet. A user may have several for the same `ticketId`.")
        .body(&[required("userId", "Number"), required("ticketId", "Number")])
        .refused_with(LATE);

pub(in crate::http) async fn post(
    State(gateway): State<Gateway>,
    caller: Caller,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, Problem> {
    let identity = Identity::of(&headers, &caller)?.on_route(ADD_TICKET.name);
    let command = command(&received(body)?, identity)?;
    caller.check(command.user_id)?;
    let created = |end: &End| UserTicketView {
        id: command.user_ticket_id,
        created_at: Some(end.at),
        updated_at: end.at,
        deleted_at: None,
        user_id: Some(command.user_id.0),
        ticket_id: Some(command.ticket_id.0),
    };
    let asked = (identity, command.clone());
    commands::run(&gateway, &caller, &headers, &ADD_TICKET, asked, created).await
}

fn command(body: &[u8], identity: Identity) -> Result<AddTicket, Problem> {
    let mut fields = Fields::parse(body, EXAMPLE)?;
    let user_id: Option<UserId> = fields.required("userId", &details::WHOLE_NUMBER);
    let ticket_id: Option<TicketId> = fields.required("ticketId", &details::WHOLE_NUMBER);
    let (Some(user_id), Some(ticket_id)) = (user_id, ticket_id) else {
        return Err(fields.problem());
    };
    Ok(AddTicket {
        user_id,
        ticket_id,
        user_ticket_id: identity.ticket(&[user_id.0, ticket_id.0]),
    })
}
