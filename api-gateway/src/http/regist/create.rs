//! `POST /regist`: registers a user with a ticket that the user has.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use events::choreography::REGISTER;
use events::{Reason, Register, UserId, UserTicketId};

use crate::accepted::End;
use crate::auth::Caller;
use crate::http::Gateway;
use crate::http::body::{Fields, received};
use crate::http::commands::{self, RawBody};
use crate::http::idempotency::Identity;
use crate::http::openapi::{Operation, required};
use crate::http::problem::Problem;
use crate::http::reads::RegistView;
use crate::http::texts::details;

pub(super) const EXAMPLE: &str =
    r#"{"userId": 7, "userTicketId": "0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f"}"#;

pub(in crate::http) const POST: Operation = Operation::keyed_saga(
    "register",
    "Register with a ticket that the user has",
    "SavedRegist",
)
.about("A refusal changes nothing.")
.body(&[
    required("userId", "Number"),
    required("userTicketId", "Uuid"),
])
.refused_with(&[
    Reason::TICKET_NOT_FOUND,
    Reason::NOT_THE_USERS_TICKET,
    Reason::TICKET_DELETED,
    Reason::ALREADY_REGISTERED,
    Reason::DEADLINE_EXCEEDED,
]);

pub(in crate::http) async fn post(
    State(gateway): State<Gateway>,
    caller: Caller,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, Problem> {
    let identity = Identity::of(&headers, &caller)?.on_route(REGISTER.name);
    let (user_id, user_ticket_id) = user_and_ticket(&received(body)?)?;
    caller.check(user_id)?;
    let command = Register {
        user_id,
        user_ticket_id,
    };
    let created = |end: &End| RegistView {
        id: end.regist_id,
        created_at: Some(end.at),
        updated_at: end.at,
        deleted_at: None,
        user_id: Some(user_id.0),
        user_ticket_id: Some(user_ticket_id),
    };
    commands::run(
        &gateway,
        &caller,
        &headers,
        &REGISTER,
        (identity, command),
        created,
    )
    .await
}

pub(super) fn user_and_ticket(body: &[u8]) -> Result<(UserId, UserTicketId), Problem> {
    let mut fields = Fields::parse(body, EXAMPLE)?;
    let user_id: Option<UserId> = fields.required("userId", &details::WHOLE_NUMBER);
    let user_ticket_id: Option<UserTicketId> = fields.required("userTicketId", &details::UUID);
    match (user_id, user_ticket_id) {
        (Some(user_id), Some(user_ticket_id)) => Ok((user_id, user_ticket_id)),
        _ => Err(fields.problem()),
    }
}
