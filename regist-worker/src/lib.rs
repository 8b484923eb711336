//! Registers users for events. Owns `regist`, and with it the business rule.
//!
//! `decide.rs` has the rules and no I/O; `store/` has all the SQL. The runtime in `saga` does the
//! rest. This is the folder to copy for a new participant: the README says what of it stays.

pub mod decide;
mod store;

pub use store::memory;

use std::sync::Arc;

use events::query::Regist;
use saga::Tasks;
use saga::bus::Bus;
use saga::database::{Database, SchemaChange};
use saga::decision::Moment;
use saga::participant::{self, LoopOptions, Worker};
use saga::process::StartError;
use saga::reads::{self, Reads};
use saga::store::Store;
use tokio::task::JoinHandle;

use decide::RegistDecider;

/// The schema, in the order in which it grew.
pub const SCHEMA: [SchemaChange; 3] = [
    SchemaChange {
        version: 1,
        description: "decision",
        postgres: include_str!("../migrations/postgres/0001_decision.sql"),
        sqlite: include_str!("../migrations/sqlite/0001_decision.sql"),
    },
    SchemaChange {
        version: 2,
        description: "regist",
        postgres: include_str!("../migrations/postgres/0002_regist.sql"),
        sqlite: include_str!("../migrations/sqlite/0002_regist.sql"),
    },
    SchemaChange {
        version: 3,
        description: "places",
        postgres: include_str!("../migrations/postgres/0003_places.sql"),
        sqlite: include_str!("../migrations/sqlite/0003_places.sql"),
    },
];

/// The participant's storage in this database.
pub fn store(database: &Database) -> Box<dyn Store<RegistDecider>> {
    match database {
        Database::Postgres(pool) => Box::new(store::PostgresStore(pool.clone())),
        Database::Sqlite(pool) => Box::new(store::SqliteStore(pool.clone())),
    }
}

/// The registrations in this database, as others read them.
pub fn reads(database: &Database) -> Box<dyn Reads<Regist>> {
    match database {
        Database::Postgres(pool) => Box::new(store::PostgresStore(pool.clone())),
        Database::Sqlite(pool) => Box::new(store::SqliteStore(pool.clone())),
    }
}

/// Waits for the database, brings its schema up to date, and starts working the queues off.
pub async fn start(
    bus: &Arc<dyn Bus>,
    database: &Database,
    options: &LoopOptions,
    tasks: &Tasks,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    database.prepare("regist-worker", &SCHEMA, tasks).await?;
    let worker = Worker {
        decider: RegistDecider,
        store: store(database),
        clock: Moment::now,
    };
    let mut running = participant::start(worker, bus, options, tasks).await?;
    running.push(reads::start(reads(database), bus, tasks).await?);
    Ok(running)
}
