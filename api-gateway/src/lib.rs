//! HTTP in, commands out. The gateway mints the ids of a saga, publishes its command, and waits for
//! the event that ends it; what happened in between it reads from the journal into its ledger.
//!
//! To add a route: a file under `http/` whose path mirrors the URL, with the handler and what the
//! OpenAPI document says of it, and one line in `http::routes`.

mod accepted;
mod auth;
mod dead_letters;
mod front;
pub mod http;
pub mod ledger;
mod metrics;
mod places;
mod settings;
mod starter;
mod traceparent;
mod waiters;

use std::sync::Arc;

use saga::Tasks;
use saga::bus::{Bus, Health};
use saga::database::{Database, SchemaChange};
use saga::process::StartError;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use auth::{Auth, AuthConfig, AuthError};
pub use front::{Front, Surroundings};
pub use metrics::LedgerMetrics;
pub use settings::{BindError, GatewayConfig, Http, HttpConfig, HttpFlags, Limits, RateLimit};

use crate::ledger::{Ledger, PostgresLedger, SqliteLedger};

const NAME: &str = "api-gateway";

/// The schema of the ledger, in the order in which it grew.
pub const SCHEMA: [SchemaChange; 4] = [
    SchemaChange {
        version: 1,
        description: "ledger",
        postgres: include_str!("../migrations/postgres/0001_ledger.sql"),
        sqlite: include_str!("../migrations/sqlite/0001_ledger.sql"),
    },
    SchemaChange {
        version: 2,
        description: "saga lists",
        postgres: include_str!("../migrations/postgres/0002_saga_lists.sql"),
        sqlite: include_str!("../migrations/sqlite/0002_saga_lists.sql"),
    },
    SchemaChange {
        version: 3,
        description: "unanswered commands",
        postgres: include_str!("../migrations/postgres/0003_unanswered_commands.sql"),
        sqlite: include_str!("../migrations/sqlite/0003_unanswered_commands.sql"),
    },
    SchemaChange {
        version: 4,
        description: "ledger upkeep",
        postgres: include_str!("../migrations/postgres/0004_ledger_upkeep.sql"),
        sqlite: include_str!("../migrations/sqlite/0004_ledger_upkeep.sql"),
    },
];

/// The ledger in this database.
pub fn ledger(database: &Database) -> Arc<dyn Ledger> {
    match database {
        Database::Postgres(pool) => Arc::new(PostgresLedger::new(pool.clone())),
        Database::Sqlite(pool) => Arc::new(SqliteLedger::new(pool.clone())),
    }
}

/// A gateway that runs.
pub struct Started {
    /// What has to end before the bus may be closed.
    pub loops: Vec<JoinHandle<()>>,
    /// Whether its database can be used.
    pub store: watch::Receiver<Health>,
}

/// Serves HTTP at once, so that `/livez` and `/readyz` answer while the rest is still waited for.
/// Needs the bus to answer callers, and the database only for the ledger; brings its schema up to
/// date. Returns when all of it runs.
pub async fn start(
    config: GatewayConfig,
    http: Http,
    bus: &Arc<dyn Bus>,
    database: &Database,
    tasks: &Tasks,
) -> Result<Started, StartError> {
    let (shown, store) = watch::channel(Health::Down {
        waiting_for: format!("database {NAME} and its schema"),
    });
    let surroundings = Surroundings {
        bus: Arc::clone(bus),
        ledger: ledger(database),
        store: store.clone(),
        render_metrics: http.render_metrics(),
    };
    http.keep_metrics_small(tasks);
    let mut front = Front::open(config, http.listener, http.drained, surroundings, tasks);
    // At the same time, so that it says of both that it waits for them, and callers are answered
    // without the database.
    tokio::try_join!(
        async { front.take_replies(tasks).await.map_err(StartError::from) },
        async {
            database
                .prepare(NAME, &SCHEMA, tasks)
                .await
                .map_err(StartError::from)
        },
    )?;
    follow(database.health(NAME, tasks), shown, tasks);
    let loops = front.project(tasks);
    Ok(Started { loops, store })
}

/// Shows the database's health from now on.
fn follow(mut health: watch::Receiver<Health>, shown: watch::Sender<Health>, tasks: &Tasks) {
    tasks.spawn("health of the ledger", async move {
        loop {
            shown.send_replace(health.borrow_and_update().clone());
            // An error means that the other task ended, which it does at the stop.
            if health.changed().await.is_err() {
                return;
            }
        }
    });
}
