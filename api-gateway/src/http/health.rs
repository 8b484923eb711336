//! For machines that watch over machines: is it alive, is it ready and if not what is it waiting
//! for, and its metrics.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use saga::monitoring::Dependency;
use saga::telemetry::METRICS_CONTENT_TYPE;
use serde::Serialize;

use super::Gateway;
use crate::http::openapi::Operation;

pub(in crate::http) const LIVEZ: Operation = Operation::plain(
    "livez",
    "Whether the process answers",
    "application/json",
    "Alive",
);
pub(in crate::http) const READYZ: Operation =
    Operation::ready("readyz", "Whether callers can be served", "Readiness");
pub(in crate::http) const METRICS: Operation = Operation::plain(
    "metrics",
    "Prometheus metrics",
    METRICS_CONTENT_TYPE,
    "Text",
);
use super::problem::Problem;
use crate::auth::Caller;

#[derive(Serialize)]
struct Liveness {
    status: &'static str,
}

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    bus: Dependency,
    store: Dependency,
    /// For people: callers get their answers without it, so it makes nobody unready.
    ledger: Dependency,
}

/// Restarting the process helps nothing as long as it answers at all.
pub(super) async fn livez() -> Response {
    Json(Liveness { status: "alive" }).into_response()
}

pub(super) async fn readyz(State(gateway): State<Gateway>) -> Response {
    let (bus, store) = (gateway.bus_health(), gateway.store_health());
    let ready = bus.is_up() && store.is_up() && !gateway.is_stopping();
    let status = match ready {
        true => "ready",
        false if gateway.is_stopping() => "stopping",
        false => "waiting",
    };
    let readiness = Readiness {
        status,
        bus: bus.into(),
        store: store.into(),
        ledger: gateway.ledger_health().into(),
    };
    let code = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, Json(readiness)).into_response()
}

/// For operators, who alone may know how much is sold; what gathers metrics can bring a token.
pub(super) async fn metrics(
    State(gateway): State<Gateway>,
    caller: Caller,
) -> Result<Response, Problem> {
    caller.check_operator()?;
    let kind = [(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)];
    Ok((kind, gateway.render_metrics()).into_response())
}
