//! What the system stands on: the embedded bus and SQLite files in a data folder, or RabbitMQ and a
//! PostgreSQL database for each service.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use saga::Tasks;
use saga::bus::Bus;
use saga::config::{self, Settings};
use saga::database::Database;
use saga::embedded::{EmbeddedBus, EmbeddedConfig, JournalRetention};
use saga::process::{RuntimeConfig, StartError};
use saga::rabbitmq::{self, RabbitMqBus};
use serde::{Deserialize, Deserializer};

use crate::workers::{WORKERS, database_setting};

#[derive(Debug, Args)]
pub(crate) struct InfrastructureFlags {
    /// Where the embedded bus and databases keep their files [default: data]
    #[arg(long, env = "DATA_DIR", value_name = "FOLDER")]
    data_dir: Option<String>,
    /// How long the embedded bus keeps its journal [default: 7days]
    #[arg(long, env = "JOURNAL_MAX_AGE", value_name = "DURATION")]
    journal_max_age: Option<String>,
    /// How many bytes the embedded bus keeps at most of it [default: 20000000000]
    #[arg(long, env = "JOURNAL_MAX_BYTES", value_name = "BYTES")]
    journal_max_bytes: Option<String>,
    /// Run on this RabbitMQ instead of the embedded bus, e.g. amqp://guest:guest@localhost:5672/%2f
    #[arg(long, env = "AMQP_URL", value_name = "URL")]
    amqp_url: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct InfrastructureConfig {
    #[serde(default = "default_data_dir")]
    data_dir: PathBuf,
    #[serde(
        default = "default_journal_max_age",
        deserialize_with = "config::duration"
    )]
    journal_max_age: Duration,
    #[serde(default = "default_journal_max_bytes")]
    journal_max_bytes: u64,
    #[serde(default)]
    amqp_url: Option<AmqpUrl>,
}

/// Refused by the name of its flag if it cannot be one.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct AmqpUrl(#[serde(deserialize_with = "amqp_url")] String);

fn amqp_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    config::checked(deserializer, rabbitmq::check_url)
}

/// Likewise.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct DatabaseUrl(#[serde(deserialize_with = "database_url")] String);

fn database_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    config::checked(deserializer, Database::check_url)
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("data")
}

fn default_journal_max_age() -> Duration {
    JournalRetention::default().max_age
}

fn default_journal_max_bytes() -> u64 {
    JournalRetention::default().max_bytes
}

/// The opened bus and databases.
pub(crate) struct Infrastructure {
    pub(crate) bus: Arc<dyn Bus>,
    /// In the order of [`WORKERS`].
    pub(crate) workers: Vec<Database>,
    pub(crate) gateway: Database,
    /// What the gateway is called, if no other can be there: so the lease on the journal that it held
    /// when it was killed is still its own.
    pub(crate) instance: Option<&'static str>,
    /// Where the data is, for a person.
    pub(crate) place: String,
}

#[derive(Debug, thiserror::Error)]
enum InfrastructureError {
    #[error(
        "to run on RabbitMQ and PostgreSQL set --amqp-url and all of {flags}; to run embedded set \
         none of them"
    )]
    Halfway { flags: String },
    #[error("the data folder {path:?} cannot be used")]
    DataDir {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "another process is using the data folder {path:?}; stop it or name another --data-dir"
    )]
    InUse { path: PathBuf },
}

/// The one process that has the data folder.
const THE_ONLY_GATEWAY: &str = "embedded";
/// How many events a consumer of the embedded bus holds: two batches, so that one is full while the
/// other is being committed.
const PREFETCH_BATCHES: usize = 2;

impl Infrastructure {
    pub(crate) async fn open(
        settings: &Settings,
        runtime: &RuntimeConfig,
        tasks: &Tasks,
    ) -> Result<Self, StartError> {
        let config: InfrastructureConfig = settings.get()?;
        let names = WORKERS.iter().map(|worker| worker.database);
        let names: Vec<_> = names.chain(["gateway"]).collect();
        let urls = names
            .iter()
            .map(|name| settings.find::<DatabaseUrl>(&database_setting(name)));
        let urls: Vec<Option<DatabaseUrl>> = urls.collect::<Result<_, _>>()?;
        let databases: Vec<_> = (names.iter().zip(urls.iter().flatten()))
            .map(|(name, DatabaseUrl(url))| Database::open(url, name))
            .collect::<Result<_, _>>()?;
        match (config.amqp_url, databases.len()) {
            (None, 0) => {
                let journal = JournalRetention {
                    max_age: config.journal_max_age,
                    max_bytes: config.journal_max_bytes,
                };
                embedded(&config.data_dir, journal, runtime, tasks).await
            }
            (Some(AmqpUrl(amqp)), set) if set == names.len() => {
                let bus = RabbitMqBus::start(runtime.rabbitmq(amqp, "ticket-saga"), tasks)?;
                let place = "on RabbitMQ and PostgreSQL".to_owned();
                Ok(Self::of(bus, databases, None, place))
            }
            _ => {
                let flag = |name| format!("--{}", database_setting(name).replace('_', "-"));
                let flags = names.into_iter().map(flag).collect::<Vec<_>>().join(", ");
                Err(InfrastructureError::Halfway { flags }.into())
            }
        }
    }

    /// The gateway's database is the last one.
    fn of(
        bus: Arc<dyn Bus>,
        mut databases: Vec<Database>,
        instance: Option<&'static str>,
        place: String,
    ) -> Self {
        let gateway = databases.pop().expect("the gateway has a database");
        Self {
            bus,
            workers: databases,
            gateway,
            instance,
            place,
        }
    }
}

async fn embedded(
    folder: &Path,
    journal: JournalRetention,
    runtime: &RuntimeConfig,
    tasks: &Tasks,
) -> Result<Infrastructure, StartError> {
    lock(folder)?;
    let config = EmbeddedConfig {
        path: folder.join("bus.db"),
        retry: runtime.retry(),
        prefetch: PREFETCH_BATCHES * runtime.batch_limit,
        journal,
    };
    let names = WORKERS.iter().map(|worker| worker.database);
    let databases = names
        .chain(["gateway"])
        .map(|name| Database::open(&sqlite_url(&folder.join(format!("{name}.db"))), name))
        .collect::<Result<_, _>>()?;
    let bus = EmbeddedBus::open(config, tasks).await?;
    let place = format!("embedded, data in {}", folder.display());
    let instance = Some(THE_ONLY_GATEWAY);
    Ok(Infrastructure::of(bus, databases, instance, place))
}

/// Whatever the path holds, `?` and `%` included: in a URL they would mean something.
fn sqlite_url(path: &Path) -> String {
    let path = path.as_os_str().as_encoded_bytes();
    format!("sqlite://{}", percent_encode(path, NON_ALPHANUMERIC))
}

/// Holds the folder for this process until it ends, however it ends.
fn lock(path: &Path) -> Result<(), StartError> {
    let at = |source| InfrastructureError::DataDir {
        path: path.to_owned(),
        source,
    };
    std::fs::create_dir_all(path).map_err(at)?;
    let file = std::fs::File::create(path.join("lock")).map_err(at)?;
    match file.try_lock() {
        Ok(()) => {
            // Never closed: the operating system releases the lock with the process.
            std::mem::forget(file);
            Ok(())
        }
        Err(std::fs::TryLockError::WouldBlock) => Err(InfrastructureError::InUse {
            path: path.to_owned(),
        }
        .into()),
        Err(std::fs::TryLockError::Error(source)) => Err(at(source).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_may_have_any_name() {
        let parent = tempfile::tempdir().expect("a folder");
        for name in ["plain", "100%", "%41", "a?mode=ro", "#x", "ä ö", "a//b"] {
            let folder = parent.path().join(name);
            std::fs::create_dir_all(&folder).expect("a folder");
            let path = folder.join("ticket.db");
            let database = Database::open(&sqlite_url(&path), "test").expect("a URL");
            let prepared = database.prepare("test", &[], &Tasks::new()).await;
            prepared.expect("a database");
            assert!(path.exists(), "{name}");
            database.close().await;
        }
    }
}
