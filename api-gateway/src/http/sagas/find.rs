//! `GET /sagas/{id}`: where a saga stands, what it waits for, and what happened so far.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use events::{SagaId, Timestamp, UserId};
use saga::bus::Health;
use saga::failure::chain;
use tracing::{error, warn};
use uuid::Uuid;

use super::view::View;
use crate::accepted::Accepted;
use crate::auth::Caller;
use crate::http::Gateway;
use crate::http::envelope::success;
use crate::http::openapi::{Field, Operation, failures, required};
use crate::http::problem::{FieldError, Problem};
use crate::http::texts::{Text, details, kinds};
use crate::ledger::{LedgerError, Row};

pub(in crate::http) const GET: Operation =
    Operation::find("findSaga", "A saga and what happened in it", "Saga")
        .path(&[PATH_ID])
        .query(&[])
        .fails_with(failures::OF_A_SAGA);
pub(super) const PATH_ID: Field = required("id", "Uuid").about("The saga's");

/// What is known of a saga.
pub(super) enum Found {
    /// The ledger has it, and perhaps this gateway remembers it.
    Stored(Row, Option<Accepted>),
    /// Only this gateway knows it yet.
    Accepted(Accepted),
}

impl Found {
    fn user_id(&self) -> Option<UserId> {
        match self {
            Self::Stored(row, accepted) => {
                let accepted = accepted.as_ref().and_then(|accepted| accepted.user_id);
                row.user_id.or(accepted)
            }
            Self::Accepted(accepted) => accepted.user_id,
        }
    }
}

pub(in crate::http) async fn get(
    State(gateway): State<Gateway>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let saga_id = id(path)?;
    let view = match find(&gateway, &caller, saga_id).await? {
        Found::Stored(row, accepted) => {
            let mut view = View::of(&row, Timestamp::now());
            view.learn(accepted.and_then(|accepted| accepted.end));
            view
        }
        Found::Accepted(accepted) => View::of_accepted(saga_id, accepted),
    };
    Ok(success(view))
}

/// What is known of the saga, or why there is nothing to tell. Another user's is as good as none:
/// the id of a saga with an `Idempotency-Key` may be guessed.
pub(super) async fn find(
    gateway: &Gateway,
    caller: &Caller,
    saga_id: SagaId,
) -> Result<Found, Problem> {
    let found = look_up(gateway, saga_id).await?;
    match caller.rights.cover(found.user_id()) {
        true => Ok(found),
        false => Err(unknown(gateway, saga_id)),
    }
}

async fn look_up(gateway: &Gateway, saga_id: SagaId) -> Result<Found, Problem> {
    let accepted = gateway.starter().accepted.get(saga_id);
    match (gateway.ledger().find(saga_id).await, accepted) {
        (Ok(Some(row)), accepted) => Ok(Found::Stored(row, accepted)),
        (Ok(None) | Err(_), Some(accepted)) => Ok(Found::Accepted(accepted)),
        (Ok(None), None) => Err(unknown(gateway, saga_id)),
        (Err(LedgerError::Row(problem)), None) => {
            error!(%saga_id, error = chain(&problem), "a row of the ledger cannot be read: repair or delete it");
            Err(unreadable(saga_id))
        }
        (Err(problem), None) => {
            warn!(%saga_id, error = chain(&problem), "a saga cannot be looked up");
            Err(Problem::unavailable(details::LEDGER_AWAY).of_saga(saga_id))
        }
    }
}

pub(super) fn id(path: Result<Path<String>, PathRejection>) -> Result<SagaId, Problem> {
    let text = path.map_or_else(|rejection| rejection.to_string(), |Path(text)| text);
    Uuid::parse_str(&text).map(SagaId).map_err(|_| {
        let detail = details::is_other(&details::SAGA_ID, &format!("{text:?}"));
        let field = "id".to_owned();
        let told = Text::of(&field, &detail);
        Problem::invalid(told, vec![FieldError { field, detail }])
    })
}

/// Not in the ledger. That says something only while the ledger has all that was accepted.
fn unknown(gateway: &Gateway, saga_id: SagaId) -> Problem {
    for health in [gateway.bus_health(), gateway.ledger_health()] {
        if let Health::Down { waiting_for } = health {
            let detail = details::ledger_behind(&saga_id, &waiting_for);
            return Problem::unavailable(detail).of_saga(saga_id);
        }
    }
    Problem::new(&kinds::SAGA_NOT_FOUND, details::saga_unknown(&saga_id))
}

/// Asking again would not help, nor would another replica.
fn unreadable(saga_id: SagaId) -> Problem {
    let detail = details::saga_unreadable(&saga_id);
    Problem::new(&kinds::SAGA_UNREADABLE, detail).of_saga(saga_id)
}
