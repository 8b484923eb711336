//! Publishes again the commands that nobody answers.
//!
//! Every other message has an unacknowledged delivery behind it, which brings it back whatever
//! breaks. A command has only its caller: a broker that dies between writing it to the journal and
//! to its queue leaves a saga that is known and that nobody will ever work on. So whoever projects
//! publishes a command again when it has waited for longer than a step takes. One that was
//! only slow is answered twice with the same answer, and one past its deadline is refused.

use std::convert::Infallible;
use std::time::Duration;

use events::{Event, Timestamp};
use saga::failure::chain;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::Mark;
use super::projector::{BEHIND, Projector};

/// Longer than a step should take; and twice what the ledger may be behind while it counts as up to
/// date, so that no saga turns up that began before those that were looked at.
const PATIENCE: Duration = BEHIND.saturating_mul(2);
/// Between two looks, an index lookup each.
const LOOK: Duration = Duration::from_secs(1);
/// At one look. A worker that is away leaves commands unanswered that are not lost; so few more are
/// hardly felt when it is back.
const MOST_AT_ONCE: usize = 100;

impl Projector {
    /// Goes on for as long as this replica projects. Each saga is looked at once, in the order in
    /// which they began, and once more after any trouble of the broker: what that took down may have
    /// begun before what was looked at already.
    pub(super) async fn repair(&self) -> Infallible {
        let (mut mark, mut broker) = (Mark::OLDEST, self.bus.health());
        loop {
            sleep(LOOK).await;
            if broker.has_changed().unwrap_or(false) {
                broker.mark_unchanged();
                mark = Mark::OLDEST;
                // By then the ledger has what the broker has, or says that it is behind.
                sleep(PATIENCE).await;
                continue;
            }
            if !self.health.borrow().is_up() {
                continue;
            }
            let before = Timestamp::now() - PATIENCE;
            let found = match self.ledger.unfinished(mark, before, MOST_AT_ONCE).await {
                Ok(found) => found,
                Err(problem) => {
                    debug!(error = chain(&problem), "looking for unanswered commands");
                    continue;
                }
            };
            let Some(last) = found.rows.last() else {
                continue;
            };
            let unanswered = found
                .rows
                .iter()
                .filter_map(|row| row.unanswered.as_deref());
            let commands: Vec<Event> = unanswered.cloned().collect();
            if self.published_again(&commands).await {
                mark = Mark::of(last);
            }
        }
    }

    async fn published_again(&self, commands: &[Event]) -> bool {
        let Some(first) = commands.first() else {
            return true;
        };
        if let Err(problem) = self.bus.publish(commands).await {
            warn!(
                saga_id = %first.saga_id,
                error = chain(&problem),
                "unanswered commands cannot be published again yet"
            );
            return false;
        }
        let count = commands.len();
        self.metrics.published_again.increment(count as u64);
        info!(
            saga_id = %first.saga_id,
            message_id = %first.id,
            message_type = %first.message_type(),
            count,
            "published commands again that nobody has answered for {PATIENCE:?}: the first is of \
             this saga"
        );
        true
    }
}
