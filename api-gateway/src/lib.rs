//! HTTP in, commands out. The gateway mints the ids of a saga, publishes its command, and waits for
//! the event that ends it; what happened in between it reads from the journal into its ledger.
//!
//! To add a route: a file under `http/` whose path mirrors the URL, and one line in
//! [`http::router`].

mod accepted;
pub mod http;
pub mod ledger;
mod metrics;
mod settings;
mod starter;
mod traceparent;
mod waiters;

use std::sync::Arc;
use std::time::Duration;

use saga::Tasks;
use saga::bus::{Bus, Health, Queue};
use saga::database::{Database, SchemaChange};
use saga::process::StartError;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use metrics::{LedgerMetrics, Metrics};
pub use settings::{Http, HttpConfig, HttpFlags, ListenError};

use crate::accepted::AcceptedSagas;
use crate::http::Gateway;
use crate::ledger::projector::Projector;
use crate::ledger::{Ledger, PostgresLedger, SqliteLedger};
use crate::starter::Starter;
use crate::waiters::Waiters;

/// The schema of the ledger, in the order in which it grew.
pub const SCHEMA: [SchemaChange; 1] = [SchemaChange {
    version: 1,
    description: "ledger",
    postgres: include_str!("../migrations/postgres/0001_ledger.sql"),
    sqlite: include_str!("../migrations/sqlite/0001_ledger.sql"),
}];

/// Callers give up after some ten seconds; they get the saga's address before that.
pub const WAIT_LIMIT: Duration = Duration::from_secs(10);

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

/// What the gateway stands on.
#[derive(Clone)]
pub struct Surroundings {
    pub bus: Arc<dyn Bus>,
    pub ledger: Arc<dyn Ledger>,
    /// Whether the ledger's database answers.
    pub store: watch::Receiver<Health>,
    /// The text of `/metrics`. Install its recorder before [`start`].
    pub render_metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// Starts the gateway on its address and database; see [`serve`].
pub async fn start(
    http: Http,
    bus: &Arc<dyn Bus>,
    database: &Database,
    tasks: &Tasks,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    let config = GatewayConfig {
        wait_limit: http.config.wait_limit,
        ..GatewayConfig::default()
    };
    let ledger: Arc<dyn Ledger> = match database {
        Database::Postgres(pool) => Arc::new(PostgresLedger::new(pool.clone())),
        Database::Sqlite(pool) => Arc::new(SqliteLedger::new(pool.clone())),
    };
    let surroundings = Surroundings {
        bus: Arc::clone(bus),
        ledger,
        store: database.health("api-gateway", tasks),
        render_metrics: Arc::new(move || http.metrics.render()),
    };
    let prepared = async { Ok(database.prepare("api-gateway", &SCHEMA, tasks).await?) };
    serve(config, http.listener, surroundings, prepared, tasks).await
}

/// Serves HTTP on the listener, hands ends of sagas to waiting callers, and projects the journal,
/// until the tasks are stopped. Serves at once, so that `/livez` and `/readyz` answer while the
/// broker and the database are still waited for; returns when the replies are consumed.
pub async fn serve(
    config: GatewayConfig,
    listener: TcpListener,
    surroundings: Surroundings,
    ledger_prepared: impl Future<Output = Result<(), StartError>>,
    tasks: &Tasks,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    let metrics = Metrics::new();
    let waiters = Waiters::new(metrics.waiting.clone());
    let accepted = Arc::new(AcceptedSagas::default());
    let starter = Starter {
        bus: Arc::clone(&surroundings.bus),
        instance: config.instance.clone(),
        wait_limit: config.wait_limit,
        waiters: waiters.clone(),
        accepted: Arc::clone(&accepted),
        started: metrics.accepted.clone(),
        stop: tasks.stop_token(),
    };
    let gateway = Gateway::new(starter, &surroundings);
    let drained = CancellationToken::new();
    let served = http::serve(listener, http::router(gateway), tasks.stop_token());
    let server = tasks.spawn("http server", {
        let drained = drained.clone().drop_guard();
        async move {
            let _drained = drained;
            served.await;
        }
    });
    ledger_prepared.await?;
    let queue = Queue::Replies {
        instance: config.instance.clone(),
    };
    let consumer = surroundings.bus.consume(queue).await?;
    // Replies are taken until the last waiting request is answered.
    let replies = waiters::take_replies(consumer, waiters, accepted, drained);
    let projector = Projector {
        bus: surroundings.bus,
        ledger: surroundings.ledger,
        owner: config.instance,
        metrics: metrics.ledger,
    };
    Ok(vec![
        server,
        tasks.spawn("replies", replies),
        tasks.spawn("ledger projector", projector.run(tasks.stop_token())),
    ])
}
