//! `POST /regist/trans`: buys a ticket and registers with it, both or neither, and waits for the
//! outcome.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use events::choreography::{Outcome, PURCHASE_AND_REGISTER};
use events::progress::Status;
use events::{PurchaseAndRegister, RegistId, SagaId, TicketId, Timestamp, UserId, UserTicketId};
use serde::Serialize;

use crate::accepted::End;
use crate::http::body::{Fields, received};
use crate::http::envelope::{accepted, callers_id, saga_url, success};
use crate::http::idempotency::{Identity, reused};
use crate::http::prefer::Patience;
use crate::http::problem::Problem;
use crate::http::{Gateway, WHOLE_NUMBER};
use crate::ledger::projector::BEHIND;
use crate::starter::{NotStarted, Request, Waited};
use crate::traceparent;

const EXAMPLE: &str = r#"{"userId": 7, "ticketId": 42}"#;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Registered {
    saga_id: SagaId,
    user_ticket_id: UserTicketId,
    regist_id: Option<RegistId>,
    #[serde(serialize_with = "callers_id")]
    user_id: Option<u64>,
    #[serde(serialize_with = "callers_id")]
    ticket_id: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Running {
    saga_id: SagaId,
    status: &'static str,
    user_ticket_id: UserTicketId,
}

pub(in crate::http) async fn post(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let patience = Patience::of(&headers, gateway.starter().wait_limit);
    let answer = trans(&gateway, &headers, &patience, body).await;
    patience.mark(answer.into_response())
}

async fn trans(
    gateway: &Gateway,
    headers: &HeaderMap,
    patience: &Patience,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let identity = Identity::of(headers)?;
    let command = command(&received(body)?, identity)?;
    let saga_id = identity.saga_id();
    let callers_trace = headers
        .get("traceparent")
        .and_then(|text| text.to_str().ok());
    let request = Request {
        saga: &PURCHASE_AND_REGISTER,
        saga_id,
        message: command.clone().into(),
        traceparent: traceparent::adopt(callers_trace),
        patience: patience.limit,
        may_be_known: matches!(identity, Identity::Keyed(_)),
    };
    match gateway.starter().run(request).await {
        Ok(Waited::Ended(end)) => ended(saga_id, &command, &end),
        Ok(Waited::StillRunning) => {
            let running = Running {
                saga_id,
                status: Status::Running.as_str(),
                user_ticket_id: command.user_ticket_id,
            };
            Ok(accepted(saga_id, running))
        }
        Err(problem) => Err(not_started(identity, &problem)),
    }
}

fn command(body: &[u8], identity: Identity) -> Result<PurchaseAndRegister, Problem> {
    let mut fields = Fields::parse(body, EXAMPLE)?;
    let user_id: Option<UserId> = fields.required("userId", WHOLE_NUMBER);
    let ticket_id: Option<TicketId> = fields.required("ticketId", WHOLE_NUMBER);
    let (Some(user_id), Some(ticket_id)) = (user_id, ticket_id) else {
        return Err(fields.problem());
    };
    Ok(PurchaseAndRegister {
        user_id,
        ticket_id,
        user_ticket_id: identity.ticket(&[user_id.0, ticket_id.0]),
    })
}

fn ended(saga_id: SagaId, command: &PurchaseAndRegister, end: &End) -> Result<Response, Problem> {
    match end.outcome {
        Outcome::Completed => Ok(success(Registered {
            saga_id,
            user_ticket_id: command.user_ticket_id,
            regist_id: end.regist_id,
            user_id: Some(command.user_id.0),
            ticket_id: Some(command.ticket_id.0),
        })),
        Outcome::Rejected | Outcome::Compensated => {
            Err(Problem::refused(end.reason.as_ref()).of_saga(saga_id))
        }
    }
}

fn not_started(identity: Identity, why: &NotStarted) -> Problem {
    let saga_id = identity.saga_id();
    match why {
        NotStarted::TooManyWaiting | NotStarted::NotListening => {
            Problem::unavailable(why.to_string())
        }
        NotStarted::OtherRequest => reused(saga_id),
        NotStarted::NotConfirmed(_) | NotStarted::NotInTime => {
            let what_next = match identity {
                Identity::Keyed(_) => {
                    "It may or may not have been accepted: send the request again with the same \
                     Idempotency-Key"
                        .to_owned()
                }
                Identity::Fresh(_) => {
                    let url = saga_url(saga_id);
                    // Past its deadline a command is refused, whenever it may yet arrive.
                    let over = Timestamp::now() + PURCHASE_AND_REGISTER.deadline + BEHIND;
                    format!(
                        "It may or may not have been accepted: GET {url} tells. If that answers \
                         404 after {over}, nothing was done nor will be, and the request may be \
                         sent again"
                    )
                }
            };
            let detail = format!("{}. {what_next}", saga::failure::chain(why));
            Problem::unavailable(detail).of_saga(saga_id)
        }
    }
}
