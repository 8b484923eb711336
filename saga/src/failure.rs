//! Why a batch of events was not handled. The error carries the decision what happens next.

use std::error::Error;

type Source = Box<dyn Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A dependency is away. The batch is held and tried again until it is back; no event's
    /// attempts are used up.
    #[error("the database is away")]
    Unavailable(#[source] Source),
    /// Another replica decided one of these sagas in the same moment. What it stored is loaded and
    /// the batch is decided again, at once.
    #[error("another replica was faster")]
    Conflict,
    /// The batch cannot be handled. It is halved until the one event at fault stands alone; that
    /// one goes to a retry tier, and after the last tier to the dead-letter queue.
    #[error("handling failed")]
    Handling(#[source] Source),
}

impl Failure {
    pub fn handling(source: impl Into<Source>) -> Self {
        Self::Handling(source.into())
    }
}

/// The whole chain of an error on one line: the error, then each of its sources.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
