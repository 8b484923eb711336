//! `PUT /userTicket`: changes the fields that are sent. A ticket that a registration has stays as it
//! is.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use events::choreography::CHANGE_TICKET;
use events::query::UserTicket;
use events::{ChangeTicket, Reason, UserTicketId};

use crate::accepted::End;
use crate::auth::Caller;
use crate::http::Gateway;
use crate::http::body::{Fields, received};
use crate::http::commands::{self, RawBody};
use crate::http::idempotency::Identity;
use crate::http::openapi::{ID, Operation, failures, optional};
use crate::http::problem::Problem;
use crate::http::reads::{self, UserTicketView};
use crate::http::texts::details;

const EXAMPLE: &str = r#"{"id": "0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f", "ticketId": 42}"#;

pub(in crate::http) const PUT: Operation = Operation::saga(
    "changeTicket",
    "Change a ticket",
    "SavedUserTicket",
)
.about("Changes exactly the fields that are sent. A ticket that a registration has stays as it is.")
.body(&[
    ID,
    optional("userId", "Number"),
    optional("ticketId", "Number"),
])
.refused_with(&[Reason::TICKET_IN_USE, Reason::DEADLINE_EXCEEDED])
.fails_with(failures::OF_A_COMMAND_BY_ID);

pub(in crate::http) async fn put(
    State(gateway): State<Gateway>,
    caller: Caller,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, Problem> {
    let mut command = command(&received(body)?)?;
    let id = command.user_ticket_id;
    if let Some(user) = command.user_id {
        caller.check(user)?;
    }
    reads::may_change::<UserTicket>(&gateway, &caller, id).await?;
    // Whose it is already, so that the saga is found among that user's.
    command.user_id = command.user_id.or(caller.rights.user());
    let changed = |end: &End| UserTicketView {
        id,
        created_at: end.created_at,
        updated_at: end.at,
        deleted_at: None,
        user_id: end.user_id.map(|id| id.0),
        ticket_id: end.ticket_id.map(|id| id.0),
    };
    let asked = (Identity::fresh(), command);
    commands::run(&gateway, &caller, &headers, &CHANGE_TICKET, asked, changed).await
}

fn command(body: &[u8]) -> Result<ChangeTicket, Problem> {
    let mut fields = Fields::parse(body, EXAMPLE)?;
    let id: Option<UserTicketId> = fields.required("id", &details::UUID);
    let user_id = fields.optional("userId", &details::WHOLE_NUMBER);
    let ticket_id = fields.optional("ticketId", &details::WHOLE_NUMBER);
    fields.check()?;
    Ok(ChangeTicket {
        user_id,
        ticket_id,
        user_ticket_id: id.unwrap_or(UserTicketId(uuid::Uuid::nil())),
    })
}
