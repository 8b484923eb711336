//! How long the journal keeps what it has: oldest first, in small batches between the engine's other
//! work.
//!
//! Invariant: an entry goes only when every reader has said that it will not ask for it again, so
//! without a reader nothing goes; and never while a queue owes it to a consumer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::Timestamp;
use sqlx::SqliteConnection;
use tokio::time::Instant;

use super::place::{Entry, taken_at};
use super::storage::signed;

/// As long as RabbitMQ keeps it by default.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const MAX_BYTES: u64 = 20_000_000_000;

/// A batch takes a few milliseconds, which a publisher may have to wait.
const BATCH: usize = 1_000;
/// How often to look whether something is old: one read of a batch, which an idle system hardly
/// notices.
const LOOK: Duration = Duration::from_secs(1);

/// What the journal of the embedded bus keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalRetention {
    pub max_age: Duration,
    /// Of the whole file, of which the journal is nearly all. The file does not shrink, but grows no
    /// further.
    pub max_bytes: u64,
}

impl Default for JournalRetention {
    fn default() -> Self {
        Self {
            max_age: MAX_AGE,
            max_bytes: MAX_BYTES,
        }
    }
}

/// Up to where each reader of the journal is done with it, by a number of its own.
#[derive(Clone, Default)]
pub(super) struct Readers(Arc<Mutex<BTreeMap<u64, i64>>>);

impl Readers {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a reader that begins behind this position.
    pub(super) fn add(&self, position: i64) -> Bookmark {
        let mut all = self.all();
        let number = all.last_key_value().map_or(0, |(last, _)| last + 1);
        all.insert(number, position);
        Bookmark {
            readers: self.clone(),
            number,
        }
    }

    /// Up to where everybody is done; none without a reader.
    fn all_done(&self) -> Option<i64> {
        self.all().values().min().copied()
    }
}

/// A reader's place among all, until it is dropped.
pub(super) struct Bookmark {
    readers: Readers,
    number: u64,
}

impl Bookmark {
    pub(super) fn move_to(&self, position: i64) {
        self.readers.all().insert(self.number, position);
    }
}

impl Drop for Bookmark {
    fn drop(&mut self) {
        self.readers.all().remove(&self.number);
    }
}

/// Looks through the journal, a batch at a time, and begins again at its start after a while.
pub(super) struct Retention {
    limits: JournalRetention,
    readers: Readers,
    /// When the next batch is due.
    pub(super) due: Instant,
    /// What this look has passed, gone or kept.
    passed: i64,
}

const OLDEST: &str = "
    SELECT position, taken_at,
           iif(taken_at IS NULL AND json_valid(event), event ->> 'time', NULL) AS time
    FROM journal WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3";

const USED: &str = "
    SELECT (page_count - freelist_count) * page_size
    FROM pragma_page_count, pragma_freelist_count, pragma_page_size";

/// The names of the queues come from the index, one step for each.
const REMOVE: &str = "
    WITH RECURSIVE waiting(queue) AS (
        SELECT min(queue) FROM queued
        UNION ALL
        SELECT (SELECT min(queue) FROM queued WHERE queue > waiting.queue)
        FROM waiting WHERE queue IS NOT NULL)
    DELETE FROM journal WHERE position > ?1 AND position <= ?2 AND position NOT IN (
        SELECT queued.position FROM waiting CROSS JOIN queued ON queued.queue = waiting.queue
        WHERE queued.position > ?1 AND queued.position <= ?2)";

/// For the test that none of them walks a whole queue.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 2] = [OLDEST, REMOVE];

impl Retention {
    pub(super) fn new(limits: JournalRetention, readers: Readers) -> Self {
        Self {
            limits,
            readers,
            due: Instant::now(),
            passed: 0,
        }
    }

    /// Removes the next batch of what is old or too much. The last entry of the journal stays.
    pub(super) async fn step(
        &mut self,
        connection: &mut SqliteConnection,
        last: i64,
    ) -> Result<(), sqlx::Error> {
        let bound = self.readers.all_done().map(|done| done.min(last - 1));
        let end = match bound {
            Some(bound) => self.end_of_batch(connection, bound).await?,
            None => None,
        };
        let Some(end) = end else {
            (self.due, self.passed) = (Instant::now() + LOOK, 0);
            return Ok(());
        };
        sqlx::query(REMOVE)
            .bind(self.passed)
            .bind(end)
            .execute(connection)
            .await?;
        self.passed = end;
        Ok(())
    }

    /// Up to where the next batch goes; none if nothing of it is old or too much.
    async fn end_of_batch(
        &self,
        connection: &mut SqliteConnection,
        bound: i64,
    ) -> Result<Option<i64>, sqlx::Error> {
        let entries: Vec<Entry> = sqlx::query_as(OLDEST)
            .bind(self.passed)
            .bind(bound)
            .bind(signed(BATCH))
            .fetch_all(&mut *connection)
            .await?;
        let used: i64 = sqlx::query_scalar(USED).fetch_one(connection).await?;
        let too_much = used.unsigned_abs() > self.limits.max_bytes;
        let now = Timestamp::now();
        let is_old = |entry: &Entry| now.since(taken_at(entry)) > self.limits.max_age;
        let goes = entries.iter().take_while(|entry| too_much || is_old(entry));
        Ok(goes.last().map(|entry| entry.0))
    }

    /// Tries again later, after an error.
    pub(super) fn put_off(&mut self) {
        self.due = Instant::now() + LOOK;
    }
}
