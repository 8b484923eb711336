//! Removes sagas that ended longer ago than they are kept, and nothing else, in small batches.
//!
//! What the participants decided does not expire with them: a request that is sent again with the
//! key of a removed saga is answered as before, and the saga is in the ledger again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use events::Timestamp;
use metrics::{Counter, counter, describe_counter};
use saga::failure::chain;
use tracing::{info, warn};

use super::projector::Projector;
use super::{Ledger, LedgerError, Mark};

/// A saga is kept at most this much longer than asked, as long as a sweep takes less.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// A few milliseconds of the database's time, so that no page of the projector waits for it.
const BATCH: usize = 1_000;
/// Between two batches. With it some twenty thousand sagas a second are removed, as many as are run.
const PAUSE: Duration = Duration::from_millis(20);

/// What a batch did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    pub count: u64,
    /// The last saga that was looked at; none at the end.
    pub reached: Option<Mark>,
}

impl Projector {
    /// Goes on for as long as this replica projects, if anything is to be removed.
    pub(super) async fn remove_old(&self) -> Infallible {
        match self.keep_ended {
            Some(keep) => Retention::new(&self.ledger, keep).run().await,
            None => std::future::pending().await,
        }
    }
}

/// Sweeps the ledger again and again.
pub struct Retention {
    ledger: Arc<dyn Ledger>,
    keep: Duration,
    removed: Counter,
}

impl Retention {
    pub fn new(ledger: &Arc<dyn Ledger>, keep: Duration) -> Self {
        describe_counter!(
            "ledger_removed_sagas_total",
            "sagas that were removed because they ended longer ago than they are kept"
        );
        Self {
            ledger: Arc::clone(ledger),
            keep,
            removed: counter!("ledger_removed_sagas_total"),
        }
    }

    async fn run(&self) -> Infallible {
        loop {
            match self.sweep(Timestamp::now()).await {
                Ok(0) => {}
                Ok(removed) => info!(removed, "sagas that ended long ago are removed"),
                Err(problem) => {
                    let error = chain(&problem);
                    warn!(error, "old sagas are not removed; it is tried again");
                }
            }
            tokio::time::sleep(SWEEP_EVERY).await;
        }
    }

    /// Goes once through all sagas that are old enough, and passes over those that have not ended:
    /// each batch begins where the last one came to. Returns how many it removed.
    pub async fn sweep(&self, now: Timestamp) -> Result<u64, LedgerError> {
        let (before, mut after, mut removed) = (now - self.keep, Mark::OLDEST, 0);
        loop {
            let batch = self.ledger.remove_ended(before, after, BATCH).await?;
            self.removed.increment(batch.count);
            removed += batch.count;
            match batch.reached {
                Some(reached) => after = reached,
                None => return Ok(removed),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
