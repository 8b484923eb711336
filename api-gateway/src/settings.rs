//! The gateway's own settings, and the socket they lead to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use saga::Tasks;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Callers give up after some ten seconds; they get the saga's address before that.
const WAIT_LIMIT: Duration = Duration::from_secs(10);

/// The gateway's own settings, as flags.
#[derive(Debug, clap::Args)]
pub struct HttpFlags {
    /// Where to serve HTTP; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, env = "LISTEN_ADDR", value_name = "ADDRESS")]
    listen: Option<String>,
    /// How long a caller waits for the outcome before it gets 202 and the saga's address [default: 10s]
    #[arg(long, env = "WAIT_LIMIT", value_name = "DURATION")]
    wait_limit: Option<String>,
}

/// The gateway's own settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct HttpConfig {
    pub listen: SocketAddr,
    #[serde(deserialize_with = "saga::config::duration")]
    pub wait_limit: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            wait_limit: WAIT_LIMIT,
        }
    }
}

/// What one gateway replica is.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Names this replica: in routing keys, hence one word without dots, and as holder of the
    /// ledger's lease. No two running replicas may have the same.
    pub instance: String,
    /// How long a caller waits for the outcome before the answer is `202 Accepted`.
    pub wait_limit: Duration,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            instance: format!("gateway-{:08x}", rand::random::<u32>()),
            wait_limit: WAIT_LIMIT,
        }
    }
}

impl GatewayConfig {
    pub fn of(http: &Http) -> Self {
        Self {
            wait_limit: http.wait_limit,
            ..Self::default()
        }
    }
}

/// A bound socket and the metrics it will show. Binding comes first, so that a taken port is an
/// error before anything else is touched.
pub struct Http {
    pub(crate) listener: TcpListener,
    address: SocketAddr,
    wait_limit: Duration,
    metrics: PrometheusHandle,
    pub(crate) drained: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}; choose another with --listen")]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

impl Http {
    pub async fn bind(config: &HttpConfig, metrics: PrometheusHandle) -> Result<Self, BindError> {
        let failed = |source| BindError {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        Ok(Self {
            address: listener.local_addr().map_err(failed)?,
            listener,
            wait_limit: config.wait_limit,
            metrics,
            drained: CancellationToken::new(),
        })
    }

    /// Where callers reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Over when a stop was asked for and the last request is answered: until then, someone has to
    /// bring the sagas to their end for which callers wait.
    pub fn drained(&self) -> impl Future<Output = ()> + Send + 'static {
        self.drained.clone().cancelled_owned()
    }

    pub(crate) fn render_metrics(&self) -> Arc<dyn Fn() -> String + Send + Sync> {
        let metrics = self.metrics.clone();
        Arc::new(move || metrics.render())
    }

    pub(crate) fn keep_metrics_small(&self, tasks: &Tasks) {
        saga::telemetry::keep_metrics_small(self.metrics.clone(), tasks);
    }
}
