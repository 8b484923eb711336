//! A participant as a process of its own: RabbitMQ, one database, and nothing else.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Command};
use events::choreography::Service;
use serde::Deserialize;
use tokio::task::JoinHandle;

use super::{Running, RuntimeConfig, RuntimeFlags, StartError, run};
use crate::bus::Bus;
use crate::config::Settings;
use crate::database::Database;
use crate::participant::LoopOptions;
use crate::rabbitmq::RabbitMqBus;
use crate::tasks::Tasks;

/// What a service stands on, as flags.
#[derive(Debug, Args)]
pub struct BackendFlags {
    /// RabbitMQ, e.g. amqp://user:password@host:5672/vhost (amqps:// for TLS)
    #[arg(long, env = "AMQP_URL", value_name = "URL")]
    amqp_url: Option<String>,
    /// This service's own database, e.g. postgres://user:password@host:5432/name
    #[arg(long, env = "DATABASE_URL", value_name = "URL")]
    database_url: Option<String>,
    /// A file that exists exactly while the broker and the database are up [default: none]
    #[arg(long, env = "READY_FILE", value_name = "FILE")]
    ready_file: Option<String>,
}

/// What a service stands on.
#[derive(Debug, Deserialize)]
pub struct BackendConfig {
    pub amqp_url: String,
    pub database_url: String,
    pub ready_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct WorkerFlags {
    #[command(flatten)]
    backend: BackendFlags,
    #[command(flatten)]
    runtime: RuntimeFlags,
}

/// Runs the participant that `start` starts until it is asked to stop.
pub fn run_worker<S>(service: Service, about: &'static str, start: S) -> ExitCode
where
    S: AsyncFnOnce(
        &Arc<dyn Bus>,
        &Database,
        &LoopOptions,
        &Tasks,
    ) -> Result<Vec<JoinHandle<()>>, StartError>,
{
    let name = service.0;
    let command = WorkerFlags::augment_args(
        Command::new(name)
            .about(about)
            .version(env!("CARGO_PKG_VERSION")),
    );
    run(name, command, async |settings: Settings, tasks: Tasks| {
        let (config, runtime): (BackendConfig, RuntimeConfig) = (settings.get()?, settings.get()?);
        if let Some(path) = &config.ready_file {
            // A killed process could not remove its own, and this one is not ready yet.
            super::remove(path)?;
        }
        let bus: Arc<dyn Bus> =
            RabbitMqBus::start(runtime.rabbitmq(config.amqp_url, name), &tasks)?;
        let database = Database::open(&config.database_url, name)?;
        let loops = start(&bus, &database, &runtime.loop_options(), &tasks).await?;
        let dependencies = vec![database.health(name, &tasks)];
        Ok(Running {
            bus,
            loops,
            ready_file: config.ready_file,
            dependencies,
        })
    })
}
