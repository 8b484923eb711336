//! Why a measurement could not be made. A measurement that fails is reported, never left out.

use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("the broker failed")]
    Broker(#[from] lapin::Error),
    #[error("the broker did not confirm a message of the bare relay: {answer}")]
    NotConfirmed { answer: String },
    #[error("the consumer of {queue} was cancelled")]
    Cancelled { queue: String },
    #[error("the bare relay received a message it never sent: correlation id {found:?}")]
    Stray { found: String },
    #[error("{open} sagas had not ended {after:?} after they should have")]
    Unended { open: usize, after: Duration },
    #[error("{what} cannot be started or stopped")]
    Process {
        what: String,
        #[source]
        source: std::io::Error,
    },
}
