//! The gateway's own settings, and binding its address before anything else starts.

use std::net::SocketAddr;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Deserializer, de};
use tokio::net::TcpListener;

use crate::WAIT_LIMIT;

/// The gateway's settings, as flags.
#[derive(Debug, clap::Args)]
pub struct HttpFlags {
    /// Address to serve HTTP on; port 0 picks a free one [default: 127.0.0.1:8080]
    #[arg(long, env = "LISTEN_ADDR", value_name = "HOST:PORT")]
    listen: Option<String>,
    /// How long a caller waits for the outcome before the answer is 202 Accepted [default: 10s]
    #[arg(long, env = "WAIT_LIMIT", value_name = "DURATION")]
    wait_limit: Option<String>,
}

/// The gateway's settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct HttpConfig {
    pub listen: SocketAddr,
    #[serde(deserialize_with = "duration")]
    pub wait_limit: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            wait_limit: WAIT_LIMIT,
        }
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| {
        de::Error::custom(format!(
            "{text:?} is no duration like 500ms, 10s or 1m ({error})"
        ))
    })
}

/// The address cannot be served on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}; is another program using it? Choose another with --listen")]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// A bound address and what is served on it.
#[derive(Debug)]
pub struct Http {
    pub(crate) config: HttpConfig,
    pub(crate) listener: TcpListener,
    pub(crate) metrics: PrometheusHandle,
}

impl Http {
    /// Binds first, so that a taken port is an error before anything has started.
    pub async fn bind(config: HttpConfig, metrics: PrometheusHandle) -> Result<Self, ListenError> {
        let address = config.listen;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| ListenError { address, source })?;
        Ok(Self {
            config,
            listener,
            metrics,
        })
    }

    /// Where callers reach the gateway.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap_or(self.config.listen)
    }
}
