//! The gateway as a process of its own, on RabbitMQ and its own database.

use std::process::ExitCode;
use std::sync::Arc;

use api_gateway::{GatewayConfig, Http, HttpFlags};
use clap::{Args, Command};
use events::choreography::API_GATEWAY;
use saga::Tasks;
use saga::bus::Bus;
use saga::config::Settings;
use saga::database::Database;
use saga::process::{
    BackendConfig, BackendFlags, Running, RuntimeConfig, RuntimeFlags, StartError,
};
use saga::rabbitmq::{RabbitMqBus, RabbitMqConfig, Role};
use saga::telemetry::init_metrics;

#[derive(Args)]
struct Flags {
    #[command(flatten)]
    backend: BackendFlags,
    #[command(flatten)]
    http: HttpFlags,
    #[command(flatten)]
    runtime: RuntimeFlags,
}

fn main() -> ExitCode {
    let about = "HTTP in, commands out; answers with the end of the saga";
    let command = Command::new(API_GATEWAY.0).version(env!("CARGO_PKG_VERSION"));
    let command = Flags::augment_args(command).about(about);
    saga::process::run(API_GATEWAY.0, command, start)
}

async fn start(settings: Settings, tasks: Tasks) -> Result<Running, StartError> {
    let (backend, runtime): (BackendConfig, RuntimeConfig) = (settings.get()?, settings.get()?);
    backend.remove_old_ready_file()?;
    let http = Http::bind(&settings.get()?, init_metrics()?).await?;
    let rabbitmq = RabbitMqConfig {
        role: Role::Service(API_GATEWAY),
        ..runtime.rabbitmq(backend.amqp_url, API_GATEWAY.0)
    };
    let bus: Arc<dyn Bus> = RabbitMqBus::start(rabbitmq, &tasks)?;
    let database = Database::open(&backend.database_url, API_GATEWAY.0)?;
    println!("{} listens on http://{}", API_GATEWAY.0, http.address());
    let config = GatewayConfig::of(&http, runtime.retry());
    let gateway = api_gateway::start(config, http, &bus, &database, &tasks).await?;
    Ok(Running {
        bus,
        loops: gateway.loops,
        ready_file: backend.ready_file,
        dependencies: vec![gateway.store],
    })
}
