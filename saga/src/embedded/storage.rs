//! The one writer: one transaction carries out a whole batch, each statement for all of it at once.
//!
//! A claim counts the delivery in the statement that hands the event out, so that an event which
//! kills the process is counted; what came back unsettled too often is parked.

use std::collections::BTreeMap;

use events::Timestamp;
use sqlx::{Connection, SqliteConnection};

use super::batch::{Batch, Claim, Claimed, Committed, Row};
use super::file::BusFile;
use super::retention::Retention;
use super::settle::{give_back, settle};
use super::topology::QueueName;

const APPEND: &str = "
    INSERT INTO journal (position, event, taken_at) SELECT ?1 + key, value, ?3 FROM json_each(?2)";

const ENQUEUE: &str =
    "INSERT INTO queued (queue, position) SELECT ?1, ?2 + value FROM json_each(?3)";

const WAKE_DUE: &str =
    "UPDATE queued SET state = 'ready', due_at = NULL WHERE state = 'waiting' AND due_at <= ?1";

const NEXT_DUE: &str = "SELECT min(due_at) FROM queued WHERE state = 'waiting'";

/// The planner knows no statistics, and would walk the whole queue without the hint.
const CLAIM_READY: &str = "
    UPDATE queued SET state = 'in_hand', deliveries = deliveries + 1
    WHERE queue = ?1 AND position IN (
        SELECT position FROM queued INDEXED BY queued_ready WHERE queue = ?1 AND state = 'ready'
        ORDER BY position LIMIT ?2)
    RETURNING position, attempts,
        (SELECT event FROM journal WHERE journal.position = queued.position) AS event";

const CLAIM_SUSPECT: &str = "
    UPDATE queued SET state = 'in_hand', deliveries = deliveries + 1
    WHERE queue = ?1 AND position IN (
        SELECT position FROM queued INDEXED BY queued_suspect WHERE queue = ?1 AND state = 'suspect'
        ORDER BY position LIMIT ?2)
    RETURNING position, attempts,
        (SELECT event FROM journal WHERE journal.position = queued.position) AS event";

/// The writer's connection and what it knows of the file.
pub(super) struct Storage {
    file: BusFile,
    connection: Option<SqliteConnection>,
    last_position: i64,
    /// SQLite's own mark of what other connections wrote, as far as we know it.
    data_version: Option<i64>,
}

/// What a file holds that was open before.
pub(super) struct Found {
    /// What was in hand when its process died, by queue.
    pub(super) in_hand: BTreeMap<QueueName, Vec<i64>>,
    pub(super) next_due: Option<Timestamp>,
}

impl Storage {
    pub(super) fn new(file: BusFile) -> Self {
        Self {
            file,
            connection: None,
            last_position: 0,
            data_version: None,
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// The position of the last event that is committed.
    pub(super) fn last_position(&self) -> i64 {
        self.last_position
    }

    /// Opens the connection, and asks the file what it holds: an error before may have left a
    /// transaction whose outcome nobody saw.
    pub(super) async fn connect(&mut self) -> Result<Found, sqlx::Error> {
        let mut connection = self.file.writer().await?;
        let last_position: Option<i64> =
            sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'journal'")
                .fetch_optional(&mut connection)
                .await?;
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT queue, position FROM queued WHERE state = 'in_hand'")
                .fetch_all(&mut connection)
                .await?;
        let mut in_hand: BTreeMap<QueueName, Vec<i64>> = BTreeMap::new();
        for (queue, position) in rows {
            in_hand.entry(queue.into()).or_default().push(position);
        }
        let next_due = next_due(&mut connection).await?;
        self.last_position = last_position.unwrap_or(0);
        self.connection = Some(connection);
        Ok(Found { in_hand, next_due })
    }

    /// Whether somebody else has written to the file since this was asked last.
    pub(super) async fn was_written_by_others(&mut self) -> Result<bool, sqlx::Error> {
        let Some(connection) = &mut self.connection else {
            return Ok(false);
        };
        let version: i64 = sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(connection)
            .await?;
        Ok(self.data_version.replace(version) != Some(version))
    }

    /// Lets the journal go on with what its retention wants.
    pub(super) async fn trim(&mut self, retention: &mut Retention) -> Result<(), sqlx::Error> {
        match &mut self.connection {
            Some(connection) => retention.step(connection, self.last_position).await,
            None => Err(sqlx::Error::PoolClosed),
        }
    }

    /// Forgets the connection, after an error that it may not have survived.
    pub(super) fn disconnect(&mut self) {
        self.connection = None;
    }

    pub(super) async fn close(mut self) -> Result<(), sqlx::Error> {
        match self.connection.take() {
            Some(connection) => connection.close().await,
            None => Ok(()),
        }
    }

    /// Carries out all of the batch, or nothing of it.
    pub(super) async fn commit(&mut self, batch: &Batch) -> Result<Committed, sqlx::Error> {
        let first = self.last_position + 1;
        let connection = self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        append(&mut transaction, first, batch).await?;
        let mut exhausted = Vec::new();
        for (queue, settled) in &batch.settled {
            exhausted
                .extend(give_back(&mut transaction, queue, &settled.returned, batch.now).await?);
            settle(&mut transaction, queue, settled, batch.now).await?;
        }
        if batch.wake_due {
            wake_due(&mut transaction, batch.now).await?;
        }
        let mut claimed = Vec::new();
        for wanted in &batch.claims {
            claimed.push(claim(&mut transaction, wanted).await?);
        }
        let next_due = match batch.changes_what_waits() {
            true => Some(next_due(&mut transaction).await?),
            false => None,
        };
        transaction.commit().await?;
        self.last_position += signed(batch.count);
        Ok(Committed {
            claimed,
            exhausted,
            next_due,
        })
    }
}

/// Whether the error lies in what was to be written, so that other requests need not fail with it;
/// if not, the file or the disk is at fault.
pub(super) fn is_about_content(error: &sqlx::Error) -> bool {
    /// SQLite's primary result codes ERROR, TOOBIG, CONSTRAINT and MISMATCH.
    const CONTENT: [i32; 4] = [1, 18, 19, 20];
    match error {
        sqlx::Error::Database(error) => error
            .code()
            .and_then(|code| code.parse::<i32>().ok())
            .is_some_and(|code| CONTENT.contains(&(code & 0xff))),
        sqlx::Error::Encode(_) => true,
        _ => false,
    }
}

async fn append(
    connection: &mut SqliteConnection,
    first: i64,
    batch: &Batch,
) -> Result<(), sqlx::Error> {
    if batch.count == 0 {
        return Ok(());
    }
    sqlx::query(APPEND)
        .bind(first)
        .bind(&batch.events)
        .bind(batch.now.as_micros())
        .execute(&mut *connection)
        .await?;
    for (queue, indexes) in &batch.arrivals {
        sqlx::query(ENQUEUE)
            .bind(&**queue)
            .bind(first)
            .bind(json(indexes))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn wake_due(connection: &mut SqliteConnection, now: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query(WAKE_DUE)
        .bind(now.as_micros())
        .execute(connection)
        .await?;
    Ok(())
}

async fn next_due(connection: &mut SqliteConnection) -> Result<Option<Timestamp>, sqlx::Error> {
    let due: Option<i64> = sqlx::query_scalar(NEXT_DUE).fetch_one(connection).await?;
    Ok(due.map(Timestamp::from_micros))
}

async fn claim(connection: &mut SqliteConnection, wanted: &Claim) -> Result<Claimed, sqlx::Error> {
    let mut claimed = Claimed::default();
    if wanted.suspect {
        claimed.suspect = take(connection, CLAIM_SUSPECT, &wanted.queue, 1).await?;
    }
    let room = wanted.room.saturating_sub(claimed.suspect.len());
    if wanted.ready && room > 0 {
        claimed.ready = take(connection, CLAIM_READY, &wanted.queue, room).await?;
    }
    Ok(claimed)
}

async fn take(
    connection: &mut SqliteConnection,
    statement: &'static str,
    queue: &QueueName,
    limit: usize,
) -> Result<Vec<Row>, sqlx::Error> {
    let rows: Vec<(i64, u32, Vec<u8>)> = sqlx::query_as(statement)
        .bind(&**queue)
        .bind(signed(limit))
        .fetch_all(connection)
        .await?;
    let rows = rows.into_iter().map(|(position, attempts, event)| Row {
        position,
        attempts,
        event,
    });
    let mut rows: Vec<_> = rows.collect();
    // SQLite returns updated rows in no promised order.
    rows.sort_unstable_by_key(|row| row.position);
    Ok(rows)
}

/// A count as SQL's integer.
pub(super) fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A list as the one parameter of a statement that reads it with `json_each`.
pub(super) fn json(list: &impl serde::Serialize) -> String {
    serde_json::to_string(list).expect("lists of numbers and texts have no failing serializer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::{retention, settle};

    /// The cost of a delivery must grow neither with the journal nor with the backlog.
    #[tokio::test]
    async fn no_statement_walks_a_whole_queue_or_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let file = BusFile::open(folder.path().join("bus.db")).await.unwrap();
        let mut connection = file.writer().await.unwrap();
        let here = [
            APPEND,
            ENQUEUE,
            WAKE_DUE,
            NEXT_DUE,
            CLAIM_READY,
            CLAIM_SUSPECT,
        ];
        let of_others = settle::STATEMENTS.into_iter().chain(retention::STATEMENTS);
        for statement in here.into_iter().chain(of_others) {
            let explain = format!("EXPLAIN QUERY PLAN {statement}");
            let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(&explain)
                .fetch_all(&mut connection)
                .await
                .unwrap();
            for (_, _, _, step) in plan {
                let all = ["SCAN queued", "SCAN journal", "PRIMARY KEY (queue=?)"];
                assert!(
                    !all.iter().any(|all| step.contains(all)),
                    "{step}: {statement}"
                );
            }
        }
    }
}
