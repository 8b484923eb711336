//! The file: one SQLite database, locked for this process, and brought to the current schema.
//!
//! The lock is what makes "in hand" mean anything: whoever holds it may take every event that an
//! earlier process had in hand as not settled.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

/// The schema is the number of these that have run, kept in `user_version`. Append only.
const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_queues.sql")];

/// The one writer waits for nobody but an operator's shell or a checkpoint of a dying process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The write-ahead log is cut back to this after a checkpoint, so that one large burst does not
/// keep its disk space for ever.
const WAL_BYTES_KEPT: &str = "67108864";

/// Why the bus could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot create the folder of {path}")]
    Folder {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot lock {path}")]
    Lock {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is in use by another process")]
    InUse { path: PathBuf },
    #[error("cannot open the bus database {path}")]
    Database { path: PathBuf, source: sqlx::Error },
    #[error("{path} has schema {found}, and this build knows up to {known}: use a newer build")]
    TooNew {
        path: PathBuf,
        found: usize,
        known: usize,
    },
}

/// The database file, locked until this is dropped.
pub(super) struct Database {
    path: PathBuf,
    _lock: File,
}

impl Database {
    pub(super) async fn open(path: PathBuf) -> Result<Self, OpenError> {
        let database = Self {
            _lock: lock(&path)?,
            path,
        };
        let found = database.migrate().await.map_err(|source| {
            let path = database.path.clone();
            OpenError::Database { path, source }
        })?;
        if found > MIGRATIONS.len() {
            return Err(OpenError::TooNew {
                path: database.path,
                found,
                known: MIGRATIONS.len(),
            });
        }
        Ok(database)
    }

    /// The connection that writes. `FULL`: a commit is on the disk before it is answered.
    pub(super) async fn writer(&self) -> Result<SqliteConnection, sqlx::Error> {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("journal_size_limit", WAL_BYTES_KEPT)
            .disable_statement_logging()
            .connect()
            .await
    }

    /// How many migrations had run before, and run the rest.
    async fn migrate(&self) -> Result<usize, sqlx::Error> {
        let mut connection = self.writer().await?;
        let version: i64 = sqlx::query_scalar("PRAGMA user_version")
            .fetch_one(&mut connection)
            .await?;
        let found = usize::try_from(version).unwrap_or(usize::MAX);
        for (number, script) in (1..).zip(MIGRATIONS).skip(found) {
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            sqlx::raw_sql(*script).execute(&mut *transaction).await?;
            let set_version = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {number}"));
            sqlx::raw_sql(set_version)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
        }
        connection.close().await?;
        Ok(found)
    }
}

/// A connection that only reads, and so never waits for the writer nor makes it wait.
pub(super) async fn reader(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
        .connect()
        .await
}

/// Locks a file beside the database: SQLite's own locks come and go with each transaction.
fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|source| OpenError::Folder {
            path: path.to_owned(),
            source,
        })?;
    }
    let failed = |source| OpenError::Lock {
        path: PathBuf::from(&name),
        source,
    };
    let file = File::create(&name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
