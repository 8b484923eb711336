//! Databases of the benchmark's own: created on the given server, dropped at the end, and read for
//! the invariants.

use std::str::FromStr;
use std::time::{Duration, Instant};

use events::SagaId;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use uuid::Uuid;

use crate::failure::BenchError;

/// How long the ledger may take to catch up with a load.
const LEDGER_LIMIT: Duration = Duration::from_secs(120);
/// Between two looks at the ledger: an index lookup of a few rows.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The databases of one system, by URL.
#[derive(Clone, Debug)]
pub(crate) struct Databases {
    pub(crate) ticket: String,
    pub(crate) regist: String,
    pub(crate) gateway: String,
}

impl Databases {
    /// Creates the three databases, named `<prefix>_ticket` and so on.
    pub(crate) async fn create(server: &str, prefix: &str) -> Result<Self, BenchError> {
        let [ticket, regist, gateway] = names(prefix);
        Ok(Self {
            ticket: create(server, &ticket).await?,
            regist: create(server, &regist).await?,
            gateway: create(server, &gateway).await?,
        })
    }

    /// Drops what [`Self::create`] created, if it did.
    pub(crate) async fn drop(server: &str, prefix: &str) -> Result<(), BenchError> {
        for name in names(prefix) {
            drop(server, &name).await?;
        }
        Ok(())
    }
}

fn names(prefix: &str) -> [String; 3] {
    ["ticket", "regist", "gateway"].map(|service| format!("{prefix}_{service}"))
}

/// Creates a database and returns its URL.
pub(crate) async fn create(server: &str, name: &str) -> Result<String, BenchError> {
    let options = PgConnectOptions::from_str(server)?;
    let mut connection = options.connect().await?;
    let create = format!("CREATE DATABASE \"{name}\"");
    sqlx::query(&create).execute(&mut connection).await?;
    connection.close().await?;
    Ok(options.database(name).to_url_lossy().to_string())
}

/// Drops a database, whoever is still connected; one that is not there is no error.
pub(crate) async fn drop(server: &str, name: &str) -> Result<(), BenchError> {
    let mut connection = PgConnection::connect(server).await?;
    let drop = format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)");
    sqlx::query(&drop).execute(&mut connection).await?;
    Ok(connection.close().await?)
}

/// Waits until the ledger shows these sagas as over, and says how long that took. A gateway that has
/// just been started may not have its tables yet.
pub(crate) async fn wait_for_ledger(
    gateway: &str,
    sagas: &[SagaId],
) -> Result<Duration, BenchError> {
    const IS_THERE: &str = "SELECT to_regclass('saga') IS NOT NULL";
    const OVER: &str = "SELECT count(*) FROM saga \
        WHERE saga_id = ANY($1) AND status NOT IN ('running', 'compensating')";
    let ids: Vec<Uuid> = sagas.iter().map(|saga| saga.0).collect();
    let mut connection = PgConnection::connect(gateway).await?;
    let since = Instant::now();
    loop {
        if sqlx::query_scalar(IS_THERE)
            .fetch_one(&mut connection)
            .await?
        {
            let over: i64 = sqlx::query_scalar(OVER)
                .bind(&ids)
                .fetch_one(&mut connection)
                .await?;
            if usize::try_from(over) == Ok(ids.len()) {
                connection.close().await?;
                return Ok(since.elapsed());
            }
        }
        if since.elapsed() > LEDGER_LIMIT {
            return Err(BenchError::LedgerBehind {
                after: LEDGER_LIMIT,
            });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
