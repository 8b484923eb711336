//! What is done with the journal of a live system: all of it up to now is read, message by message.

mod overdue;
mod record;
mod resend;
mod selection;

use std::time::Duration;

use events::Event;
use saga::bus::{JournalPosition, JournalStart};
use saga::journal::{Journal, JournalError};
use tokio::time::timeout;

pub use overdue::{Overdue, find_overdue};
pub use record::{RecordError, Recorded, record};
pub use resend::{Rate, Resend, resend, sendable};
pub use selection::{InvalidPoint, Selection, point_in_time};

/// How many events are taken at a time.
const PAGE: usize = 4_096;
/// What is known to be there comes within milliseconds. A broker that restarts meanwhile has this
/// long, and no longer, so that a command does not hang for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// How far a sweep is, in messages of the broker.
#[derive(Clone, Copy, Debug)]
pub struct Stand {
    pub done: u64,
    pub all: u64,
}

/// Why a sweep did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("nothing more came for {PATIENCE:?}, although the journal is not at its end")]
    Stalled,
}

/// Shows each message to `visit` that is in the journal by now, from there on, and each page's stand
/// to `watch`; returns how many entries are no message that this build reads. Stops early when `visit`
/// says so.
pub async fn sweep(
    journal: &dyn Journal,
    from: JournalStart,
    watch: &dyn Fn(Stand),
    visit: &mut dyn FnMut(JournalPosition, Event) -> bool,
) -> Result<u64, SweepError> {
    let Some(end) = journal.end().await? else {
        return Ok(0);
    };
    let mut reader = journal.read(from).await?;
    let (mut unreadable, mut first) = (0, None);
    loop {
        let page = timeout(PATIENCE, reader.read(PAGE)).await;
        let page = page.map_err(|_| SweepError::Stalled)?;
        let first = *first.get_or_insert(page.positions.first().map_or(0, |first| first.0));
        for (position, entry) in page.positions.into_iter().zip(page.entries) {
            match entry {
                // Published meanwhile.
                _ if position > end => return Ok(unreadable),
                Err(_) => unreadable += 1,
                Ok(event) => {
                    if !visit(position, event) {
                        return Ok(unreadable);
                    }
                }
            }
        }
        watch(Stand {
            done: page.position.0.abs_diff(first),
            all: end.0.abs_diff(first),
        });
        if page.position >= end {
            return Ok(unreadable);
        }
    }
}
