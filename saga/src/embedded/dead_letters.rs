//! The dead letters of an embedded bus, over a connection of its own to the file, whether or not the
//! system runs on it.
//!
//! That is safe beside the engine, which owns what is in hand: here rows only move from
//! `dead_letter` to *ready* in `queued`, record and move in one transaction. The engine notices
//! within a second that somebody else has written.

use std::collections::HashSet;
use std::path::Path;

use async_trait::async_trait;
use events::{Timestamp, choreography};
use futures_util::TryStreamExt;
use sqlx::{Connection, SqliteConnection};

use super::file;
use super::storage::json;
use crate::dead_letters::{
    Action, Choice, Choose, DeadLetterError, DeadLetters, Deed, Entry, Parked, Recorded, Visit,
};

const PAGE: &str = "
    SELECT id, position, event, attempts, requeued, failure, first_failed_at, last_failed_at
    FROM dead_letter WHERE queue = ?1 AND id > ?2 AND id <= ?3 ORDER BY id LIMIT 256";

const LAST: &str = "SELECT coalesce(max(id), 0) FROM dead_letter WHERE queue = ?1";

const DEPTH: &str = "SELECT count(*) FROM dead_letter WHERE queue = ?1";

const STILL_PARKED: &str = "
    SELECT id FROM dead_letter WHERE id IN (SELECT value FROM json_each(?1))";

const RECORD: &str = "INSERT INTO operation (entry) SELECT value FROM json_each(?1)";

/// A dead letter is complete in itself; what is queued needs the journal.
const RESTORE: &str = "
    INSERT OR IGNORE INTO journal (position, event)
    SELECT position, event FROM dead_letter WHERE id IN (SELECT value FROM json_each(?1))";

const PUT_BACK: &str = "
    INSERT OR IGNORE INTO queued (queue, position, requeued, first_failed_at)
    SELECT queue, position, requeued + 1, first_failed_at
    FROM dead_letter WHERE id IN (SELECT value FROM json_each(?1))";

const REMOVE: &str = "DELETE FROM dead_letter WHERE id IN (SELECT value FROM json_each(?1))";

const UNFINISHED: &str = "
    SELECT count(*) FROM json_each(?2) AS sent
    CROSS JOIN queued ON queue = ?1 AND queued.position = sent.value";

/// The [`DeadLetters`] of one file.
pub struct EmbeddedDeadLetters {
    connection: SqliteConnection,
    /// What was put back last, by queue and place in the journal.
    put_back: (String, Vec<i64>),
}

/// As selected by [`PAGE`].
type Row = (i64, i64, Vec<u8>, u32, u32, String, i64, i64);

/// A row that is taken, and what it says.
type Taken = (i64, i64, Parked);

impl EmbeddedDeadLetters {
    /// Opens the file of a bus that is there.
    pub async fn open(path: &Path) -> Result<Self, DeadLetterError> {
        file::beside(path).await.map_err(DeadLetterError::away)?;
        Ok(Self {
            connection: file::writer(path).await?,
            put_back: Default::default(),
        })
    }

    /// Shows page by page what is parked by now; `act` gets what is taken of each.
    async fn visit(
        &mut self,
        queue: &str,
        deed: Option<&Deed>,
        choose: Choose<'_>,
    ) -> Result<Vec<Parked>, DeadLetterError> {
        let last: i64 = sqlx::query_scalar(LAST)
            .bind(queue)
            .fetch_one(&mut self.connection)
            .await?;
        let (mut after, mut all) = (0, Vec::new());
        loop {
            let page = self.page(queue, after, last).await?;
            let Some(end) = page.last().map(|row| row.0) else {
                return Ok(all);
            };
            let (mut taken, mut stop) = (Vec::new(), false);
            for candidate in page.into_iter().map(|row| read(row, queue)) {
                match choose(&candidate.2) {
                    Choice::Leave => {}
                    Choice::Take => taken.push(candidate),
                    Choice::Stop => stop = true,
                }
                if stop {
                    break;
                }
            }
            if let Some(deed) = deed {
                all.extend(self.carry_out(deed, taken).await?);
            }
            if stop {
                return Ok(all);
            }
            after = end;
        }
    }

    async fn page(&mut self, queue: &str, after: i64, last: i64) -> Result<Vec<Row>, sqlx::Error> {
        sqlx::query_as(PAGE)
            .bind(queue)
            .bind(after)
            .bind(last)
            .fetch_all(&mut self.connection)
            .await
    }

    /// All of it or nothing; what another command took meanwhile is passed over.
    async fn carry_out(
        &mut self,
        deed: &Deed,
        mut taken: Vec<Taken>,
    ) -> Result<Vec<Parked>, DeadLetterError> {
        if taken.is_empty() {
            return Ok(Vec::new());
        }
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        let ids: Vec<i64> = taken.iter().map(|(id, ..)| *id).collect();
        let there: Vec<i64> = sqlx::query_scalar(STILL_PARKED)
            .bind(json(&ids))
            .fetch_all(&mut *transaction)
            .await?;
        let there: HashSet<i64> = there.into_iter().collect();
        taken.retain(|(id, ..)| there.contains(id));
        let entries: Vec<_> = taken
            .iter()
            .map(|(.., parked)| deed.entry(parked))
            .collect();
        // As text, which json_each hands out to the letter.
        let entries: Vec<_> = entries.iter().map(Entry::to_json).collect();
        sqlx::query(RECORD)
            .bind(json(&entries))
            .execute(&mut *transaction)
            .await?;
        let moving = match deed.action {
            Action::Requeue => [RESTORE, PUT_BACK, REMOVE].as_slice(),
            Action::Drop => &[REMOVE],
        };
        let ids = json(&there);
        for statement in moving {
            sqlx::query(statement)
                .bind(&ids)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        self.put_back
            .1
            .extend(taken.iter().map(|(_, position, _)| position));
        Ok(taken.into_iter().map(|(.., parked)| parked).collect())
    }
}

fn read(row: Row, queue: &str) -> Taken {
    let (id, position, event, attempts, requeued, failure, first, last) = row;
    let parked = Parked {
        id: Parked::id_of(&event),
        queue: queue.to_owned(),
        body: event,
        failure,
        attempts,
        requeued,
        first_failed_at: Some(Timestamp::from_micros(first)),
        last_failed_at: Some(Timestamp::from_micros(last)),
        exchange: None,
        routing_key: None,
    };
    (id, position, parked)
}

#[async_trait]
impl DeadLetters for EmbeddedDeadLetters {
    fn queues(&self) -> Vec<String> {
        choreography::steps().map(|step| step.queue()).collect()
    }

    async fn look(&mut self, queue: &str, visit: Visit<'_>) -> Result<(), DeadLetterError> {
        let mut leave = |parked: &Parked| {
            visit(parked);
            Choice::Leave
        };
        self.visit(queue, None, &mut leave).await.map(drop)
    }

    async fn act(
        &mut self,
        queue: &str,
        deed: &Deed,
        choose: Choose<'_>,
    ) -> Result<Vec<Parked>, DeadLetterError> {
        self.put_back = (queue.to_owned(), Vec::new());
        self.visit(queue, Some(deed), choose).await
    }

    async fn depth(&mut self, queue: &str) -> Result<u64, DeadLetterError> {
        let depth: i64 = sqlx::query_scalar(DEPTH)
            .bind(queue)
            .fetch_one(&mut self.connection)
            .await?;
        Ok(depth.unsigned_abs())
    }

    async fn unfinished(&mut self) -> Result<Option<usize>, DeadLetterError> {
        let (queue, positions) = &self.put_back;
        let count: i64 = sqlx::query_scalar(UNFINISHED)
            .bind(queue)
            .bind(json(positions))
            .fetch_one(&mut self.connection)
            .await?;
        Ok(usize::try_from(count).ok())
    }

    async fn record(&mut self, visit: Recorded<'_>) -> Result<(), DeadLetterError> {
        let mut entries = sqlx::query_scalar("SELECT entry FROM operation ORDER BY id")
            .fetch(&mut self.connection);
        while let Some(entry) = entries.try_next().await? {
            let entry: String = entry;
            visit(serde_json::from_str(&entry).map_err(DeadLetterError::away)?);
        }
        Ok(())
    }
}

impl From<sqlx::Error> for DeadLetterError {
    fn from(error: sqlx::Error) -> Self {
        Self::away(error)
    }
}
