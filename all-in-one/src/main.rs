//! The whole system in one process: on the embedded bus and SQLite with nothing installed, or on
//! RabbitMQ and PostgreSQL. `cargo run` starts it.

mod infrastructure;

use std::net::SocketAddr;
use std::process::ExitCode;

use api_gateway::{GatewayConfig, Http, HttpFlags};
use clap::{Args, Command};
use saga::Tasks;
use saga::config::Settings;
use saga::process::{Running, RuntimeConfig, RuntimeFlags, StartError};
use saga::telemetry::init_metrics;

use crate::infrastructure::{Infrastructure, InfrastructureConfig, InfrastructureFlags};

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
    let command = Command::new(NAME)
        .about(about)
        .version(env!("CARGO_PKG_VERSION"));
    saga::process::run(NAME, Flags::augment_args(command), start)
}

async fn start(settings: Settings, tasks: Tasks) -> Result<Running, StartError> {
    let runtime: RuntimeConfig = settings.get()?;
    let infrastructure: InfrastructureConfig = settings.get()?;
    let http = Http::bind(&settings.get()?, init_metrics()?).await?;
    let Infrastructure {
        bus,
        ticket,
        regist,
        gateway,
        place,
    } = infrastructure.open(&runtime, &tasks).await?;
    let options = runtime.loop_options();
    println!("{}", welcome(http.address(), &place));
    // The services, a line each.
    let (front, tickets, registrations) = tokio::try_join!(
        api_gateway::start(GatewayConfig::of(&http), http, &bus, &gateway, &tasks),
        ticket_worker::start(&bus, &ticket, &options, &tasks),
        regist_worker::start(&bus, &regist, &options, &tasks),
    )?;
    let dependencies = vec![
        ticket.health("ticket-worker", &tasks),
        regist.health("regist-worker", &tasks),
    ];
    let loops = [front, tickets, registrations]
        .into_iter()
        .flatten()
        .collect();
    Ok(Running {
        bus,
        loops,
        ready_file: None,
        dependencies,
    })
}

fn welcome(address: SocketAddr, place: &str) -> String {
    format!(
        "ticket-saga listens on http://{address} ({place}).\nBuy a ticket and register with it:\n\n  \
         curl -s http://{address}/regist/trans -d '{{\"userId\": 1, \"ticketId\": 1}}'\n\n\
         Stop with Ctrl-C."
    )
}
