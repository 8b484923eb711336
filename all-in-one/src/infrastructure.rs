//! What the system stands on: the embedded bus and SQLite files in a data folder, or RabbitMQ and
//! three PostgreSQL databases.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use saga::Tasks;
use saga::bus::Bus;
use saga::database::Database;
use saga::embedded::{EmbeddedBus, EmbeddedConfig};
use saga::process::{RuntimeConfig, StartError};
use saga::rabbitmq::RabbitMqBus;
use serde::Deserialize;

#[derive(Debug, Args)]
pub(crate) struct InfrastructureFlags {
    /// Where the embedded bus and databases keep their files [default: data]
    #[arg(long, env = "DATA_DIR", value_name = "FOLDER")]
    data_dir: Option<String>,
    /// Run on this RabbitMQ instead of the embedded bus, e.g. amqp://guest:guest@localhost:5672/%2f
    #[arg(long, env = "AMQP_URL", value_name = "URL")]
    amqp_url: Option<String>,
    /// With --amqp-url: the ticket-worker's database, e.g. postgres://user:password@localhost:5432/ticket
    #[arg(long, env = "TICKET_DATABASE_URL", value_name = "URL")]
    ticket_database_url: Option<String>,
    /// With --amqp-url: the regist-worker's database
    #[arg(long, env = "REGIST_DATABASE_URL", value_name = "URL")]
    regist_database_url: Option<String>,
    /// With --amqp-url: the gateway's database
    #[arg(long, env = "GATEWAY_DATABASE_URL", value_name = "URL")]
    gateway_database_url: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct InfrastructureConfig {
    #[serde(default = "default_data_dir")]
    data_dir: PathBuf,
    amqp_url: Option<String>,
    ticket_database_url: Option<String>,
    regist_database_url: Option<String>,
    gateway_database_url: Option<String>,
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("data")
}

/// The opened bus and databases.
pub(crate) struct Infrastructure {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) ticket: Database,
    pub(crate) regist: Database,
    pub(crate) gateway: Database,
    /// Where the data is, for a person.
    pub(crate) place: String,
}

#[derive(Debug, thiserror::Error)]
enum InfrastructureError {
    #[error(
        "to run on RabbitMQ and PostgreSQL set --amqp-url, --ticket-database-url, \
         --regist-database-url and --gateway-database-url; to run embedded set none of them"
    )]
    Halfway,
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

/// How many events a consumer of the embedded bus holds: two batches, so that one is full while the
/// other is being committed.
const PREFETCH_BATCHES: usize = 2;

impl InfrastructureConfig {
    pub(crate) async fn open(
        self,
        runtime: &RuntimeConfig,
        tasks: &Tasks,
    ) -> Result<Infrastructure, StartError> {
        let databases = [
            self.ticket_database_url,
            self.regist_database_url,
            self.gateway_database_url,
        ];
        match (self.amqp_url, databases) {
            (None, [None, None, None]) => embedded(&self.data_dir, runtime, tasks).await,
            (Some(amqp), [Some(ticket), Some(regist), Some(gateway)]) => Ok(Infrastructure {
                bus: RabbitMqBus::start(runtime.rabbitmq(amqp, "ticket-saga"), tasks)?,
                ticket: Database::open(&ticket, "ticket-worker")?,
                regist: Database::open(&regist, "regist-worker")?,
                gateway: Database::open(&gateway, "api-gateway")?,
                place: "on RabbitMQ and PostgreSQL".to_owned(),
            }),
            _ => Err(InfrastructureError::Halfway.into()),
        }
    }
}

async fn embedded(
    folder: &Path,
    runtime: &RuntimeConfig,
    tasks: &Tasks,
) -> Result<Infrastructure, StartError> {
    lock(folder)?;
    let config = EmbeddedConfig {
        path: folder.join("bus.db"),
        retry: runtime.retry(),
        prefetch: PREFETCH_BATCHES * runtime.batch_limit,
    };
    let database = |name: &str| {
        let path = folder.join(format!("{name}.db"));
        Database::open(&format!("sqlite://{}", path.display()), name)
    };
    Ok(Infrastructure {
        bus: EmbeddedBus::open(config, tasks).await?,
        ticket: database("ticket")?,
        regist: database("regist")?,
        gateway: database("gateway")?,
        place: format!("embedded, data in {}", folder.display()),
    })
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
