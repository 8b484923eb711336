//! Logs and metrics of a process, set up once at its start.

use std::io::IsTerminal;
use std::str::FromStr;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::tasks::Tasks;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For a terminal.
    #[default]
    Pretty,
    /// One JSON object a line, for a log store.
    Json,
}

/// Durations in seconds: from a fast local broker to a caller's patience.
const SECONDS_BUCKETS: [f64; 12] = [
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];
/// Sizes of batches and packs, in events.
const EVENTS_BUCKETS: [f64; 8] = [1.0, 2.0, 8.0, 32.0, 128.0, 512.0, 1024.0, 4096.0];

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("the log filter {filter:?} is wrong; an example is \"info,saga=debug\"")]
    Filter {
        filter: String,
        source: tracing_subscriber::filter::ParseError,
    },
    #[error("logging is already set up")]
    Logging(#[source] tracing_subscriber::util::TryInitError),
    #[error("metrics cannot be set up")]
    Metrics(#[source] BuildError),
}

/// Each loss of the broker is told by us, once, and by lapin as several errors, and as often as it is
/// tried again. A filter that names lapin itself has the last word.
const QUIET: &str = "lapin=off";

/// Sends log lines to standard error.
pub fn init_logging(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let parsed = parse(filter)?;
    let registry = tracing_subscriber::registry().with(parsed);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let set_up = match format {
        LogFormat::Pretty => registry
            .with(
                lines
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_target(false),
            )
            .try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    set_up.map_err(TelemetryError::Logging)
}

/// Of what the handle renders.
pub const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Between two readings of the metrics, each measured duration is kept; if nobody reads them, they
/// must be summed up before they are many.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Bounds the memory of metrics that nobody reads.
pub fn keep_metrics_small(metrics: PrometheusHandle, tasks: &Tasks) {
    let stop = tasks.stop_token();
    tasks.spawn("metrics upkeep", async move {
        while stop
            .run_until_cancelled(tokio::time::sleep(METRICS_UPKEEP))
            .await
            .is_some()
        {
            metrics.run_upkeep();
        }
    });
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    let of = |text: &str| EnvFilter::from_str(text);
    // Alone first, so that the error is about what was given.
    of(filter)
        .and_then(|_| of(&format!("{QUIET},{filter}")))
        .map_err(|source| TelemetryError::Filter {
            filter: filter.to_owned(),
            source,
        })
}

/// Starts collecting metrics; the handle renders them in the Prometheus text format.
pub fn init_metrics() -> Result<PrometheusHandle, TelemetryError> {
    let suffix = |suffix: &str| Matcher::Suffix(suffix.to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(suffix("_seconds"), &SECONDS_BUCKETS)
        .and_then(|builder| builder.set_buckets_for_metric(suffix("_events"), &EVENTS_BUCKETS))
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(TelemetryError::Metrics)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn lapin_is_quiet_unless_the_filter_names_it() {
        let loud = |filter: &str| {
            let subscriber = tracing_subscriber::registry().with(parse(filter).unwrap());
            tracing::subscriber::with_default(
                subscriber,
                || tracing::event_enabled!(target: "lapin::channel", Level::ERROR),
            )
        };
        assert!(!loud("info"));
        assert!(loud("info,lapin=error"));
        parse("info,saga=loud").unwrap_err();
    }
}
