//! The file: one SQLite database, locked for this process, and brought to the current schema.
//!
//! The lock is what makes "in hand" mean anything: whoever holds it may take every event that an
//! earlier process had in hand as not settled.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection, SqlitePool};

use crate::database;

/// What brings a file to the schema of this build, by version. Never edited once released; add
/// another.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "queues", include_str!("migrations/0001_queues.sql")),
    (
        2,
        "operations",
        include_str!("migrations/0002_operations.sql"),
    ),
    (
        3,
        "journal time",
        include_str!("migrations/0003_journal_time.sql"),
    ),
];

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
    #[error("cannot bring the bus database {path} to the schema of this build")]
    Migrate { path: PathBuf, source: MigrateError },
}

/// Why nobody can work on the file beside the system.
#[derive(Debug, thiserror::Error)]
pub(super) enum BesideError {
    #[error("there is no bus in {path}; name the folder of the system with --data-dir")]
    NoBus { path: PathBuf },
    #[error("the system that runs on {path} is of an older build; restart it with this one first")]
    OlderBuild { path: PathBuf },
    #[error(transparent)]
    Open(OpenError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Makes sure that there is a bus of this build's schema. An older file is brought to it, unless a
/// system of an older build runs on it.
pub(super) async fn beside(path: &Path) -> Result<(), BesideError> {
    let place = || path.to_owned();
    if !path.exists() {
        return Err(BesideError::NoBus { path: place() });
    }
    if is_current(path).await? {
        return Ok(());
    }
    match BusFile::open(place()).await {
        Ok(migrated) => {
            drop(migrated);
            Ok(())
        }
        Err(OpenError::InUse { .. }) => Err(BesideError::OlderBuild { path: place() }),
        Err(error) => Err(BesideError::Open(error)),
    }
}

/// The database file, locked until this is dropped.
pub(super) struct BusFile {
    path: PathBuf,
    _lock: File,
}

impl BusFile {
    pub(super) async fn open(path: PathBuf) -> Result<Self, OpenError> {
        let _lock = lock(&path)?;
        let file = Self { path, _lock };
        let path = || file.path.clone();
        let options = writer_options(&file.path).create_if_missing(true);
        let pool = SqlitePool::connect_with(options).await;
        let pool = pool.map_err(|source| OpenError::Database {
            path: path(),
            source,
        })?;
        let migrated = migrator().run(&pool).await;
        pool.close().await;
        migrated.map_err(|source| OpenError::Migrate {
            path: path(),
            source,
        })?;
        Ok(file)
    }

    pub(super) async fn writer(&self) -> Result<SqliteConnection, sqlx::Error> {
        writer(&self.path).await
    }
}

/// A connection that writes. Beside the process that holds the lock, only what that one does not
/// have in hand may be written.
pub(super) async fn writer(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    writer_options(path).connect().await
}

/// `FULL`: a commit is on the disk before it is answered.
fn writer_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("journal_size_limit", WAL_BYTES_KEPT)
        .disable_statement_logging()
}

/// Whether the file has the schema of this build.
async fn is_current(path: &Path) -> Result<bool, sqlx::Error> {
    let newest = MIGRATIONS.iter().map(|(version, ..)| *version).max();
    let found: Option<i64> =
        sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
            .fetch_one(&mut writer(path).await?)
            .await?;
    Ok(found == newest)
}

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.iter().map(|&(version, name, sql)| {
        let kind = MigrationType::Simple;
        Migration::new(version, name.into(), kind, sql.into(), false)
    });
    database::migrator(migrations.collect())
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
