//! The gateway's own settings, and the socket they lead to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use saga::Tasks;
use saga::retry::RetryPolicy;
use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, de};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::auth::{Auth, AuthConfig, AuthError};

/// Callers give up after some ten seconds; they get the saga's address before that.
const WAIT_LIMIT: Duration = Duration::from_secs(10);
/// Nothing vanishes unless somebody asked for it.
const FOREVER: &str = "forever";

/// Each id of a batch is a saga of its own, all of them run at once, and each needs a place.
pub(crate) const LARGEST_BATCH: usize = 100;

/// The gateway's own settings, as flags.
#[derive(Debug, clap::Args)]
pub struct HttpFlags {
    /// Where to serve HTTP; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, env = "LISTEN_ADDR", value_name = "ADDRESS")]
    listen: Option<String>,
    /// How long a caller waits for the outcome before it gets 202 and the saga's address [default: 10s]
    #[arg(long, env = "WAIT_LIMIT", value_name = "DURATION")]
    wait_limit: Option<String>,
    /// How long the ledger keeps a saga after its end: a duration like 90d, or "forever" [default: forever]
    #[arg(long, env = "KEEP_ENDED", value_name = "DURATION")]
    keep_ended: Option<String>,
    /// Most connections at a time; more wait to be accepted [default: 10000]
    #[arg(long, env = "MAX_CONNECTIONS", value_name = "NUMBER")]
    max_connections: Option<String>,
    /// Most callers that wait for a saga at a time; more get 503 [default: 16384]
    #[arg(long, env = "MAX_SAGAS", value_name = "NUMBER")]
    max_sagas: Option<String>,
    /// Most sagas that one caller, told apart by its token, waits for at a time; more get 429 [default: 256]
    #[arg(long, env = "MAX_SAGAS_PER_CALLER", value_name = "NUMBER")]
    max_sagas_per_caller: Option<String>,
    /// Most requests of one caller in a while, e.g. 100/10s: of a token's `sub`, or of an address where callers are not told apart [default: off]
    #[arg(long, env = "RATE_LIMIT", value_name = "REQUESTS/DURATION")]
    rate_limit: Option<String>,
    /// Public keys of callers' tokens (RS256, EdDSA): a JSON Web Key Set, as a file or a URL [default: none, callers are not told apart]
    #[arg(long, env = "JWT_KEYS", value_name = "FILE|URL")]
    jwt_keys: Option<String>,
    /// Secret of callers' tokens (HS256), in a file of its own [default: none]
    #[arg(long, env = "JWT_SECRET_FILE", value_name = "FILE")]
    jwt_secret_file: Option<String>,
    /// The only issuer whose tokens are taken [default: any that signs with a known key]
    #[arg(long, env = "JWT_ISSUER", value_name = "NAME")]
    jwt_issuer: Option<String>,
    /// The audience that tokens must be for [default: tokens for none in particular]
    #[arg(long, env = "JWT_AUDIENCE", value_name = "NAME")]
    jwt_audience: Option<String>,
    /// Listens on other addresses than loopback without authentication: everybody who reaches them may do everything
    #[arg(
        long,
        env = "INSECURE_NO_AUTH",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    insecure_no_auth: Option<String>,
}

/// The gateway's own settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct HttpConfig {
    pub listen: SocketAddr,
    #[serde(deserialize_with = "saga::config::duration")]
    pub wait_limit: Duration,
    #[serde(deserialize_with = "duration_or_forever")]
    pub keep_ended: Option<Duration>,
    #[serde(flatten)]
    pub limits: Limits,
    #[serde(flatten)]
    pub auth: AuthConfig,
}

/// How much is done at a time. Whatever callers do, memory stays within it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct Limits {
    pub max_connections: usize,
    #[serde(deserialize_with = "places")]
    pub max_sagas: usize,
    #[serde(deserialize_with = "places")]
    pub max_sagas_per_caller: usize,
    /// What is right depends on who calls. Off, one caller can take all that there is, and no more:
    /// the other limits hold.
    #[serde(deserialize_with = "rate_limit")]
    pub rate_limit: Option<RateLimit>,
    /// How long the head of a request may take to arrive, and a connection to be idle.
    #[serde(skip)]
    pub head_within: Duration,
    /// How long its body may take.
    #[serde(skip)]
    pub body_within: Duration,
    /// How long a caller may take nothing of its answer.
    #[serde(skip)]
    pub taken_within: Duration,
}

/// Far longer than any network needs for a head or a body of ours, and so short that who opens
/// connections and sends drops has to work for it.
const HEAD_WITHIN: Duration = Duration::from_secs(20);
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Longer than a network that lost its way needs to find it; meanwhile the answer is kept in memory.
const TAKEN_WITHIN: Duration = Duration::from_secs(20);

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Ten thousand idle ones are some hundred megabytes.
            max_connections: 10_000,
            // Each waiting request holds some kilobytes; beyond this, callers are better served by
            // hearing so at once.
            max_sagas: 16_384,
            // More than a batch of deletions, and a small part of all.
            max_sagas_per_caller: 256,
            rate_limit: None,
            head_within: HEAD_WITHIN,
            body_within: BODY_WITHIN,
            taken_within: TAKEN_WITHIN,
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            wait_limit: WAIT_LIMIT,
            keep_ended: None,
            limits: Limits::default(),
            auth: AuthConfig::default(),
        }
    }
}

/// So many requests in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub requests: u32,
    pub window: Duration,
}

/// With fewer, a batch would be refused however often it is sent.
fn places<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let text = saga::config::text(deserializer)?;
    let places = text.parse().ok().filter(|places| *places >= LARGEST_BATCH);
    places.ok_or_else(|| {
        de::Error::custom(format!(
            "{text:?} is no number from {LARGEST_BATCH}, as many as a batch of deletions takes"
        ))
    })
}

fn rate_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RateLimit>, D::Error> {
    let text = saga::config::text(deserializer)?;
    if text == "off" {
        return Ok(None);
    }
    let parts = text.split_once('/');
    let limit = parts.and_then(|(requests, window)| {
        Some(RateLimit {
            requests: requests.parse().ok().filter(|requests| *requests > 0)?,
            window: humantime::parse_duration(window).ok()?,
        })
    });
    // Below a second there is no telling in whole seconds, which the header fields have.
    let limit = limit.filter(|limit| limit.window >= Duration::from_secs(1));
    limit.map(Some).ok_or_else(|| {
        de::Error::custom(format!(
            "{text:?} is not off, nor so many requests in a second or more like 100/10s"
        ))
    })
}

fn duration_or_forever<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    match saga::config::text(deserializer)?.as_str() {
        FOREVER => Ok(None),
        text => saga::config::duration(text.into_deserializer()).map(Some),
    }
}

/// What one gateway replica is.
#[derive(Clone)]
pub struct GatewayConfig {
    /// Names this replica: in routing keys, hence one word without dots, and as holder of the
    /// ledger's lease. No two running replicas may have the same.
    pub instance: String,
    /// How long a caller waits for the outcome before the answer is `202 Accepted`.
    pub wait_limit: Duration,
    /// How long the ledger keeps a saga after its end; for ever if none.
    pub keep_ended: Option<Duration>,
    pub limits: Limits,
    pub auth: Auth,
    /// The workers': what an operator puts back is watched for as long as these retries take.
    pub retry: RetryPolicy,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            instance: format!("gateway-{:08x}", rand::random::<u32>()),
            wait_limit: WAIT_LIMIT,
            keep_ended: None,
            limits: Limits::default(),
            auth: Auth::default(),
            retry: RetryPolicy::default(),
        }
    }
}

impl GatewayConfig {
    pub fn of(http: &Http, retry: RetryPolicy) -> Self {
        Self {
            retry,
            wait_limit: http.wait_limit,
            keep_ended: http.keep_ended,
            limits: http.limits,
            auth: http.auth.clone(),
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
    keep_ended: Option<Duration>,
    limits: Limits,
    auth: Auth,
    metrics: PrometheusHandle,
    pub(crate) drained: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot listen on {address}; choose another with --listen")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error(transparent)]
    Auth(#[from] AuthError),
}

impl Http {
    pub async fn bind(config: &HttpConfig, metrics: PrometheusHandle) -> Result<Self, BindError> {
        config.auth.allow(config.listen)?;
        let failed = |source| BindError::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let auth = config.auth.open().await?;
        match (auth.is_on(), address.ip().is_loopback()) {
            (true, _) => {}
            (false, true) => info!(
                "no authentication is set up: callers on this machine may do everything, others \
                 cannot connect"
            ),
            (false, false) => warn!(
                "no authentication is set up, as told: everybody who reaches {address} may do \
                 everything"
            ),
        }
        Ok(Self {
            address,
            listener,
            auth,
            wait_limit: config.wait_limit,
            keep_ended: config.keep_ended,
            limits: config.limits,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<RateLimit>, String> {
        let json = serde_json::json!({ "rate_limit": text });
        let limits: Result<Limits, _> = serde_json::from_value(json);
        let limits = limits.map_err(|error| error.to_string())?;
        Ok(limits.rate_limit)
    }

    #[test]
    fn a_batch_finds_room_in_every_limit() {
        let read = |key: &str, places: &str| {
            let json = serde_json::json!({ key: places });
            serde_json::from_value::<Limits>(json).map_err(|error| error.to_string())
        };
        for key in ["max_sagas", "max_sagas_per_caller"] {
            let limits = read(key, "100").unwrap();
            assert_eq!(limits.max_sagas.min(limits.max_sagas_per_caller), 100);
            for wrong in ["99", "0", "-1", "many", ""] {
                let error = read(key, wrong).expect_err(wrong);
                assert!(error.contains("is no number from 100"), "{error}");
            }
        }
    }

    #[test]
    fn a_rate_limit_is_so_many_requests_in_so_long_or_off() {
        let requests = 100;
        for (text, seconds) in [("100/10s", 10), ("100/1m", 60), ("100/1s", 1)] {
            let window = Duration::from_secs(seconds);
            assert_eq!(read(text), Ok(Some(RateLimit { requests, window })));
        }
        assert_eq!(read("off"), Ok(None));
        for wrong in [
            "", "100", "0/1s", "-1/1s", "1/0s", "1/10ms", "1/s", "/1s", "1.5/1s",
        ] {
            let error = read(wrong).expect_err(wrong);
            assert!(error.contains("like 100/10s"), "{error}");
        }
    }
}
