//! Connections: so many at a time, each with so long to send the head of a request, so long to take
//! something of its answer, and at a stop so long to get it. What a request sends after its head is [`super::body`]'s to bound.

use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::settings::Limits;

/// How long requests may hold up a stop: longer than waiting callers linger, shorter than
/// [`saga::SHUTDOWN_LIMIT`].
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// The largest head, and what is read ahead of a connection. Room for a long token and cookies.
const LARGEST_HEAD: usize = 32 * 1024;
/// The smallest pause after the system had no room for another connection.
const OUT_OF_ROOM: Duration = Duration::from_millis(100);

/// From where a request came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Serves until the stop, then answers what is in flight, within a limit. Who connects while there
/// are as many connections as may be waits in the queue of the system.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                told(ended);
                continue;
            }
            accepted = listener.accept(), if connections.len() < limits.max_connections => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (router, peer) = (router.clone(), Peer(peer.ip()));
                connections.spawn(serve_one(stream, peer, router, limits, stop.clone()));
            }
            Err(error) => {
                // Mostly: no more file descriptors. They come back as connections end.
                warn!(%error, "a connection cannot be accepted");
                sleep(OUT_OF_ROOM).await;
            }
        }
    }
    drop(listener);
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            told(ended);
        }
    };
    if timeout(DRAIN_LIMIT, drained).await.is_err() {
        warn!("requests were still in flight {DRAIN_LIMIT:?} after the stop");
    }
}

async fn serve_one(
    stream: TcpStream,
    peer: Peer,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    // An answer is one small write; waiting to fill a packet would only delay it.
    if let Err(error) = stream.set_nodelay(true) {
        warn!(%error, "TCP_NODELAY is not set");
    }
    // Only while a write waits for the caller to read is there a timer.
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(limits.taken_within));
    let router = TowerToHyperService::new(router);
    let answers = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_within)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(Box::pin(stream)), answers);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!(%error, "a connection ended early");
    }
}

/// A crash of a handler ends its connection and nothing else; the panic hook has reported it.
fn told(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        warn!(%error, "a request crashed");
    }
}
