//! `DELETE /regist`, `DELETE /regist/delete-batch` and `POST /regist/regist-rollback`: delete
//! registrations; their tickets stay. One that is not there is as good as deleted.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use events::choreography::CANCEL_REGISTRATION;
use events::{CancelRegistration, RegistId};

use super::create::user_and_ticket;
use crate::http::Gateway;
use crate::http::body::received;
use crate::http::commands::{self, Nothing, RawBody};
use crate::http::idempotency::Identity;
use crate::http::openapi::{ID, LATE, Operation, required};
use crate::http::problem::Problem;

pub(in crate::http) const ONE: Operation =
    Operation::saga("deleteRegistration", "Delete a registration", "Done")
        .about("Its ticket stays. An unknown id is a success.")
        .body(&[ID])
        .refused_with(LATE);
pub(in crate::http) const ROLLBACK: Operation =
    Operation::saga("rollBackRegistration", "Undo a registration", "Done")
        .about("Of this user with this ticket. None there is a success.")
        .body(&[
            required("userId", "Number"),
            required("userTicketId", "Uuid"),
        ])
        .refused_with(LATE);
pub(in crate::http) const BATCH: Operation =
    Operation::saga("deleteRegistrations", "Delete registrations", "DoneAll")
        .about("Each by a saga of its own; unknown ids are passed over.")
        .body(&[required("ids", "UuidList")])
        .refused_with(LATE);

pub(in crate::http) async fn one(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, Problem> {
    let (saga, command) = (&CANCEL_REGISTRATION, by_id(commands::id_of(body)?));
    let asked = (Identity::fresh(), command);
    commands::run(&gateway, &headers, saga, asked, |_| Nothing {}).await
}

pub(in crate::http) async fn batch(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, Problem> {
    let ids: Vec<RegistId> = commands::ids_of(body)?;
    let all = ids.into_iter().map(|id| by_id(id).into()).collect();
    commands::run_all(&gateway, &headers, &CANCEL_REGISTRATION, all).await
}

/// The undo of a registration names its user and ticket.
pub(in crate::http) async fn rollback(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, Problem> {
    let (user_id, user_ticket_id) = user_and_ticket(&received(body)?)?;
    let command = CancelRegistration {
        regist_id: None,
        user_id: Some(user_id),
        user_ticket_id: Some(user_ticket_id),
    };
    let saga = &CANCEL_REGISTRATION;
    let asked = (Identity::fresh(), command);
    commands::run(&gateway, &headers, saga, asked, |_| Nothing {}).await
}

fn by_id(id: RegistId) -> CancelRegistration {
    CancelRegistration {
        regist_id: Some(id),
        user_id: None,
        user_ticket_id: None,
    }
}
