//! The ledger in PostgreSQL. A page is one statement, hence one round trip and one commit: the
//! cursor moves if it is where it should be and the lease is ours, and the rows are written only
//! if it moved.
//!
//! The commit does not wait for the disk. Should the server crash and lose it, cursor and rows are
//! together what they were before, and the journal is read again from there. A statement that is
//! given up because it is not answered may still be carried out: then the next attempt finds that the
//! cursor has moved or, where sagas are held and it did not, that its new rows are there already.

use std::sync::LazyLock;

use async_trait::async_trait;
use events::{SagaId, Timestamp};
use saga::bus::JournalPosition;
use saga::database::answered;
use sqlx::postgres::PgArguments;
use sqlx::{PgConnection, PgPool, Postgres};
use time::OffsetDateTime;
use uuid::Uuid;

use super::desk::BREATH;
use super::overdue::COUNTED;
use super::{
    AtStep, Claim, Derived, Ledger, LedgerError, Listed, Mark, Projection, Removed, Row, Saved,
    StepLimit, Stored, UnreadableRow, Which, readable, reason_text, row_from, unanswered_text,
};

type Query<'q, O> = sqlx::query::QueryAs<'q, Postgres, O, PgArguments>;

#[derive(Clone, Debug)]
pub struct PostgresLedger {
    pool: PgPool,
}

impl PostgresLedger {
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

const FIND: &str = "
    SELECT saga_id, user_id, ticket_id, user_ticket_id, regist_id, reason, unanswered, timeline
    FROM saga WHERE saga_id = $1";

const LOAD: &str = "
    SELECT saga_id, user_id, ticket_id, user_ticket_id, regist_id, reason, unanswered, timeline
    FROM saga WHERE saga_id = ANY($1)";

const LIST_ALL: &str = "
    SELECT saga_id, user_id, ticket_id, user_ticket_id, regist_id, reason, unanswered, timeline
    FROM saga WHERE (started_at, saga_id) < ($1, $2)
    ORDER BY started_at DESC, saga_id DESC LIMIT $3";

const LIST_UNFINISHED: &str = "
    SELECT saga_id, user_id, ticket_id, user_ticket_id, regist_id, reason, unanswered, timeline
    FROM saga WHERE (started_at, saga_id) < ($1, $2) AND ended_at IS NULL
    ORDER BY started_at DESC, saga_id DESC LIMIT $3";

const LIST_OF_USER: &str = "
    SELECT saga_id, user_id, ticket_id, user_ticket_id, regist_id, reason, unanswered, timeline
    FROM saga WHERE (started_at, saga_id) < ($1, $2) AND user_id = $4
    ORDER BY started_at DESC, saga_id DESC LIMIT $3";

const UNFINISHED: &str = "
    SELECT saga_id, user_id, ticket_id, user_ticket_id, regist_id, reason, unanswered, timeline
    FROM saga WHERE (started_at, saga_id) > ($1, $2) AND started_at < $3 AND ended_at IS NULL
    ORDER BY started_at, saga_id LIMIT $4";

const CLAIM: &str = "
    UPDATE ledger_cursor SET owner = $1, lease_until = $2
    WHERE id = 1 AND (owner = $1 OR lease_until < $3)
    RETURNING position";

const RELEASE: &str = "UPDATE ledger_cursor SET lease_until = 'epoch' WHERE id = 1 AND owner = $1";

/// What [`rows`] is followed by if some of the rows may be there already.
const WRITE_OVER: &str = "ON CONFLICT (saga_id) DO UPDATE SET
    user_ticket_id = excluded.user_ticket_id, regist_id = excluded.regist_id,
    user_id = excluded.user_id, ticket_id = excluded.ticket_id,
    started_at = excluded.started_at, ended_at = excluded.ended_at,
    waits_since = excluded.waits_since, saga = excluded.saga, status = excluded.status,
    waits_for = excluded.waits_for, reason = excluded.reason,
    unanswered = excluded.unanswered, timeline = excluded.timeline";

/// How many parameters [`rows`] has.
const COLUMNS: usize = 14;

/// Inserts the rows of as many parameters behind this one, if `moved` has anything.
fn rows(behind: usize) -> String {
    let [p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13, p14]: [usize; COLUMNS] =
        std::array::from_fn(|column| behind + 1 + column);
    format!(
        "INSERT INTO saga (saga_id, user_ticket_id, regist_id, user_id, ticket_id, started_at,
            ended_at, waits_since, saga, status, waits_for, reason, unanswered, timeline)
        SELECT page.* FROM moved, UNNEST(${p1}::uuid[], ${p2}::uuid[], ${p3}::uuid[],
            ${p4}::bigint[], ${p5}::bigint[], ${p6}::timestamptz[], ${p7}::timestamptz[],
            ${p8}::timestamptz[], ${p9}::text[], ${p10}::text[], ${p11}::text[], ${p12}::text[],
            ${p13}::text[], ${p14}::text[]) AS page"
    )
}

/// Under load nearly all rows are new; to insert them as such costs a quarter less than to be ready
/// for each to be there.
static SAVE: LazyLock<String> = LazyLock::new(|| {
    let (new, known) = (rows(6), rows(6 + COLUMNS));
    format!(
        "WITH moved AS (
            UPDATE ledger_cursor SET position = $4, seen = $6, owner = $1, lease_until = $2
            WHERE id = 1 AND position IS NOT DISTINCT FROM $5 AND (owner = $1 OR lease_until < $3)
            RETURNING id
        ), inserted AS ({new}), written AS ({known} {WRITE_OVER})
        SELECT EXISTS (SELECT FROM moved), set_config('synchronous_commit', 'off', true)"
    )
});

static MEND: LazyLock<String> = LazyLock::new(|| {
    let rows = rows(0);
    format!(
        "WITH moved AS (
            UPDATE ledger_cursor SET position = position - 1 WHERE id = 1 RETURNING id
        ), written AS ({rows} {WRITE_OVER})
        SELECT count(*) FROM moved"
    )
});

const WAITING: &str = "
    SELECT
        (SELECT count(*) FROM (
            SELECT FROM saga WHERE waits_for = step.queue LIMIT $3) AS waiting),
        (SELECT count(*) FROM (
            SELECT FROM saga WHERE waits_for = step.queue AND waits_since < step.before
            LIMIT $3) AS overdue),
        (SELECT waits_since FROM saga WHERE waits_for = step.queue ORDER BY waits_since LIMIT 1)
    FROM UNNEST($1::text[], $2::timestamptz[]) WITH ORDINALITY AS step (queue, before, place)
    ORDER BY place";

const REMOVE_ENDED: &str = "
    WITH old AS MATERIALIZED (
        SELECT started_at, saga_id FROM saga
        WHERE (started_at, saga_id) > ($1, $2) AND started_at < $3
        ORDER BY started_at, saga_id LIMIT $4
    ), removed AS (
        DELETE FROM saga USING old
        WHERE saga.saga_id = old.saga_id AND saga.ended_at < $3
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM removed), last.started_at, last.saga_id
    FROM (VALUES (1)) AS one
    LEFT JOIN (SELECT * FROM old ORDER BY started_at DESC, saga_id DESC LIMIT 1) AS last ON true";

#[async_trait]
impl Ledger for PostgresLedger {
    async fn find(&self, saga: SagaId) -> Result<Option<Row>, LedgerError> {
        let asking = sqlx::query_as(FIND).bind(saga.0);
        let stored: Option<Stored> = answered(asking.fetch_optional(&self.pool)).await?;
        Ok(stored.map(row_from).transpose()?)
    }

    async fn load(&self, sagas: &[SagaId]) -> Result<Vec<Result<Row, UnreadableRow>>, LedgerError> {
        let ids: Vec<Uuid> = sagas.iter().map(|saga| saga.0).collect();
        let asking = sqlx::query_as(LOAD).bind(ids);
        let stored: Vec<Stored> = answered(asking.fetch_all(&self.pool)).await?;
        Ok(stored.into_iter().map(row_from).collect())
    }

    async fn list(&self, which: Which, before: Mark, limit: usize) -> Result<Listed, LedgerError> {
        let query = match which {
            Which::All => sqlx::query_as(LIST_ALL),
            Which::Unfinished => sqlx::query_as(LIST_UNFINISHED),
            Which::OfUser(_) => sqlx::query_as(LIST_OF_USER),
        };
        let query = query
            .bind(before.started_at.to_offset())
            .bind(before.saga_id.0)
            .bind(limit as i64);
        let query = match which {
            Which::OfUser(user) => query.bind(user.to_sql()),
            Which::All | Which::Unfinished => query,
        };
        let stored: Vec<Stored> = answered(query.fetch_all(&self.pool)).await?;
        Ok(readable(stored))
    }

    async fn unfinished(
        &self,
        after: Mark,
        before: Timestamp,
        limit: usize,
    ) -> Result<Listed, LedgerError> {
        let asking = sqlx::query_as(UNFINISHED)
            .bind(after.started_at.to_offset())
            .bind(after.saga_id.0)
            .bind(before.to_offset())
            .bind(limit as i64);
        let stored: Vec<Stored> = answered(asking.fetch_all(&self.pool)).await?;
        Ok(readable(stored))
    }

    async fn claim(&self, lease: &super::Lease<'_>) -> Result<Claim, LedgerError> {
        let asking = sqlx::query_as(CLAIM)
            .bind(lease.owner)
            .bind(lease.until().to_offset())
            .bind(lease.now.to_offset());
        let held: Option<(Option<i64>,)> = answered(asking.fetch_optional(&self.pool)).await?;
        Ok(held.map_or(Claim::Taken, |(position,)| Claim::Held {
            cursor: position.map(JournalPosition),
        }))
    }

    async fn release(&self, owner: &str) -> Result<(), LedgerError> {
        let asking = sqlx::query(RELEASE).bind(owner);
        answered(asking.execute(&self.pool)).await?;
        Ok(())
    }

    async fn save(&self, page: &Projection<'_>) -> Result<Saved, LedgerError> {
        match self.write(page, page.new.iter(), page.known.iter()).await {
            // Somebody wrote one of the rows meanwhile: ourselves, when an answer did not come.
            Err(error) if is_known_row(&error) => {
                let rows = page.new.iter().chain(page.known);
                Ok(self.write(page, [].iter(), rows).await?)
            }
            saved => Ok(saved?),
        }
    }

    async fn waiting(&self, steps: &[StepLimit]) -> Result<Vec<AtStep>, LedgerError> {
        let queues: Vec<&str> = steps.iter().map(|step| step.queue.as_str()).collect();
        let marks: Vec<OffsetDateTime> = (steps.iter())
            .map(|step| step.overdue_before.to_offset())
            .collect();
        let asking = sqlx::query_as(WAITING)
            .bind(queues)
            .bind(marks)
            .bind(COUNTED as i64);
        let counted: Vec<(i64, i64, Option<OffsetDateTime>)> =
            answered(asking.fetch_all(&self.pool)).await?;
        Ok(counted
            .into_iter()
            .map(|(waiting, overdue, oldest)| AtStep::of(waiting, overdue, oldest.map(Into::into)))
            .collect())
    }

    async fn remove_ended(
        &self,
        before: Timestamp,
        after: Mark,
        limit: usize,
    ) -> Result<Removed, LedgerError> {
        let asking = sqlx::query_as(REMOVE_ENDED)
            .bind(after.started_at.to_offset())
            .bind(after.saga_id.0)
            .bind(before.to_offset())
            .bind(limit as i64);
        let (removed, started_at, saga_id): (i64, Option<OffsetDateTime>, Option<Uuid>) =
            answered(asking.fetch_one(&self.pool)).await?;
        let reached = started_at.zip(saga_id).map(|(started_at, id)| Mark {
            started_at: started_at.into(),
            saga_id: SagaId(id),
        });
        Ok(Removed {
            count: removed.unsigned_abs(),
            reached,
        })
    }
}

impl PostgresLedger {
    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    async fn write<'r>(
        &self,
        page: &Projection<'_>,
        new: impl Iterator<Item = &'r Row>,
        known: impl Iterator<Item = &'r Row>,
    ) -> Result<Saved, sqlx::Error> {
        let asking = sqlx::query_as(&SAVE)
            .bind(page.lease.owner)
            .bind(page.lease.until().to_offset())
            .bind(page.lease.now.to_offset())
            .bind(page.to.map(|position| position.0))
            .bind(page.from.map(|position| position.0))
            .bind(page.seen.map(|position| position.0));
        let asking = Columns::of(new).await.bind_to(asking);
        let asking = Columns::of(known).await.bind_to(asking);
        let (moved, _set): (bool, String) = answered(asking.fetch_one(&self.pool)).await?;
        Ok(if moved { Saved::Yes } else { Saved::NotOurs })
    }

    /// Writes rows while the cursor is held in this transaction, and moves it back by one.
    pub(super) async fn mend(held: &mut PgConnection, rows: &[Row]) -> Result<(), LedgerError> {
        let columns = Columns::of(rows.iter()).await;
        let asking = columns.bind_to(sqlx::query_as(&MEND));
        let (_moved,): (i64,) = answered(asking.fetch_one(held)).await?;
        Ok(())
    }
}

fn is_known_row(error: &sqlx::Error) -> bool {
    let reported = error.as_database_error();
    reported.and_then(|reported| reported.constraint()) == Some("saga_pkey")
}

/// The rows turned by ninety degrees: `UNNEST` takes columns.
#[derive(Default)]
struct Columns {
    saga_id: Vec<Uuid>,
    user_ticket_id: Vec<Option<Uuid>>,
    regist_id: Vec<Option<Uuid>>,
    user_id: Vec<Option<i64>>,
    ticket_id: Vec<Option<i64>>,
    started_at: Vec<Option<OffsetDateTime>>,
    ended_at: Vec<Option<OffsetDateTime>>,
    waits_since: Vec<Option<OffsetDateTime>>,
    saga: Vec<&'static str>,
    status: Vec<&'static str>,
    waits_for: Vec<Option<String>>,
    reason: Vec<Option<String>>,
    unanswered: Vec<Option<String>>,
    timeline: Vec<String>,
}

impl Columns {
    async fn of<'r>(rows: impl Iterator<Item = &'r Row>) -> Self {
        let mut columns = Self::default();
        for (place, row) in rows.enumerate() {
            columns.push(row);
            if place % BREATH == BREATH - 1 {
                tokio::task::yield_now().await;
            }
        }
        columns
    }

    fn bind_to<O>(self, query: Query<'_, O>) -> Query<'_, O> {
        query
            .bind(self.saga_id)
            .bind(self.user_ticket_id)
            .bind(self.regist_id)
            .bind(self.user_id)
            .bind(self.ticket_id)
            .bind(self.started_at)
            .bind(self.ended_at)
            .bind(self.waits_since)
            .bind(self.saga)
            .bind(self.status)
            .bind(self.waits_for)
            .bind(self.reason)
            .bind(self.unanswered)
            .bind(self.timeline)
    }

    fn push(&mut self, row: &Row) {
        let derived = Derived::of(row);
        self.saga_id.push(row.saga_id.0);
        self.user_ticket_id.push(row.user_ticket_id.map(|id| id.0));
        self.regist_id.push(row.regist_id.map(|id| id.0));
        self.user_id.push(row.user_id.map(|id| id.to_sql()));
        self.ticket_id.push(row.ticket_id.map(|id| id.to_sql()));
        self.started_at
            .push(derived.started_at.map(|at| at.to_offset()));
        self.ended_at
            .push(derived.ended_at.map(|at| at.to_offset()));
        self.waits_since
            .push(derived.waits_since.map(|at| at.to_offset()));
        self.saga.push(row.kind());
        self.status.push(derived.status);
        self.waits_for.push(derived.waits_for);
        self.reason.push(reason_text(row));
        self.unanswered.push(unanswered_text(row));
        self.timeline.push(row.timeline.to_text(row.saga_id));
    }
}
