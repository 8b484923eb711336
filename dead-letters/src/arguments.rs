//! The flags of `dlq`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use events::SagaId;
use saga::dead_letters::{Ramp, Selection, UNROUTED};
use saga::rabbitmq::TopologyMode;
use saga::retry::RetryPolicy;
use uuid::Uuid;

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 an error, or not everything that was named is there; 2 wrong usage; \
3 stopped because what was put back failed again or was not handled.

Killed at any moment, it loses nothing: a message is then still parked, or put back, or both.";

/// Dead letters: what the system gave up on, listed, shown, put back where it came from, or dropped
#[derive(Debug, Parser)]
#[command(name = "dlq", version, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Place {
    /// RabbitMQ, e.g. amqp://user:password@host:5672/vhost; without it, the embedded bus in the data folder
    #[arg(
        long,
        env = "AMQP_URL",
        value_name = "URL",
        global = true,
        hide_env_values = true
    )]
    pub(crate) amqp_url: Option<String>,
    /// Prefix of every exchange and queue on RabbitMQ
    #[arg(
        long,
        env = "SAGA_NAMESPACE",
        value_name = "PREFIX",
        default_value = "",
        global = true
    )]
    pub(crate) namespace: String,
    /// "declare": create the record of operations where it is missing; "check": find it provisioned
    #[arg(
        long,
        env = "TOPOLOGY",
        value_name = "MODE",
        default_value = "declare",
        hide_possible_values = true,
        global = true
    )]
    pub(crate) topology: TopologyMode,
    /// Data folder of the embedded system, which may be running
    #[arg(
        long,
        env = "DATA_DIR",
        value_name = "FOLDER",
        default_value = "data",
        global = true
    )]
    pub(crate) data_dir: PathBuf,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What is parked, by queue and grouped by cause
    List(ListFlags),
    /// One message: envelope, reason, history
    Show {
        id: String,
        /// Only in the dead-letter queue of this work queue
        #[arg(long)]
        queue: Option<String>,
    },
    /// Put messages back into the queue they came from: 1, then 10, then 100, as long as none fails again
    Requeue(RequeueFlags),
    /// Take messages out for good; the record of operations keeps them
    Drop(DropFlags),
    /// What operators did: who, when, what, why
    Log {
        /// Only the last so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SelectionFlags {
    /// Only what is parked of this work queue
    #[arg(long)]
    queue: Option<String>,
    /// Only what no queue was bound for (RabbitMQ)
    #[arg(long, conflicts_with = "queue")]
    unrouted: bool,
    /// Only what was parked for this cause, by its key in the list
    #[arg(long, value_name = "KEY")]
    cause: Option<String>,
    /// Only messages of this saga
    #[arg(long, value_name = "ID")]
    saga: Option<Uuid>,
    /// Only these messages
    #[arg(value_name = "MESSAGE_ID")]
    ids: Vec<String>,
}

impl SelectionFlags {
    pub(crate) fn to_selection(&self) -> Selection {
        Selection {
            queue: match self.unrouted {
                true => Some(UNROUTED.to_owned()),
                false => self.queue.clone(),
            },
            ids: self.ids.iter().cloned().collect(),
            cause: self.cause.clone(),
            saga: self.saga.map(SagaId),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ListFlags {
    #[command(flatten)]
    pub(crate) selection: SelectionFlags,
    /// Each message instead of the groups
    #[arg(long)]
    pub(crate) messages: bool,
    /// With --messages, no more than so many
    #[arg(long, default_value_t = 100)]
    pub(crate) limit: usize,
}

// Nothing is put back or dropped by forgetting to say which.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true)
    .args(["ids", "queue", "unrouted", "cause", "saga", "all"]))]
pub(crate) struct Which {
    #[command(flatten)]
    pub(crate) selection: SelectionFlags,
    /// Everything that is parked or unrouted
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RequeueFlags {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How many at each step; the last goes on
    #[arg(
        long,
        value_delimiter = ',',
        default_values_t = Ramp::STEPS,
        value_name = "COUNTS"
    )]
    ramp: Vec<usize>,
    /// How long to see whether a step fails again [default: all retry delays and 10s]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    watch: Option<Duration>,
    /// The retry delays that the workers run with
    #[arg(long, env = "RETRY_DELAYS", value_delimiter = ',', default_value = "1s,10s,60s",
          value_parser = humantime::parse_duration, value_name = "DURATIONS")]
    retry_delays: Vec<Duration>,
    /// All at once, without waiting for what becomes of them
    #[arg(long, conflicts_with_all = ["ramp", "watch"])]
    at_once: bool,
    /// Who does it, for the record
    #[arg(long, env = "USER", value_name = "NAME")]
    pub(crate) by: String,
    /// Why, for the record
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

impl RequeueFlags {
    pub(crate) fn ramp(&self) -> Ramp {
        if self.at_once {
            return Ramp::at_once();
        }
        let retry = RetryPolicy {
            delays: self.retry_delays.clone(),
        };
        let ramp = Ramp::watching(self.ramp.clone(), &retry);
        Ramp {
            watch: self.watch.unwrap_or(ramp.watch),
            ..ramp
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct DropFlags {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Who does it, for the record
    #[arg(long, env = "USER", value_name = "NAME")]
    pub(crate) by: String,
    /// Why, for the record
    #[arg(long)]
    pub(crate) reason: String,
}
