//! Waiting for a database or a broker that is away.

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::retry::Backoff;

/// The process was asked to stop while it waited for a dependency. What is in hand stays unsettled.
pub(super) struct Stopped;

/// A wait for a dependency that is away: said once when it begins and once when it is over.
pub(super) struct Waiting<'a> {
    pub(super) queue: &'a str,
    pub(super) dependency: &'static str,
    pub(super) events: usize,
    pub(super) jitter_seed: Option<u64>,
    pub(super) backoff: Option<Backoff>,
}

impl Waiting<'_> {
    pub(super) async fn once(
        &mut self,
        reason: String,
        stop: &CancellationToken,
    ) -> Result<(), Stopped> {
        let Self {
            queue,
            dependency,
            events,
            jitter_seed,
            ..
        } = *self;
        let backoff = self.backoff.get_or_insert_with(|| {
            warn!(
                queue,
                events, reason, "waiting for {dependency}; the events are held, not failed"
            );
            jitter_seed.map_or_else(Backoff::new, Backoff::seeded)
        });
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(Stopped),
            () = tokio::time::sleep(backoff.next_delay()) => Ok(()),
        }
    }

    pub(super) fn over(&self) {
        if self.backoff.is_some() {
            info!(
                queue = self.queue,
                events = self.events,
                "{} is back",
                self.dependency
            );
        }
    }
}
