//! `POST /regist/trans`: buys a ticket and registers with it, both or neither, and waits for the
//! outcome.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use events::choreography::PURCHASE_AND_REGISTER;
use events::{PurchaseAndRegister, Reason, RegistId, TicketId, UserId, UserTicketId};
use serde::Serialize;

use crate::accepted::End;
use crate::auth::Caller;
use crate::http::Gateway;
use crate::http::body::{Fields, received};
use crate::http::commands::{self, RawBody};
use crate::http::envelope::callers_id;
use crate::http::idempotency::Identity;
use crate::http::openapi::{Operation, required};
use crate::http::problem::Problem;
use crate::http::texts::details;

const EXAMPLE: &str = r#"{"userId": 7, "ticketId": 42}"#;

pub(in crate::http) const POST: Operation = Operation::keyed_saga(
    "buyAndRegister",
    "Buy a ticket and register with it",
    "Registered",
)
.about("Both or neither: when the registration is refused, the ticket is taken back.")
.body(&[required("userId", "Number"), required("ticketId", "Number")])
.refused_with(&[
    Reason::ALREADY_REGISTERED,
    Reason::TICKET_DELETED,
    Reason::DEADLINE_EXCEEDED,
]);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Registered {
    user_ticket_id: UserTicketId,
    regist_id: Option<RegistId>,
    #[serde(serialize_with = "callers_id")]
    user_id: Option<u64>,
    #[serde(serialize_with = "callers_id")]
    ticket_id: Option<u64>,
}

pub(in crate::http) async fn post(
    State(gateway): State<Gateway>,
    caller: Caller,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, Problem> {
    let identity = Identity::of(&headers, &caller)?;
    let command = command(&received(body)?, identity)?;
    caller.check(command.user_id)?;
    let saga = &PURCHASE_AND_REGISTER;
    let registered = |end: &End| Registered {
        user_ticket_id: command.user_ticket_id,
        regist_id: end.regist_id,
        user_id: Some(command.user_id.0),
        ticket_id: Some(command.ticket_id.0),
    };
    let asked = (identity, command.clone());
    commands::run(&gateway, &caller, &headers, saga, asked, registered).await
}

fn command(body: &[u8], identity: Identity) -> Result<PurchaseAndRegister, Problem> {
    let mut fields = Fields::parse(body, EXAMPLE)?;
    let user_id: Option<UserId> = fields.required("userId", &details::WHOLE_NUMBER);
    let ticket_id: Option<TicketId> = fields.required("ticketId", &details::WHOLE_NUMBER);
    let (Some(user_id), Some(ticket_id)) = (user_id, ticket_id) else {
        return Err(fields.problem());
    };
    Ok(PurchaseAndRegister {
        user_id,
        ticket_id,
        user_ticket_id: identity.ticket(&[user_id.0, ticket_id.0]),
    })
}
