//! What the gateway counts. Handles are made once: looking one up by name for each request or
//! message costs more than counting. Install the recorder before [`Metrics::new`], or they count
//! nowhere.

use std::time::Duration;

use axum::http::Method;
use events::choreography::Outcome;
use events::progress::Status;
use metrics::{
    Counter, Gauge, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) accepted: Counter,
    pub(crate) waiting: Gauge,
    pub(crate) ledger: LedgerMetrics,
}

/// What the projector counts.
#[derive(Clone)]
pub struct LedgerMetrics {
    pub(crate) lag: Gauge,
    pub(crate) leads: Gauge,
    pub(crate) events: Counter,
    pub(crate) undecodable: Counter,
    pub(crate) unsupported: Counter,
    pub(crate) published_again: Counter,
    completed: Counter,
    rejected: Counter,
    compensated: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        describe();
        Self {
            accepted: counter!("gateway_sagas_accepted_total"),
            waiting: gauge!("gateway_waiting_requests"),
            ledger: LedgerMetrics::new(),
        }
    }

    /// Counts one answered request. `route` is the pattern, not the path.
    pub(crate) fn request(method: &Method, route: &str, status: u16, took: Duration) {
        let labels = [
            ("method", method_label(method).to_owned()),
            ("route", route.to_owned()),
            ("status", status.to_string()),
        ];
        histogram!("gateway_request_duration_seconds", &labels).record(took.as_secs_f64());
    }
}

/// A method may be any word that a caller makes up, and each value of a label is a series for ever.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

impl LedgerMetrics {
    pub fn new() -> Self {
        let ended = |outcome: Outcome| counter!("gateway_sagas_ended_total", "outcome" => Status::from(outcome).as_str());
        Self {
            lag: gauge!("ledger_lag_seconds"),
            leads: gauge!("ledger_projecting"),
            events: counter!("ledger_projected_events_total"),
            undecodable: counter!("ledger_undecodable_events_total"),
            unsupported: counter!("ledger_unsupported_events_total"),
            published_again: counter!("ledger_commands_published_again_total"),
            completed: ended(Outcome::Completed),
            rejected: ended(Outcome::Rejected),
            compensated: ended(Outcome::Compensated),
        }
    }

    pub(crate) fn ended(&self, outcome: Outcome) {
        match outcome {
            Outcome::Completed => self.completed.increment(1),
            Outcome::Rejected => self.rejected.increment(1),
            Outcome::Compensated => self.compensated.increment(1),
        }
    }
}

impl Default for LedgerMetrics {
    fn default() -> Self {
        Self::new()
    }
}

fn describe() {
    describe_counter!(
        "gateway_sagas_accepted_total",
        "sagas whose command the broker confirmed"
    );
    describe_counter!(
        "gateway_sagas_ended_total",
        "sagas that the ledger saw end, by outcome"
    );
    describe_gauge!(
        "gateway_waiting_requests",
        "requests that wait for the end of their saga"
    );
    describe_histogram!(
        "gateway_request_duration_seconds",
        "time from request to answer"
    );
    describe_counter!(
        "ledger_commands_published_again_total",
        "commands that nobody answered for longer than a step takes, and that were published again"
    );
    describe_gauge!(
        "ledger_lag_seconds",
        "age of the newest event when it was projected, or of the oldest that waits"
    );
    describe_gauge!(
        "ledger_projecting",
        "1 on the replica that projects the journal"
    );
    describe_counter!(
        "ledger_projected_events_total",
        "events of the journal that are in the ledger"
    );
    describe_counter!(
        "ledger_undecodable_events_total",
        "entries of the journal that are no event of ours"
    );
    describe_counter!(
        "ledger_unsupported_events_total",
        "events that the ledger lost: of a type or version that this build does not read"
    );
}
