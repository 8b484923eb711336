//! The ledger in SQLite. A page travels as one JSON text: the statement count does not grow with
//! the page, and each statement is a trip to SQLite's own thread.

use async_trait::async_trait;
use events::{SagaId, Timestamp};
use saga::bus::JournalPosition;
use serde_json::{Value, json};
use sqlx::{SqliteConnection, SqlitePool};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::overdue::COUNTED;
use super::{
    AtStep, Claim, Derived, Ledger, LedgerError, Listed, Mark, Projection, Removed, Row, Saved,
    StepLimit, Stored, UnreadableRow, Which, readable, reason_text, row_from, unanswered_text,
};

#[derive(Clone, Debug)]
pub struct SqliteLedger {
    pool: SqlitePool,
}

impl SqliteLedger {
    pub fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }
}

const FIND: &str = "
    SELECT saga_id, user_id, ticket_id, user_ticket_id, regist_id, reason, unanswered, timeline
    FROM saga WHERE saga_id = ?1";

const LOAD: &str = "
    SELECT saga_id, user_id, ticket_id, user_ticket_id, regist_id, reason, unanswered, timeline
    FROM saga WHERE saga_id IN (SELECT value FROM json_each(?1))";

const LIST_ALL: &str = "
    SELECT saga_id, user_id, ticket_id, user_ticket_id, regist_id, reason, unanswered, timeline
    FROM saga WHERE (started_at, saga_id) < (?1, ?2)
    ORDER BY started_at DESC, saga_id DESC LIMIT ?3";

const LIST_UNFINISHED: &str = "
    SELECT saga_id, user_id, ticket_id, user_ticket_id, regist_id, reason, unanswered, timeline
    FROM saga WHERE (started_at, saga_id) < (?1, ?2) AND ended_at IS NULL
    ORDER BY started_at DESC, saga_id DESC LIMIT ?3";

const LIST_OF_USER: &str = "
    SELECT saga_id, user_id, ticket_id, user_ticket_id, regist_id, reason, unanswered, timeline
    FROM saga WHERE (started_at, saga_id) < (?1, ?2) AND user_id = ?4
    ORDER BY started_at DESC, saga_id DESC LIMIT ?3";

const UNFINISHED: &str = "
    SELECT saga_id, user_id, ticket_id, user_ticket_id, regist_id, reason, unanswered, timeline
    FROM saga WHERE (started_at, saga_id) > (?1, ?2) AND started_at < ?3 AND ended_at IS NULL
    ORDER BY started_at, saga_id LIMIT ?4";

const CLAIM: &str = "
    UPDATE ledger_cursor SET owner = ?1, lease_until = ?2
    WHERE id = 1 AND (owner = ?1 OR lease_until < ?3)
    RETURNING position";

const RELEASE: &str = "UPDATE ledger_cursor SET lease_until = 0 WHERE id = 1 AND owner = ?1";

const MOVE: &str = "
    UPDATE ledger_cursor SET position = ?4, seen = ?6, owner = ?1, lease_until = ?2
    WHERE id = 1 AND position IS ?5 AND (owner = ?1 OR lease_until < ?3)";

const STEP_BACK: &str = "UPDATE ledger_cursor SET position = position - 1 WHERE id = 1";

// `WHERE true` tells the parser that ON CONFLICT is no join condition.
const WRITE: &str = "
    INSERT INTO saga (saga_id, user_ticket_id, regist_id, user_id, ticket_id, started_at,
        ended_at, waits_since, saga, status, waits_for, reason, unanswered,
        timeline)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
        value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11,
        value ->> 12, value ->> 13
    FROM json_each(?1) WHERE true
    ON CONFLICT (saga_id) DO UPDATE SET
        user_ticket_id = excluded.user_ticket_id, regist_id = excluded.regist_id,
        user_id = excluded.user_id, ticket_id = excluded.ticket_id,
        started_at = excluded.started_at, ended_at = excluded.ended_at,
        waits_since = excluded.waits_since, saga = excluded.saga, status = excluded.status,
        waits_for = excluded.waits_for, reason = excluded.reason,
        unanswered = excluded.unanswered, timeline = excluded.timeline";

const WAITING: &str = "
    SELECT
        (SELECT count(*) FROM (
            SELECT 1 FROM saga WHERE waits_for = value ->> 0 LIMIT ?2)),
        (SELECT count(*) FROM (
            SELECT 1 FROM saga WHERE waits_for = value ->> 0 AND waits_since < value ->> 1
            LIMIT ?2)),
        (SELECT waits_since FROM saga WHERE waits_for = value ->> 0 ORDER BY waits_since LIMIT 1)
    FROM json_each(?1) ORDER BY key";

const OLD: &str = "
    SELECT started_at, saga_id FROM saga
    WHERE (started_at, saga_id) > (?1, ?2) AND started_at < ?3
    ORDER BY started_at, saga_id LIMIT ?4";

const REMOVE_ENDED: &str = "
    DELETE FROM saga WHERE saga_id IN (SELECT value FROM json_each(?1)) AND ended_at < ?2";

/// As read from SQLite, where ids are text.
type Text = (
    Hyphenated,
    Option<i64>,
    Option<i64>,
    Option<Hyphenated>,
    Option<Hyphenated>,
    Option<String>,
    Option<String>,
    String,
);

#[async_trait]
impl Ledger for SqliteLedger {
    async fn find(&self, saga: SagaId) -> Result<Option<Row>, LedgerError> {
        let stored: Option<Text> = sqlx::query_as(FIND)
            .bind(saga.0.hyphenated())
            .fetch_optional(&self.pool)
            .await?;
        Ok(stored.map(|text| row_from(parsed(text))).transpose()?)
    }

    async fn load(&self, sagas: &[SagaId]) -> Result<Vec<Result<Row, UnreadableRow>>, LedgerError> {
        let stored: Vec<Text> = sqlx::query_as(LOAD)
            .bind(json!(sagas).to_string())
            .fetch_all(&self.pool)
            .await?;
        Ok(stored
            .into_iter()
            .map(|text| row_from(parsed(text)))
            .collect())
    }

    async fn list(&self, which: Which, before: Mark, limit: usize) -> Result<Listed, LedgerError> {
        let query = match which {
            Which::All => sqlx::query_as(LIST_ALL),
            Which::Unfinished => sqlx::query_as(LIST_UNFINISHED),
            Which::OfUser(_) => sqlx::query_as(LIST_OF_USER),
        };
        let query = query
            .bind(before.started_at.as_micros())
            .bind(before.saga_id.0.hyphenated())
            .bind(limit as i64);
        let query = match which {
            Which::OfUser(user) => query.bind(user.to_sql()),
            Which::All | Which::Unfinished => query,
        };
        let stored: Vec<Text> = query.fetch_all(&self.pool).await?;
        Ok(readable(stored.into_iter().map(parsed).collect()))
    }

    async fn unfinished(
        &self,
        after: Mark,
        before: Timestamp,
        limit: usize,
    ) -> Result<Listed, LedgerError> {
        let stored: Vec<Text> = sqlx::query_as(UNFINISHED)
            .bind(after.started_at.as_micros())
            .bind(after.saga_id.0.hyphenated())
            .bind(before.as_micros())
            .bind(limit as i64)
            .fetch_all(&self.pool)
            .await?;
        Ok(readable(stored.into_iter().map(parsed).collect()))
    }

    async fn claim(&self, lease: &super::Lease<'_>) -> Result<Claim, LedgerError> {
        let held: Option<(Option<i64>,)> = sqlx::query_as(CLAIM)
            .bind(lease.owner)
            .bind(lease.until().as_micros())
            .bind(lease.now.as_micros())
            .fetch_optional(&self.pool)
            .await?;
        Ok(held.map_or(Claim::Taken, |(position,)| Claim::Held {
            cursor: position.map(JournalPosition),
        }))
    }

    async fn release(&self, owner: &str) -> Result<(), LedgerError> {
        sqlx::query(RELEASE).bind(owner).execute(&self.pool).await?;
        Ok(())
    }

    async fn save(&self, page: &Projection<'_>) -> Result<Saved, LedgerError> {
        let rows = Value::Array(page.new.iter().chain(page.known).map(array).collect());
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let moved = sqlx::query(MOVE)
            .bind(page.lease.owner)
            .bind(page.lease.until().as_micros())
            .bind(page.lease.now.as_micros())
            .bind(page.to.map(|position| position.0))
            .bind(page.from.map(|position| position.0))
            .bind(page.seen.map(|position| position.0))
            .execute(&mut *transaction)
            .await?;
        if moved.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(Saved::NotOurs);
        }
        sqlx::query(WRITE)
            .bind(rows.to_string())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Saved::Yes)
    }

    async fn waiting(&self, steps: &[StepLimit]) -> Result<Vec<AtStep>, LedgerError> {
        let pairs = steps
            .iter()
            .map(|step| json!([step.queue, step.overdue_before.as_micros()]));
        let counted: Vec<(i64, i64, Option<i64>)> = sqlx::query_as(WAITING)
            .bind(Value::Array(pairs.collect()).to_string())
            .bind(COUNTED as i64)
            .fetch_all(&self.pool)
            .await?;
        let at = |(waiting, overdue, oldest): (i64, i64, Option<i64>)| {
            AtStep::of(waiting, overdue, oldest.map(Timestamp::from_micros))
        };
        Ok(counted.into_iter().map(at).collect())
    }

    async fn remove_ended(
        &self,
        before: Timestamp,
        after: Mark,
        limit: usize,
    ) -> Result<Removed, LedgerError> {
        let old: Vec<(i64, Hyphenated)> = sqlx::query_as(OLD)
            .bind(after.started_at.as_micros())
            .bind(after.saga_id.0.hyphenated())
            .bind(before.as_micros())
            .bind(limit as i64)
            .fetch_all(&self.pool)
            .await?;
        let ids: Vec<Uuid> = old.iter().map(|(_, id)| Uuid::from(*id)).collect();
        let removed = sqlx::query(REMOVE_ENDED)
            .bind(json!(ids).to_string())
            .bind(before.as_micros())
            .execute(&self.pool)
            .await?;
        Ok(Removed {
            count: removed.rows_affected(),
            reached: old.last().map(|(started_at, id)| Mark {
                started_at: Timestamp::from_micros(*started_at),
                saga_id: SagaId(Uuid::from(*id)),
            }),
        })
    }
}

impl SqliteLedger {
    pub(super) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// Writes rows while the cursor is held in this transaction, and moves it back by one.
    pub(super) async fn mend(held: &mut SqliteConnection, rows: &[Row]) -> Result<(), LedgerError> {
        let rows = Value::Array(rows.iter().map(array).collect());
        sqlx::query(STEP_BACK).execute(&mut *held).await?;
        sqlx::query(WRITE)
            .bind(rows.to_string())
            .execute(held)
            .await?;
        Ok(())
    }
}

fn parsed((id, user, ticket, user_ticket, regist, reason, unanswered, timeline): Text) -> Stored {
    let uuid = |text: Hyphenated| Uuid::from(text);
    (
        uuid(id),
        user,
        ticket,
        user_ticket.map(uuid),
        regist.map(uuid),
        reason,
        unanswered,
        timeline,
    )
}

/// The row as [`WRITE`] takes it apart.
fn array(row: &Row) -> Value {
    let derived = Derived::of(row);
    json!([
        row.saga_id,
        row.user_ticket_id,
        row.regist_id,
        row.user_id.map(|id| id.to_sql()),
        row.ticket_id.map(|id| id.to_sql()),
        derived.started_at.map(Timestamp::as_micros),
        derived.ended_at.map(Timestamp::as_micros),
        derived.waits_since.map(Timestamp::as_micros),
        row.kind(),
        derived.status,
        derived.waits_for,
        reason_text(row),
        unanswered_text(row),
        row.timeline.to_text(row.saga_id),
    ])
}
