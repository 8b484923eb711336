//! A service's own database: PostgreSQL in production, SQLite when everything runs in one process.
//!
//! Opening never fails because the server is not there yet: a service waits for its database, says
//! so, and goes on when it comes up.

use std::io;
use std::pin::pin;
use std::str::FromStr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, SqlitePool};
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
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

/// Each participant loop needs one connection at a time, and few of them are busy at once; the rest
/// is for health and reads. Opened when they are needed.
const POSTGRES_CONNECTIONS: u32 = 16;
/// A server that does not hand out a connection in this time counts as away.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// A statement that is not answered by now waits on a connection that was lost without a word, which
/// would never say so. Far more than any statement takes.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// For so long after something was given up, each connection is tested when it comes back to the
/// pool: longer than any limit of a statement.
const DOUBT_MILLIS: u64 = 60_000;
/// One writer at a time, for a moment each: longer than any batch takes.
const SQLITE_BUSY_LIMIT: Duration = Duration::from_secs(5);
/// How soon an operator sees that a database went away while nothing was using it.
const HEALTH_INTERVAL: Duration = Duration::from_secs(2);

/// Every hot query is an index lookup: each row that is asked for is looked up, whatever the planner
/// believes of a table that fills at thousands of rows a second. The plan is made once, often of an
/// empty table, so a statement must leave it no other way (`system-tests/tests/stores` counts what is
/// read):
///
/// - A read joins its keys by `LEFT JOIN` or `LATERAL … LIMIT 1`.
/// - An update takes its batch with `LIMIT cardinality($1)`, which the planner, not knowing the
///   number, takes for one row: and for one row nothing is cheaper than a lookup.
/// - A row that is looked up by its id is asked by `num_nulls(deleted_at) = 1` whether it is live, or
///   else an index of live rows, which are few as long as nobody has counted, is read from end to end
///   for it.
///
/// What is switched off only costs more, by so much that a plan which has no other way would be
/// compiled before it is executed, for longer than the statement takes.
pub const INDEX_LOOKUPS_ONLY: [(&str, &str); 6] = [
    ("jit", "off"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_material", "off"),
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
        match within(CONNECT_LIMIT, asking).await {
            Ok(()) => Health::Up,
            Err(error) => Health::Down {
                waiting_for: format!("database {name}: {}", chain(&error)),
            },
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

/// The answer to a statement, or an error that says that the database is away. For whoever has no
/// time limit of its own around what it asks.
pub async fn answered<T>(
    asking: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    within(ANSWER_LIMIT, asking).await
}

async fn within<T>(
    limit: Duration,
    asking: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let answer = limited(limit, asking).await;
    answer.unwrap_or_else(|_| {
        let silence = format!("no answer within {limit:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, silence).into())
    })
}

/// What comes within the limit. Whatever a database is asked has to be asked through here if it may
/// be given up: what is given up may have been said over a connection that was lost without a word.
pub async fn limited<T>(limit: Duration, asking: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut asking = pin!(asking);
    // Dropped before what it watches over, if somebody gives up both.
    let doubt = Doubt;
    let answer = timeout(limit, asking.as_mut()).await;
    match answer {
        Ok(_) => std::mem::forget(doubt),
        Err(_) => drop(doubt),
    }
    answer
}

/// Something was given up before it was answered.
struct Doubt;

/// Until when connections are doubted, in milliseconds of [`uptime`].
static DOUBTED_UNTIL: AtomicU64 = AtomicU64::new(0);

impl Drop for Doubt {
    fn drop(&mut self) {
        DOUBTED_UNTIL.fetch_max(uptime() + DOUBT_MILLIS, Ordering::Relaxed);
    }
}

fn is_in_doubt() -> bool {
    uptime() < DOUBTED_UNTIL.load(Ordering::Relaxed)
}

fn uptime() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
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
        .test_before_acquire(false)
        .after_release({
            let options = options.clone();
            move |connection, _| {
                let options = options.clone();
                Box::pin(async move {
                    if is_in_doubt() {
                        still_answers(connection, &options).await?;
                    }
                    Ok(true)
                })
            }
        });
    Ok(pool.connect_lazy_with(options))
}

/// To be asked when something was given up lately; each time would cost a round trip per statement,
/// a fifth of all speed. The pool waits without a limit for what a connection still has to say before it takes it back,
/// and even before it closes it. One that was lost without a word would keep its place for as long
/// as the system believes in it, a quarter of an hour; so another takes its place. If none can be
/// opened, the server is away, and lets go of the old one when it is back.
async fn still_answers(
    connection: &mut PgConnection,
    options: &PgConnectOptions,
) -> Result<(), sqlx::Error> {
    match within(CONNECT_LIMIT, connection.ping()).await {
        Err(sqlx::Error::Io(silence)) if silence.kind() == io::ErrorKind::TimedOut => {
            *connection = within(CONNECT_LIMIT, options.connect()).await?;
            Ok(())
        }
        answer => answer,
    }
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
mod tests;
