//! A fresh ledger for each test, in either database, and gone afterwards.

use std::sync::Arc;
use std::time::Duration;

use api_gateway::ledger::rebuild::{Generations, on_postgres, on_sqlite};
use api_gateway::ledger::{Ledger, PostgresLedger, SqliteLedger};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, PgPool, SqlitePool};

const FILE: &str = "ledger.sqlite";

/// A test of each claim, on each store.
macro_rules! on_both_stores {
    ($($claim:ident)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $claim() {
                let database = crate::databases::OnSqlite::new().await;
                super::$claim(&database.ledger()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $claim() {
                let database = crate::databases::OnPostgres::new().await;
                super::$claim(&database.ledger()).await;
            })*
        }
    };
}
pub(crate) use on_both_stores;

pub(crate) struct OnSqlite {
    pool: SqlitePool,
    folder: tempfile::TempDir,
}

impl OnSqlite {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join(FILE))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .unwrap();
        for change in api_gateway::SCHEMA {
            let made = sqlx::raw_sql(change.sqlite).execute(&pool).await;
            made.unwrap();
        }
        Self { pool, folder }
    }

    pub(crate) async fn generations(&self) -> Generations {
        on_sqlite(&self.folder.path().join(FILE)).await.unwrap()
    }

    pub(crate) fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::new(SqliteLedger::new(self.pool.clone()))
    }

    pub(crate) async fn execute(&self, sql: &'static str) {
        sqlx::query(sql).execute(&self.pool).await.unwrap();
    }

    pub(crate) async fn texts(&self, sql: &'static str) -> Vec<Option<String>> {
        sqlx::query_scalar(sql).fetch_all(&self.pool).await.unwrap()
    }
}

pub(crate) struct OnPostgres {
    pool: PgPool,
    server: PgConnectOptions,
    name: String,
}

impl OnPostgres {
    pub(crate) async fn new() -> Self {
        let url = std::env::var("TEST_DATABASE_URL")
            .expect("run ./test, or set TEST_DATABASE_URL to a PostgreSQL superuser's URL");
        let server: PgConnectOptions = url.parse().unwrap();
        let name = format!("gateway_test_{:016x}", rand::random::<u64>());
        let mut connection = server.connect().await.unwrap();
        sqlx::query(&format!("CREATE DATABASE {name}"))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        let pool = PgPool::connect_with(server.clone().database(&name))
            .await
            .unwrap();
        for change in api_gateway::SCHEMA {
            let made = sqlx::raw_sql(change.postgres).execute(&pool).await;
            made.unwrap();
        }
        Self { pool, server, name }
    }

    pub(crate) async fn generations(&self) -> Generations {
        let url = self.server.clone().database(&self.name).to_url_lossy();
        on_postgres(url.as_str()).await.unwrap()
    }

    pub(crate) fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::new(PostgresLedger::new(self.pool.clone()))
    }

    pub(crate) async fn execute(&self, sql: &'static str) {
        sqlx::query(sql).execute(&self.pool).await.unwrap();
    }

    pub(crate) async fn texts(&self, sql: &'static str) -> Vec<Option<String>> {
        sqlx::query_scalar(sql).fetch_all(&self.pool).await.unwrap()
    }
}

impl OnPostgres {
    /// What the server's processes have used for this database so far; zero on another machine.
    pub(crate) async fn cpu(&self) -> Duration {
        let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()";
        let pids: Vec<i32> = sqlx::query_scalar(sql).fetch_all(&self.pool).await.unwrap();
        pids.iter().map(|pid| cpu_of(pid.unsigned_abs())).sum()
    }
}

/// User and system time of a process, by Linux's clock of hundredths of a second.
pub(crate) fn cpu_of(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    Duration::from_millis(
        ticks
            .filter_map(|ticks| ticks.parse::<u64>().ok())
            .sum::<u64>()
            * 10,
    )
}

impl Drop for OnPostgres {
    /// Also after a failed test. On a thread of its own, because dropping cannot wait.
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut connection = server.connect().await.unwrap();
                let sql = format!("DROP DATABASE {name} WITH (FORCE)");
                sqlx::query(&sql).execute(&mut connection).await.unwrap();
            });
        });
        dropped.join().expect("the test's database is dropped");
    }
}
