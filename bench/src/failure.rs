//! Why a measurement could not be made. A measurement that fails is reported, never left out.

use std::path::PathBuf;
use std::time::Duration;

use events::MessageType;
use saga::rabbitmq::{ConfigError, DeleteError};

#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("the broker failed")]
    Broker(#[from] lapin::Error),
    #[error("the broker did not confirm a message: {answer}")]
    NotConfirmed { answer: String },
    #[error("the consumer of {queue} was cancelled")]
    Cancelled { queue: String },
    #[error("the bare relay received a message it never sent: correlation id {found:?}")]
    Stray { found: String },
    #[error("the bus cannot be started")]
    Bus(#[from] ConfigError),
    #[error("the topology cannot be used")]
    Topology(#[from] saga::bus::TopologyError),
    #[error("a command could not be published")]
    Publish(#[from] saga::bus::PublishError),
    #[error("the consumer of replies ended")]
    RepliesEnded,
    #[error("{open} sagas had not ended {after:?} after they should have")]
    Unended { open: usize, after: Duration },
    #[error("a connection to the gateway failed")]
    Connection(#[source] std::io::Error),
    #[error(
        "POST /regist/trans {request} was answered {status} {body} and had to end with {expected}"
    )]
    Answer {
        status: u16,
        body: String,
        request: String,
        expected: MessageType,
    },
    #[error("{open} callers had no answer {after:?} after they should have")]
    Unanswered { open: u64, after: Duration },
    #[error(
        "{connections} connections need some {needed} open files, and {allowed} are allowed; allow \
         more: ulimit -n {needed}"
    )]
    OpenFiles {
        connections: usize,
        allowed: usize,
        needed: usize,
    },
    #[error("the ledger had not caught up after {after:?}")]
    LedgerBehind { after: Duration },
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error("{what} cannot be started or stopped")]
    Process {
        what: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{program:?} does not exist; build it: cargo build --release --bins")]
    NotBuilt { program: PathBuf },
    #[error("the load generator did not stop")]
    Stop(#[from] saga::TasksError),
    #[error("the queues of the benchmark are not removed")]
    Remove(#[from] DeleteError),
    #[error("{count} invariants are violated")]
    Violated { count: usize },
    #[error("the clean-up was interrupted: what has {run} in its name stays")]
    LeftBehind { run: String },
    #[error("interrupted")]
    Interrupted,
}
