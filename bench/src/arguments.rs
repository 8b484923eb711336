//! The command line.

use clap::builder::ArgPredicate;
use clap::{Parser, Subcommand};

use crate::variant::Variant;

/// Measures the saga pipeline, from command handed to the bus to end event received, and beside it,
/// in the same run, the bare relay (the broker's own ceiling at one event a message) and the system
/// with packing or batching off. With --http, beside it the same load through the gateway. Then checks
/// the invariants in the databases. Build the services first: cargo build --release --workspace --bins
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// The RabbitMQ to measure on; what is declared there is removed again
    #[arg(
        long,
        env = "AMQP_URL",
        default_value = "amqp://127.0.0.1:5672",
        global = true
    )]
    pub(crate) amqp_url: String,
    /// The PostgreSQL to measure on, as a user who may create databases; they are dropped again. The
    /// services take over its parameters: without TLS, like the broker, unless the URL says otherwise
    #[arg(
        long,
        env = "DATABASE_URL",
        default_value = "postgres://postgres@127.0.0.1:5432/postgres?sslmode=disable"
    )]
    pub(crate) database_url: String,
    /// What to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Variant::COMPARED)]
    pub(crate) variants: Vec<Variant>,
    /// Sagas in flight, one measurement each
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,64,2000",
        default_value_if("http", ArgPredicate::Equals("true".into()), "1,64,256,1024")
    )]
    pub(crate) in_flight: Vec<usize>,
    /// Share of sagas that are refused at registration and undone
    #[arg(long, default_value_t = 0.2)]
    pub(crate) refusals: f64,
    /// Length of each measurement, after its warm-up. With one saga in flight it is cut into twenty
    /// turns, in which the variants alternate
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// Warm-up before each measurement, in seconds; before each of twenty turns, a twentieth of it
    #[arg(long, default_value_t = 1.0)]
    pub(crate) warm_up: f64,
    /// Ends each measurement after this many sagas, if that comes first
    #[arg(long)]
    pub(crate) sagas: Option<u64>,
    /// In each round all variants run at the same time and are measured in turns; the medians of the
    /// rounds are reported. A turn in which something stalls moves the median of three
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Instead: let so many commands gather while no service runs, then watch them drain
    #[arg(long, value_name = "SAGAS")]
    pub(crate) backlog: Option<u64>,
    /// Instead: the system with so many finished sagas in its tables, against one with none
    #[arg(long, value_name = "SAGAS", conflicts_with_all = ["backlog", "variants"])]
    pub(crate) finished_sagas: Option<i64>,
    /// Instead: POST /regist/trans through the gateway, on as many kept-alive connections as sagas are
    /// in flight, every answer checked; beside it the pipeline on the same running system. The gateway
    /// has its default limits and no authentication, so no limit for each caller applies
    #[arg(long, conflicts_with_all = ["backlog", "variants", "finished_sagas"])]
    pub(crate) http: bool,
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

impl Arguments {
    /// What is measured in each round.
    pub(crate) fn variants(&self) -> Vec<Variant> {
        match self.finished_sagas {
            Some(_) => vec![Variant::System, Variant::Finished],
            None if self.http => vec![Variant::System, Variant::Http],
            None => self.variants.clone(),
        }
    }
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Role {
    /// One hop of the bare relay; the benchmark starts it
    #[command(hide = true)]
    RelayHop {
        #[arg(long)]
        service: String,
        #[arg(long)]
        namespace: String,
    },
}
