//! A saga as its caller sees it.

use std::borrow::Cow;

use events::progress::{Progress, Status};
use events::{EventId, Reason, RegistId, SagaId, Timestamp, UserTicketId};
use serde::Serialize;

use crate::accepted::{Accepted, End};
use crate::http::envelope::callers_id;
use crate::ledger::{Entry, Row};

/// Where a saga stands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
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
    /// Left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeline: Option<Vec<Happened>>,
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
pub(super) struct Happened {
    id: EventId,
    #[serde(rename = "type")]
    message_type: &'static str,
    source: Cow<'static, str>,
    time: Timestamp,
    causation_id: Option<EventId>,
}

impl View {
    pub(super) fn of(row: &Row, now: Timestamp) -> Self {
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
            timeline: Some(row.timeline.entries().iter().map(Happened::from).collect()),
        }
    }

    /// The ledger has not seen it yet.
    pub(super) fn of_accepted(saga_id: SagaId, accepted: Accepted) -> Self {
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
            timeline: Some(Vec::new()),
        };
        view.learn(accepted.end);
        view
    }

    pub(super) fn without_timeline(self) -> Self {
        Self {
            timeline: None,
            ..self
        }
    }

    /// What this instance heard by itself, and may have told a caller, is not taken back because
    /// the ledger is a moment behind.
    pub(super) fn learn(&mut self, end: Option<End>) {
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
