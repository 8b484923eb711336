//! The decision table in PostgreSQL, in set-based statements: one round trip however many events.

use std::collections::HashMap;
use std::sync::LazyLock;

use events::SagaId;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::{Query, QueryScalar};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{StoredReply, data_of, decode_decisions, expect_rows};
use crate::decision::{Changes, Decision, Reply};
use crate::failure::Failure;

type ReplyColumns = (Option<String>, Option<String>, Option<OffsetDateTime>);
type Row = (Option<Uuid>, ReplyColumns, ReplyColumns);

/// The columns of a decision, as [`decisions`] reads them: the first ones of a participant's own
/// statement that loads facts along with decisions.
pub const DECISION_COLUMNS: &str = "
    decision.saga_id, step_type, step_data::text, step_at, undo_type, undo_data::text, undo_at";

static LOAD: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {DECISION_COLUMNS} FROM decision WHERE saga_id = ANY($1::uuid[])")
});

/// Inserts decisions: the head of the one statement with which a participant records a batch and
/// its effects, as `WITH decided AS (…) INSERT …`. One statement is a transaction by itself, so it
/// costs one round trip. Its parameters `$1` to `$7` are bound by [`record`]; a decision that is
/// there already fails it whole ([`lost_race`]). The effects must select from
/// [`AFTER_DECISIONS`] too: or else a lost race may show as an effect that is there already.
pub const INSERT_DECISIONS: &str = "
    INSERT INTO decision (saga_id, step_type, step_data, step_at, undo_type, undo_data, undo_at)
    SELECT saga_id, step_type, step_data::json, step_at, undo_type, undo_data::json, undo_at
    FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::timestamptz[],
                $5::text[], $6::text[], $7::timestamptz[])
      AS new (saga_id, step_type, step_data, step_at, undo_type, undo_data, undo_at)
    ORDER BY saga_id
    RETURNING saga_id";

/// One row, once all decisions are inserted.
pub const AFTER_DECISIONS: &str = "(SELECT count(*) FROM decided) AS all_decided";

/// Fills in undos: the head of the one statement with which a participant records a batch of them
/// and their effects, as `WITH undone AS (…), … SELECT count(*) FROM undone`. Its parameters `$1`
/// to `$4` are bound by [`record_undos`]. One that is filled in already is left out, and missed.
pub const FILL_IN_UNDOS: &str = "
    UPDATE decision
    SET undo_type = new.undo_type, undo_data = new.undo_data::json, undo_at = new.undo_at
    FROM (SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::timestamptz[])
            AS new (saga_id, undo_type, undo_data, undo_at) LIMIT cardinality($1)) AS new
    WHERE decision.saga_id = new.saga_id AND decision.undo_type IS NULL
    RETURNING decision.saga_id";

/// The decisions of these sagas, where there are any.
pub async fn load_decisions(
    pool: &PgPool,
    sagas: &[SagaId],
) -> Result<HashMap<SagaId, Decision>, Failure> {
    let ids: Vec<Uuid> = sagas.iter().map(|saga| saga.0).collect();
    decisions(&sqlx::query(&LOAD).bind(ids).fetch_all(pool).await?)
}

/// The decisions of rows that begin with [`DECISION_COLUMNS`]; those are empty where there is none.
pub fn decisions(rows: &[PgRow]) -> Result<HashMap<SagaId, Decision>, Failure> {
    let rows = rows
        .iter()
        .map(read)
        .collect::<Result<Vec<Row>, sqlx::Error>>()?;
    let known = rows
        .into_iter()
        .filter_map(|(saga, step, undo)| Some((SagaId(saga?), stored(step), stored(undo))));
    decode_decisions(known)
}

fn read(row: &PgRow) -> Result<Row, sqlx::Error> {
    use sqlx::Row as _;
    Ok((
        row.try_get(0)?,
        (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?),
        (row.try_get(4)?, row.try_get(5)?, row.try_get(6)?),
    ))
}

fn stored((wire_type, data, at): ReplyColumns) -> Option<StoredReply> {
    StoredReply::of_columns((wire_type, data, at.map(Into::into)))
}

/// A participant's statement that begins with [`INSERT_DECISIONS`], with these bound.
pub fn record<'q>(
    statement: &'q str,
    decided: &[Decision],
) -> Query<'q, sqlx::Postgres, PgArguments> {
    let ids: Vec<Uuid> = decided.iter().map(|decision| decision.saga_id.0).collect();
    let step = Columns::of(decided.iter().map(|decision| decision.step.as_ref()));
    let undo = Columns::of(decided.iter().map(|decision| decision.undo.as_ref()));
    sqlx::query(statement)
        .bind(ids)
        .bind(step.types)
        .bind(step.data)
        .bind(step.times)
        .bind(undo.types)
        .bind(undo.data)
        .bind(undo.times)
}

/// What a failed statement means: a decision that another replica recorded first, or a row that
/// would break one of these unique indexes, is a lost race.
pub fn lost_race(error: sqlx::Error, indexes: &[&str]) -> Failure {
    let constraint = error
        .as_database_error()
        .and_then(|reported| reported.constraint());
    match constraint {
        Some("decision_pkey") => Failure::Conflict,
        Some(name) if indexes.contains(&name) => Failure::Conflict,
        _ => error.into(),
    }
}

/// A participant's statement that begins with [`FILL_IN_UNDOS`], with these bound.
pub fn record_undos<'q>(
    statement: &'q str,
    undone: &[Decision],
) -> QueryScalar<'q, sqlx::Postgres, i64, PgArguments> {
    let ids: Vec<Uuid> = undone.iter().map(|decision| decision.saga_id.0).collect();
    let undo = Columns::of(undone.iter().map(|decision| decision.undo.as_ref()));
    sqlx::query_scalar(statement)
        .bind(ids)
        .bind(undo.types)
        .bind(undo.data)
        .bind(undo.times)
}

static INSERT_ONLY: LazyLock<String> =
    LazyLock::new(|| format!("WITH decided AS ({INSERT_DECISIONS}) SELECT count(*) FROM decided"));
static FILL_IN_ONLY: LazyLock<String> =
    LazyLock::new(|| format!("WITH undone AS ({FILL_IN_UNDOS}) SELECT count(*) FROM undone"));

/// Writes the decisions of a batch inside the participant's transaction, before effects that need
/// more than one statement.
pub async fn save_decisions<E>(
    transaction: &mut PgConnection,
    changes: &Changes<E>,
) -> Result<(), Failure> {
    if !changes.decided.is_empty() {
        let inserted = record(&INSERT_ONLY, &changes.decided);
        let inserted = inserted.execute(&mut *transaction).await;
        inserted.map_err(|error| lost_race(error, &[]))?;
    }
    if !changes.undone.is_empty() {
        let filled_in = record_undos(&FILL_IN_ONLY, &changes.undone);
        let filled_in = filled_in.fetch_one(transaction).await?;
        expect_rows(u64::try_from(filled_in).unwrap_or(0), changes.undone.len())?;
    }
    Ok(())
}

/// The columns of a nullable reply, as arrays.
struct Columns {
    types: Vec<Option<&'static str>>,
    data: Vec<Option<String>>,
    times: Vec<Option<OffsetDateTime>>,
}

impl Columns {
    fn of<'a>(replies: impl Iterator<Item = Option<&'a Reply>>) -> Self {
        let mut columns = Self {
            types: Vec::new(),
            data: Vec::new(),
            times: Vec::new(),
        };
        for reply in replies {
            columns
                .types
                .push(reply.map(|reply| reply.message.message_type().wire_type()));
            columns.data.push(reply.map(data_of));
            columns.times.push(reply.map(|reply| reply.at.to_offset()));
        }
        columns
    }
}
