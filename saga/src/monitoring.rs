//! A worker's pages for machines: `/livez`, `/readyz` and `/metrics`, on an address of their own that
//! is off unless it is set. The gateway has the same pages among its routes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::bus::Health;
use crate::tasks::Tasks;
use crate::telemetry::{METRICS_CONTENT_TYPE, keep_metrics_small};

/// A caller that has not said what it wants by now holds a connection for nothing.
const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// Out of sockets, say: trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for metrics; choose another with --metrics-listen")]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

/// What the pages tell.
pub struct Monitored {
    pub metrics: PrometheusHandle,
    pub bus: watch::Receiver<Health>,
    pub store: watch::Receiver<Health>,
    /// Cancelled once every queue is worked off.
    pub started: CancellationToken,
}

/// The state of one dependency, as `/readyz` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<String>,
}

impl From<Health> for Dependency {
    fn from(health: Health) -> Self {
        match health {
            Health::Up => Self {
                state: "up",
                waiting_for: None,
            },
            Health::Down { waiting_for } => Self {
                state: "down",
                waiting_for: Some(waiting_for),
            },
        }
    }
}

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    bus: Dependency,
    store: Dependency,
}

/// Binding comes first, so that a taken port is an error before anything else is touched.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| BindError { address, source })
}

/// Serves the pages until the stop.
pub fn serve(listener: TcpListener, monitored: Monitored, tasks: &Tasks) {
    keep_metrics_small(monitored.metrics.clone(), tasks);
    let (monitored, stop, connections) = (Arc::new(monitored), tasks.stop_token(), tasks.clone());
    tasks.spawn("monitoring", async move {
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, _)) => {
                    let answered = answer(stream, Arc::clone(&monitored));
                    let stop = stop.clone();
                    connections.spawn("monitoring connection", async move {
                        stop.run_until_cancelled(answered).await;
                    });
                }
                Err(error) => {
                    warn!(%error, "a monitoring connection is not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
}

async fn answer(stream: TcpStream, monitored: Arc<Monitored>) {
    let pages = service_fn(move |request: Request<hyper::body::Incoming>| {
        let response = monitored.page(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .serve_connection(TokioIo::new(stream), pages);
    if let Err(error) = served.await {
        debug!(%error, "a monitoring connection broke");
    }
}

impl Monitored {
    fn page(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return page(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n");
        }
        match path {
            "/livez" => page(StatusCode::OK, "application/json", r#"{"status":"alive"}"#),
            "/readyz" => self.readiness(),
            "/metrics" => page(StatusCode::OK, METRICS_CONTENT_TYPE, self.metrics.render()),
            _ => page(
                StatusCode::NOT_FOUND,
                "text/plain",
                "there are /livez, /readyz and /metrics\n",
            ),
        }
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        let (bus, store) = (self.bus.borrow().clone(), self.store.borrow().clone());
        let ready = bus.is_up() && store.is_up() && self.started.is_cancelled();
        let (code, status) = match ready {
            true => (StatusCode::OK, "ready"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "waiting"),
        };
        let readiness = Readiness {
            status,
            bus: bus.into(),
            store: store.into(),
        };
        let json = serde_json::to_vec(&readiness).expect("strings always serialize");
        page(code, "application/json", json)
    }
}

fn page(code: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = code;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let sent = stream.write_all(request.as_bytes()).await;
        sent.expect("a request");
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer).await;
        read.expect("an answer");
        answer
    }

    #[tokio::test]
    async fn readiness_names_bus_and_database_and_comes_with_the_start() {
        let tasks = Tasks::new();
        let listener = bind("127.0.0.1:0".parse().expect("an address")).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let waiting_for = "database x: refused".to_owned();
        let (store, bus) = (
            watch::Sender::new(Health::Down { waiting_for }),
            watch::Sender::new(Health::Up),
        );
        let monitored = Monitored {
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            bus: bus.subscribe(),
            store: store.subscribe(),
            started: CancellationToken::new(),
        };
        let started = monitored.started.clone();
        serve(listener, monitored, &tasks);
        let waiting = get(address, "/readyz").await;
        assert!(waiting.starts_with("HTTP/1.1 503"), "{waiting}");
        let body = r#"{"status":"waiting","bus":{"state":"up"},"store":{"state":"down","waitingFor":"database x: refused"}}"#;
        assert!(waiting.ends_with(body), "{waiting}");
        store.send_replace(Health::Up);
        let starting = get(address, "/readyz").await;
        assert!(starting.starts_with("HTTP/1.1 503"), "{starting}");
        started.cancel();
        for (path, status) in [
            ("/readyz", 200),
            ("/livez", 200),
            ("/metrics", 200),
            ("/", 404),
        ] {
            let answer = get(address, path).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{answer}"
            );
        }
        tasks.stop();
        tasks.join(crate::SHUTDOWN_LIMIT).await.expect("it stops");
        assert!(TcpStream::connect(address).await.is_err(), "still open");
    }
}
