//! The whole system in one process: on the embedded bus and SQLite with nothing installed, or on
//! RabbitMQ and PostgreSQL. `cargo run` starts it.

mod infrastructure;
mod workers;

use std::net::SocketAddr;
use std::process::ExitCode;

use api_gateway::{GatewayConfig, Http, HttpFlags};
use clap::{Args, Command};
use futures_util::future::try_join_all;
use saga::Tasks;
use saga::config::Settings;
use saga::process::{Running, RuntimeConfig, RuntimeFlags, StartError};
use saga::telemetry::init_metrics;

use crate::infrastructure::{Infrastructure, InfrastructureFlags};
use crate::workers::WORKERS;

const NAME: &str = "ticket-saga";

#[derive(Debug, Args)]
struct Flags {
    #[command(flatten)]
    infrastructure: InfrastructureFlags,
    #[command(flatten)]
    http: HttpFlags,
    #[command(flatten)]
    runtime: RuntimeFlags,
}

fn main() -> ExitCode {
    let about =
        "Buys a ticket and registers with it, both or neither: the whole system in one process";
    let command = Command::new(NAME).version(env!("CARGO_PKG_VERSION"));
    let command = workers::with_database_flags(Flags::augment_args(command)).about(about);
    saga::process::run(NAME, command, start)
}

async fn start(settings: Settings, tasks: Tasks) -> Result<Running, StartError> {
    let runtime: RuntimeConfig = settings.get()?;
    let http = Http::bind(&settings.get()?, init_metrics()?).await?;
    let Infrastructure {
        bus,
        workers,
        gateway,
        instance,
        place,
    } = Infrastructure::open(&settings, &runtime, &tasks).await?;
    println!("{}", welcome(http.address(), &place));
    let (options, stopping_last) = (runtime.loop_options(), tasks.stopping_after(http.drained()));
    let mut config = GatewayConfig::of(&http, runtime.retry());
    if let Some(instance) = instance {
        config.instance = instance.to_owned();
    }
    let workers = (WORKERS.iter().zip(&workers))
        .map(|(worker, database)| (worker.start)(&bus, database, &options, &stopping_last));
    let (front, loops) = tokio::try_join!(
        api_gateway::start(config, http, &bus, &gateway, &tasks),
        try_join_all(workers),
    )?;
    Ok(Running {
        bus,
        loops: loops.into_iter().flatten().chain(front.loops).collect(),
        ready_file: None,
        dependencies: Vec::new(),
    })
}

fn welcome(address: SocketAddr, place: &str) -> String {
    format!(
        "ticket-saga listens on http://{address} ({place}).\nBuy a ticket and register with it:\n\n  \
         curl -s http://{address}/regist/trans -d '{{\"userId\": 1, \"ticketId\": 1}}'\n\n\
         Every route: http://{address}/docs. Stop with Ctrl-C."
    )
}
