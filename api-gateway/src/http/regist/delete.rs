//! `DELETE /regist`, `DELETE /regist/delete-batch` and `POST /regist/regist-rollback`: delete
//! registrations; their tickets stay. One that is not there is as good as deleted.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use events::choreography::CANCEL_REGISTRATION;
use events::query::Regist;
use events::{CancelRegistration, RegistId};

use super::create::user_and_ticket;
use crate::auth::Caller;
use crate::http::Gateway;
use crate::http::body::received;
use crate::http::commands::{self, Nothing, RawBody};
use crate::http::idempotency::Identity;
use crate::http::openapi::{ID, LATE, Operation, failures, required};
use crate::http::problem::Problem;
use crate::http::reads;

pub(in crate::http) const ONE: Operation =
    Operation::saga("deleteRegistration", "Delete a registration", "Done")
        .about("Its ticket stays. An unknown id is a success.")
        .body(&[ID])
        .refused_with(LATE)
        .fails_with(failures::OF_A_DELETION);
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
        .about("Each by a saga of its own; that of an unknown id does nothing, with success.")
        .body(&[required("ids", "UuidList")])
        .refused_with(LATE)
        .fails_with(failures::OF_A_DELETION);

pub(in crate::http) async fn one(
    State(gateway): State<Gateway>,
    caller: Caller,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, Problem> {
    let id = commands::id_of(body)?;
    reads::may_change::<Regist>(&gateway, &caller, id).await?;
    let (saga, command) = (&CANCEL_REGISTRATION, by_id(id, &caller));
    let asked = (Identity::fresh(), command);
    commands::run(&gateway, &caller, &headers, saga, asked, |_| Nothing {}).await
}

pub(in crate::http) async fn batch(
    State(gateway): State<Gateway>,
    caller: Caller,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, Problem> {
    let ids: Vec<RegistId> = commands::ids_of(body)?;
    let places = commands::places(&gateway, &caller, ids.len())?;
    reads::may_change_all::<Regist>(&gateway, &caller, &ids).await?;
    let commands = ids.into_iter().map(|id| by_id(id, &caller).into());
    let all = places.into_iter().zip(commands).collect();
    commands::run_all(&gateway, &caller, &headers, &CANCEL_REGISTRATION, all).await
}

/// The undo of a registration names its user and ticket.
pub(in crate::http) async fn rollback(
    State(gateway): State<Gateway>,
    caller: Caller,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, Problem> {
    let (user_id, user_ticket_id) = user_and_ticket(&received(body)?)?;
    caller.check(user_id)?;
    let command = CancelRegistration {
        regist_id: None,
        user_id: Some(user_id),
        user_ticket_id: Some(user_ticket_id),
    };
    let saga = &CANCEL_REGISTRATION;
    let asked = (Identity::fresh(), command);
    commands::run(&gateway, &caller, &headers, saga, asked, |_| Nothing {}).await
}

/// The owner looks at the user too, if the caller is just one: what has become another's meanwhile
/// stays.
fn by_id(id: RegistId, caller: &Caller) -> CancelRegistration {
    CancelRegistration {
        regist_id: Some(id),
        user_id: caller.rights.user(),
        user_ticket_id: None,
    }
}
