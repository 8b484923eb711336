//! The command line.

use clap::{Parser, Subcommand};

/// Measures the saga pipeline from command handed to the bus to end event received, and the bare
/// relay of the same broker beside it, in one run.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// The RabbitMQ to measure on. Everything declared there is removed again.
    #[arg(
        long,
        env = "AMQP_URL",
        default_value = "amqp://127.0.0.1:5672",
        global = true
    )]
    pub(crate) amqp_url: String,
    /// Sagas in flight, one measurement each.
    #[arg(long, value_delimiter = ',', default_value = "1,64,2000")]
    pub(crate) in_flight: Vec<usize>,
    /// Share of sagas that are refused at registration and undone.
    #[arg(long, default_value_t = 0.2)]
    pub(crate) refusals: f64,
    /// Length of each measurement, after its warm-up.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// Warm-up before each measurement.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) warm_up: f64,
    /// Ends each measurement after this many sagas, if that comes first.
    #[arg(long)]
    pub(crate) sagas: Option<u64>,
    /// Rounds. Every variant is measured once in each; the medians are reported.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Role {
    /// One hop of the bare relay; the benchmark starts it.
    #[command(hide = true)]
    RelayHop {
        #[arg(long)]
        service: String,
        #[arg(long)]
        namespace: String,
    },
}
