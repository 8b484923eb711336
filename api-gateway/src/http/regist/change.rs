//! `PUT /regist`: changes the fields that are sent. Whatever the registration becomes, its ticket must
//! be a live one of its user.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use events::choreography::CHANGE_REGISTRATION;
use events::query::Regist;
use events::{ChangeRegistration, Reason, RegistId, UserId, UserTicketId};

use crate::accepted::End;
use crate::auth::Caller;
use crate::http::Gateway;
use crate::http::body::{Fields, received};
use crate::http::commands::{self, RawBody};
use crate::http::idempotency::Identity;
use crate::http::openapi::{ID, Operation, failures, optional};
use crate::http::problem::Problem;
use crate::http::reads::{self, RegistView};
use crate::http::texts::details;

const EXAMPLE: &str = r#"{"id": "0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f",
    "userTicketId": "0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e10"}"#;

/// The fields that are sent.
struct Change {
    id: RegistId,
    user_id: Option<UserId>,
    user_ticket_id: Option<UserTicketId>,
}

pub(in crate::http) const PUT: Operation =
    Operation::saga("changeRegistration", "Change a registration", "SavedRegist")
        .about("Changes exactly the fields that are sent. What it becomes must be with a live ticket of its user.")
        .body(&[ID, optional("userId", "Number"), optional("userTicketId", "Uuid")])
        .refused_with(&[
            Reason::TICKET_NOT_FOUND,
            Reason::NOT_THE_USERS_TICKET,
            Reason::TICKET_DELETED,
            Reason::ALREADY_REGISTERED,
            Reason::CHANGED_MEANWHILE,
            Reason::DEADLINE_EXCEEDED,
        ])
        .fails_with(failures::OF_A_COMMAND_BY_ID);

/// The command says what the registration is to be as a whole, and which ticket it has now: what is
/// not sent is read first, and the owner refuses if it is not so any more.
pub(in crate::http) async fn put(
    State(gateway): State<Gateway>,
    caller: Caller,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, Problem> {
    let change = parse(&received(body)?)?;
    if let Some(user) = change.user_id {
        caller.check(user)?;
    }
    let now: Regist = reads::find(&gateway, change.id).await?;
    caller.check(now.user_id)?;
    let command = ChangeRegistration {
        regist_id: now.id,
        user_id: change.user_id.unwrap_or(now.user_id),
        user_ticket_id: change.user_ticket_id.unwrap_or(now.user_ticket_id),
        from: now.user_ticket_id,
    };
    let (user_id, user_ticket_id) = (command.user_id, command.user_ticket_id);
    let changed = |end: &End| RegistView {
        id: Some(now.id),
        created_at: Some(now.created_at),
        updated_at: end.changed_at.unwrap_or(end.at),
        deleted_at: None,
        user_id: Some(user_id.0),
        user_ticket_id: Some(user_ticket_id),
    };
    let saga = &CHANGE_REGISTRATION;
    let asked = (Identity::fresh(), command);
    commands::run(&gateway, &caller, &headers, saga, asked, changed).await
}

fn parse(body: &[u8]) -> Result<Change, Problem> {
    let mut fields = Fields::parse(body, EXAMPLE)?;
    let id: Option<RegistId> = fields.required("id", &details::UUID);
    let change = Change {
        id: id.unwrap_or(RegistId(uuid::Uuid::nil())),
        user_id: fields.optional("userId", &details::WHOLE_NUMBER),
        user_ticket_id: fields.optional("userTicketId", &details::UUID),
    };
    fields.check()?;
    Ok(change)
}
