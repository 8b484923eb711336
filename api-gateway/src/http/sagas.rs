//! `GET /sagas/{id}`: where a saga stands, what it waits for, and what happened so far.

use std::borrow::Cow;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use events::progress::{Progress, Status};
use events::{EventId, Reason, RegistId, SagaId, Timestamp, UserTicketId};
use saga::bus::Health;
use saga::failure::chain;
use serde::Serialize;
use tracing::{error, warn};
use uuid::Uuid;

use super::Gateway;
use super::envelope::{callers_id, success};
use super::problem::{FieldError, MESSAGE_HANDLING_FAILED, NOT_FOUND, Problem};
use crate::accepted::{Accepted, End};
use crate::ledger::{Entry, LedgerError, Row};

/// A saga as its caller sees it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    saga_id: SagaId,
    saga: &'static str,
    status: &'static str,
    reason: Option<Reason>,
    waiting_for: Option<WaitingFor>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    #[serde(serialize_with = "callers_id")]
    user_id: Option<u64>,
    #[serde(serialize_with = "callers_id")]
    ticket_id: Option<u64>,
    user_ticket_id: Option<UserTicketId>,
    regist_id: Option<RegistId>,
    timeline: Vec<Happened>,
}

#[derive(Serialize)]
struct WaitingFor {
    service: &'static str,
    message: &'static str,
    since: Timestamp,
    overdue: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Happened {
    id: EventId,
    #[serde(rename = "type")]
    message_type: &'static str,
    source: Cow<'static, str>,
    time: Timestamp,
    causation_id: Option<EventId>,
}

pub(super) async fn get(
    State(gateway): State<Gateway>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let saga_id = id(path)?;
    let accepted = gateway.starter().accepted.get(saga_id);
    let view = match (gateway.ledger().find(saga_id).await, accepted) {
        (Ok(Some(row)), accepted) => {
            let mut view = View::of(&row, Timestamp::now());
            view.learn(accepted.and_then(|accepted| accepted.end));
            view
        }
        (Ok(None) | Err(_), Some(accepted)) => View::of_accepted(saga_id, accepted),
        (Ok(None), None) => {
            return Err(unknown(
                saga_id,
                [gateway.bus_health(), gateway.ledger_health()],
            ));
        }
        (Err(LedgerError::Row(problem)), None) => {
            error!(%saga_id, error = chain(&problem), "a row of the ledger cannot be read: repair or delete it");
            return Err(unreadable(saga_id));
        }
        (Err(problem), None) => {
            warn!(%saga_id, error = chain(&problem), "a saga cannot be looked up");
            let detail = "the ledger cannot be read now; ask again";
            return Err(Problem::unavailable(detail).of_saga(saga_id));
        }
    };
    Ok(success(view))
}

fn id(path: Result<Path<String>, PathRejection>) -> Result<SagaId, Problem> {
    let text = path.map_or_else(|rejection| rejection.to_string(), |Path(text)| text);
    Uuid::parse_str(&text).map(SagaId).map_err(|_| {
        let detail = format!("must be the UUID of a saga, but is {text:?}");
        let field = "id".to_owned();
        Problem::invalid(format!("id {detail}"), vec![FieldError { field, detail }])
    })
}

/// Not in the ledger. That says something only while the ledger has all that was accepted.
fn unknown(saga_id: SagaId, needs: [Health; 2]) -> Problem {
    for health in needs {
        if let Health::Down { waiting_for } = health {
            let detail = format!(
                "no saga {saga_id} is known yet, but the ledger is behind: it waits for \
                 {waiting_for}. Ask again"
            );
            return Problem::unavailable(detail).of_saga(saga_id);
        }
    }
    Problem::new(
        StatusCode::NOT_FOUND,
        "saga-not-found",
        "No such saga",
        NOT_FOUND,
        format!(
            "no saga {saga_id} is known; one just accepted by another gateway shows in a moment"
        ),
    )
}

/// Asking again would not help, nor would another replica.
fn unreadable(saga_id: SagaId) -> Problem {
    let problem = Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "saga-unreadable",
        "The record of the saga cannot be read",
        MESSAGE_HANDLING_FAILED,
        format!(
            "the ledger has saga {saga_id}, but this gateway cannot read its row, which another \
             build or a person wrote; an operator has to upgrade the gateway, or repair or delete \
             the row"
        ),
    );
    problem.of_saga(saga_id)
}

impl View {
    fn of(row: &Row, now: Timestamp) -> Self {
        let progress = row.progress();
        let ended_at = match progress {
            Progress::Ended { at, .. } => Some(at),
            Progress::Waiting { .. } | Progress::Unknown => None,
        };
        Self {
            saga_id: row.saga_id,
            saga: row.kind(),
            status: progress.status().as_str(),
            reason: row.reason.clone(),
            waiting_for: WaitingFor::of(&progress, now),
            started_at: row.started_at(),
            ended_at,
            user_id: row.user_id.map(|id| id.0),
            ticket_id: row.ticket_id.map(|id| id.0),
            user_ticket_id: row.user_ticket_id,
            regist_id: row.regist_id,
            timeline: row.timeline.entries().iter().map(Happened::from).collect(),
        }
    }

    /// The ledger has not seen it yet.
    fn of_accepted(saga_id: SagaId, accepted: Accepted) -> Self {
        let mut view = Self {
            saga_id,
            saga: accepted.saga.name,
            status: Status::Running.as_str(),
            reason: None,
            waiting_for: None,
            started_at: Some(accepted.started_at),
            ended_at: None,
            user_id: accepted.user_id.map(|id| id.0),
            ticket_id: accepted.ticket_id.map(|id| id.0),
            user_ticket_id: accepted.user_ticket_id,
            regist_id: None,
            timeline: Vec::new(),
        };
        view.learn(accepted.end);
        view
    }

    /// What this instance heard by itself, and may have told a caller, is not taken back because
    /// the ledger is a moment behind.
    fn learn(&mut self, end: Option<End>) {
        let (Some(end), None) = (end, self.ended_at) else {
            return;
        };
        self.status = Status::from(end.outcome).as_str();
        self.waiting_for = None;
        self.ended_at = Some(end.at);
        self.regist_id = self.regist_id.or(end.regist_id);
        self.reason = self.reason.take().or(end.reason);
    }
}

impl WaitingFor {
    fn of(progress: &Progress, now: Timestamp) -> Option<Self> {
        let Progress::Waiting { step, since } = progress else {
            return None;
        };
        Some(Self {
            service: step.service.0,
            message: step.on.name(),
            since: *since,
            overdue: progress.is_overdue(now),
        })
    }
}

impl From<&Entry> for Happened {
    fn from(entry: &Entry) -> Self {
        Self {
            id: entry.id,
            message_type: entry.message_type.name(),
            source: entry.source.clone(),
            time: entry.time,
            causation_id: entry.causation_id,
        }
    }
}
