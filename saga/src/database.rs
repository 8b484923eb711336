//! A service's own database: PostgreSQL in production, SQLite when everything runs in one process.
//!
//! Opening never fails because the server is not there yet: a service waits for its database, says
//! so, and goes on when it comes up.

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::bus::Health;
use crate::failure::{chain, passes};
use crate::retry::Backoff;
use crate::tasks::Tasks;

/// Both kinds, as concrete pools: the SQL for each stands side by side in the stores.
#[derive(Clone, Debug)]
pub enum Database {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// One schema change, for both databases. Never edited once released; add another.
#[derive(Clone, Copy, Debug)]
pub struct SchemaChange {
    pub version: i64,
    pub description: &'static str,
    pub postgres: &'static str,
    pub sqlite: &'static str,
}

#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("a database URL starts with postgres:// or sqlite:, this one with {scheme:?}")]
    UnknownScheme { scheme: String },
    #[error("the database URL is wrong")]
    Url(#[source] sqlx::Error),
    /// Final: the schema was made by another build.
    #[error("the database cannot be brought to the schema of this build")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    #[error("stopped while waiting for the database")]
    Stopped,
}

/// Each participant loop needs one connection at a time; the rest is for health and reads.
const POSTGRES_CONNECTIONS: u32 = 8;
/// A server that does not hand out a connection in this time counts as away.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// One writer at a time, for a moment each: longer than any batch takes.
const SQLITE_BUSY_LIMIT: Duration = Duration::from_secs(5);
/// How soon an operator sees that a database went away while nothing was using it.
const HEALTH_INTERVAL: Duration = Duration::from_secs(2);

/// Every hot query is an index lookup: each row that is asked for is looked up, whatever the planner
/// believes of a table that fills at thousands of rows a second. The plan is made once, so a
/// statement must have no other way to join (`LATERAL … LIMIT 1`, or a join on a primary key).
const INDEX_LOOKUPS_ONLY: [(&str, &str); 4] = [
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];

impl Database {
    /// Whether a database may be there, so that a setting can be refused by its name.
    pub fn check_url(url: &str) -> Result<(), DatabaseError> {
        match url.split_once(':').map_or("", |(scheme, _)| scheme) {
            "postgres" | "postgresql" => PgConnectOptions::from_str(url).map(drop),
            "sqlite" => SqliteConnectOptions::from_str(url).map(drop),
            scheme => {
                return Err(DatabaseError::UnknownScheme {
                    scheme: scheme.to_owned(),
                });
            }
        }
        .map_err(DatabaseError::Url)
    }

    /// Prepares the pool; connects when first used. `application` shows in `pg_stat_activity`.
    pub fn open(url: &str, application: &str) -> Result<Self, DatabaseError> {
        match url.split_once(':').map_or("", |(scheme, _)| scheme) {
            "postgres" | "postgresql" => open_postgres(url, application).map(Self::Postgres),
            "sqlite" => open_sqlite(url).map(Self::Sqlite),
            scheme => Err(DatabaseError::UnknownScheme {
                scheme: scheme.to_owned(),
            }),
        }
    }

    /// Waits for the database and brings its schema up to date. `name` is for the log.
    pub async fn prepare(
        &self,
        name: &str,
        changes: &[SchemaChange],
        tasks: &Tasks,
    ) -> Result<(), DatabaseError> {
        let (stop, mut backoff, mut told) = (tasks.stop_token(), Backoff::new(), false);
        loop {
            let reason = match stop.run_until_cancelled(self.migrate(changes)).await {
                None => return Err(DatabaseError::Stopped),
                Some(Ok(())) => {
                    info!(database = name, "the database is ready");
                    return Ok(());
                }
                Some(Err(error)) => waits_for(error)?,
            };
            if !told {
                warn!(database = name, reason, "waiting for the database");
                told = true;
            }
            tokio::select! {
                () = stop.cancelled() => return Err(DatabaseError::Stopped),
                () = tokio::time::sleep(backoff.next_delay()) => {}
            }
        }
    }

    async fn migrate(&self, changes: &[SchemaChange]) -> Result<(), sqlx::migrate::MigrateError> {
        let migration = |change: &SchemaChange| {
            let sql = match self {
                Self::Postgres(_) => change.postgres,
                Self::Sqlite(_) => change.sqlite,
            };
            let kind = MigrationType::Simple;
            let description = change.description.into();
            Migration::new(change.version, description, kind, sql.into(), false)
        };
        let migrator = migrator(changes.iter().map(migration).collect());
        match self {
            Self::Postgres(pool) => migrator.run(pool).await,
            Self::Sqlite(pool) => migrator.run(pool).await,
        }
    }

    /// Whether the database answers, kept current by a task.
    pub fn health(&self, name: &str, tasks: &Tasks) -> watch::Receiver<Health> {
        let waiting_for = format!("database {name}: not asked yet");
        let (sender, receiver) = watch::channel(Health::Down { waiting_for });
        let (database, stop, name) = (self.clone(), tasks.stop_token(), name.to_owned());
        tasks.spawn(format!("health of database {name}"), async move {
            // Asked at once: nothing is ready before the first answer.
            loop {
                let health = database.ping(&name).await;
                sender.send_if_modified(|known| {
                    let changed = *known != health;
                    *known = health;
                    changed
                });
                let pause = tokio::time::sleep(HEALTH_INTERVAL);
                if stop.run_until_cancelled(pause).await.is_none() {
                    break;
                }
            }
        });
        receiver
    }

    async fn ping(&self, name: &str) -> Health {
        let asking = async {
            match self {
                Self::Postgres(pool) => sqlx::query("SELECT 1").execute(pool).await.map(drop),
                Self::Sqlite(pool) => sqlx::query("SELECT 1").execute(pool).await.map(drop),
            }
        };
        // A connection to a server that vanished without a word never says so.
        let reason = match tokio::time::timeout(CONNECT_LIMIT, asking).await {
            Ok(Ok(())) => return Health::Up,
            Ok(Err(error)) => chain(&error),
            Err(_) => format!("no answer within {CONNECT_LIMIT:?}"),
        };
        Health::Down {
            waiting_for: format!("database {name}: {reason}"),
        }
    }

    /// Closes every connection.
    pub async fn close(&self) {
        match self {
            Self::Postgres(pool) => pool.close().await,
            Self::Sqlite(pool) => pool.close().await,
        }
    }
}

/// Runs these, with the bookkeeping of sqlx.
pub(crate) fn migrator(migrations: Vec<Migration>) -> Migrator {
    Migrator {
        migrations: migrations.into(),
        ..Migrator::DEFAULT
    }
}

/// Why to wait, or the error if waiting cannot help.
fn waits_for(error: sqlx::migrate::MigrateError) -> Result<String, DatabaseError> {
    use sqlx::migrate::MigrateError as E;
    match &error {
        E::Execute(cause) | E::ExecuteMigration(cause, _) if passes(cause) => Ok(chain(cause)),
        _ => Err(DatabaseError::Migrate(error)),
    }
}

fn open_postgres(url: &str, application: &str) -> Result<PgPool, DatabaseError> {
    let options = PgConnectOptions::from_str(url).map_err(DatabaseError::Url)?;
    let options = options
        .application_name(application)
        .options(INDEX_LOOKUPS_ONLY);
    // A dead connection shows at its next use and is waited out like any outage; testing each
    // before use would cost a round trip per batch.
    let pool = PgPoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS)
        .acquire_timeout(CONNECT_LIMIT)
        .test_before_acquire(false);
    Ok(pool.connect_lazy_with(options))
}

fn open_sqlite(url: &str) -> Result<SqlitePool, DatabaseError> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(DatabaseError::Url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // FULL: a commit survives a power cut, not only a kill.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(SQLITE_BUSY_LIMIT)
        .foreign_keys(true);
    // One connection: writers queue here rather than on SQLite's lock.
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None);
    Ok(pool.connect_lazy_with(options))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::copy_bidirectional;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A server that takes connections and never says a word.
    async fn silent() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (
            listener,
            format!("postgres://postgres@127.0.0.1:{port}/postgres"),
        )
    }

    #[tokio::test]
    async fn a_stop_ends_the_wait_for_a_server_that_does_not_answer() {
        let (_listener, url) = silent().await;
        let (database, tasks) = (Database::open(&url, "test").unwrap(), Tasks::new());
        tasks.stop();
        let asked = Instant::now();
        let prepared = database.prepare("test", &[], &tasks).await;
        assert!(matches!(prepared, Err(DatabaseError::Stopped)));
        assert!(asked.elapsed() < CONNECT_LIMIT, "{:?}", asked.elapsed());
    }

    #[tokio::test]
    async fn a_server_that_went_silent_is_down() {
        let url = std::env::var("TEST_DATABASE_URL").expect("run ./test, or set TEST_DATABASE_URL");
        let server = PgConnectOptions::from_str(&url).unwrap();
        let address = (server.get_host().to_owned(), server.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut line = std::pin::pin!(async {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect(address).await.unwrap();
            copy_bidirectional(&mut client, &mut server).await.unwrap()
        });
        let pool = PgPoolOptions::new().test_before_acquire(false);
        let through_the_line = server.host("127.0.0.1").port(port);
        let database = Database::Postgres(pool.connect_lazy_with(through_the_line));
        tokio::select! {
            _ = &mut line => unreachable!("it passes on what is said"),
            health = database.ping("test") => assert!(health.is_up(), "{health}"),
        }
        // Nobody passes anything on any more.
        let asked = tokio::time::timeout(CONNECT_LIMIT * 2, database.ping("test"));
        assert!(!asked.await.expect("an answer").is_up());
    }

    #[test]
    fn a_connection_lost_during_a_migration_is_waited_for() {
        let lost = || sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        use sqlx::migrate::MigrateError as E;
        assert!(waits_for(E::Execute(lost())).is_ok());
        assert!(waits_for(E::ExecuteMigration(lost(), 1)).is_ok());
        assert!(waits_for(E::VersionMismatch(1)).is_err());
        assert!(waits_for(E::ExecuteMigration(sqlx::Error::RowNotFound, 1)).is_err());
    }
}
