//! A participant as a process of its own: RabbitMQ, one database, and nothing else.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Command};
use events::choreography::Service;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Deserializer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Running, RuntimeConfig, RuntimeFlags, StartError, run};
use crate::bus::Bus;
use crate::config::{self, Settings};
use crate::database::Database;
use crate::monitoring::{self, Monitored};
use crate::participant::LoopOptions;
use crate::rabbitmq::{self, RabbitMqBus, RabbitMqConfig, Role};
use crate::tasks::Tasks;
use crate::telemetry::init_metrics;

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
    #[serde(deserialize_with = "amqp_url")]
    pub amqp_url: String,
    #[serde(deserialize_with = "database_url")]
    pub database_url: String,
    pub ready_file: Option<PathBuf>,
}

impl BackendConfig {
    /// A killed process could not remove its own, and this one is not ready yet.
    pub fn remove_old_ready_file(&self) -> std::io::Result<()> {
        self.ready_file.as_deref().map_or(Ok(()), super::remove)
    }
}

fn amqp_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    config::checked(deserializer, rabbitmq::check_url)
}

fn database_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    config::checked(deserializer, Database::check_url)
}

#[derive(Debug, Args)]
struct WorkerFlags {
    #[command(flatten)]
    backend: BackendFlags,
    /// Where to serve /metrics, /livez and /readyz [default: nowhere]
    #[arg(long, env = "METRICS_LISTEN", value_name = "ADDRESS")]
    metrics_listen: Option<String>,
    #[command(flatten)]
    runtime: RuntimeFlags,
}

#[derive(Debug, Deserialize)]
struct WorkerConfig {
    metrics_listen: Option<SocketAddr>,
}

impl WorkerConfig {
    /// The socket of the pages for machines and what they show, unless they are off.
    async fn monitoring(&self) -> Result<Option<(TcpListener, PrometheusHandle)>, StartError> {
        Ok(match self.metrics_listen {
            Some(address) => Some((monitoring::bind(address).await?, init_metrics()?)),
            None => None,
        })
    }
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
    let command = Command::new(name).version(env!("CARGO_PKG_VERSION"));
    // Last, because flags bring a text of their own.
    let command = WorkerFlags::augment_args(command).about(about);
    run(name, command, async |settings: Settings, tasks: Tasks| {
        let (config, runtime): (BackendConfig, RuntimeConfig) = (settings.get()?, settings.get()?);
        config.remove_old_ready_file()?;
        let worker: WorkerConfig = settings.get()?;
        let monitoring = worker.monitoring().await?;
        let rabbitmq = RabbitMqConfig {
            role: Role::Service(service),
            ..runtime.rabbitmq(config.amqp_url, name)
        };
        let bus: Arc<dyn Bus> = RabbitMqBus::start(rabbitmq, &tasks)?;
        let database = Database::open(&config.database_url, name)?;
        let (store, started) = (database.health(name, &tasks), CancellationToken::new());
        if let Some((listener, metrics)) = monitoring {
            let monitored = Monitored {
                metrics,
                bus: bus.health(),
                store: store.clone(),
                started: started.clone(),
            };
            monitoring::serve(listener, monitored, &tasks);
        }
        let loops = start(&bus, &database, &runtime.loop_options(), &tasks).await?;
        started.cancel();
        Ok(Running {
            bus,
            loops,
            ready_file: config.ready_file,
            dependencies: vec![store],
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(flags: &[&str]) -> String {
        let command = WorkerFlags::augment_args(Command::new("worker"));
        let args = std::iter::once("worker").chain(flags.iter().copied());
        let settings = Settings::read_from(command, args.map(Into::into).collect()).unwrap();
        let backend = settings.get::<BackendConfig>().err();
        let refused = backend.or_else(|| settings.get::<RuntimeConfig>().err());
        refused.unwrap().to_string()
    }

    #[test]
    fn what_cannot_be_a_url_or_a_namespace_is_refused_by_the_name_of_its_flag() {
        let (amqp, database) = ("--amqp-url=amqp://host", "--database-url=sqlite:file.db");
        for (flag, flags) in [
            (
                "--amqp-url",
                ["--amqp-url=http://host", database, "--log=info"],
            ),
            (
                "--database-url",
                [amqp, "--database-url=mysql://host", "--log=info"],
            ),
            (
                "--database-url",
                [amqp, "--database-url=postgres://host:port", "--log=info"],
            ),
            ("--namespace", [amqp, database, "--namespace=no spaces"]),
        ] {
            let error = refused(&flags);
            assert!(
                error.contains(flag) && error.contains("command line"),
                "{error}"
            );
        }
    }
}
