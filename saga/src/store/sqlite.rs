//! The decision table in SQLite. A batch travels as one JSON array, so that it is one statement
//! however many events. Ids and times are kept as text: SQLite has no type for them, and an
//! operator reads them as they are.

use std::collections::HashMap;

use events::{SagaId, Timestamp};
use serde::Serialize;
use sqlx::SqliteConnection;

use super::{StoredReply, data_of, decode_decisions, expect_rows};
use crate::decision::{Changes, Decision, Reply};
use crate::failure::Failure;

const LOAD: &str = "
    SELECT saga_id, step_type, step_data, step_at, undo_type, undo_data, undo_at
    FROM decision WHERE saga_id IN (SELECT value FROM json_each(?1))";

const INSERT: &str = "
    INSERT INTO decision (saga_id, step_type, step_data, step_at, undo_type, undo_data, undo_at)
    SELECT value->>'saga_id', value->>'step_type', value->>'step_data', value->>'step_at',
           value->>'undo_type', value->>'undo_data', value->>'undo_at'
    FROM json_each(?1) WHERE true
    ON CONFLICT (saga_id) DO NOTHING";

const FILL_IN_UNDO: &str = "
    UPDATE decision
    SET undo_type = new.value->>'undo_type', undo_data = new.value->>'undo_data',
        undo_at = new.value->>'undo_at'
    FROM json_each(?1) AS new
    WHERE decision.saga_id = new.value->>'saga_id' AND decision.undo_type IS NULL";

#[derive(Serialize)]
struct Row {
    saga_id: SagaId,
    step_type: Option<&'static str>,
    step_data: Option<String>,
    step_at: Option<Timestamp>,
    undo_type: Option<&'static str>,
    undo_data: Option<String>,
    undo_at: Option<Timestamp>,
}

impl From<&Decision> for Row {
    fn from(decision: &Decision) -> Self {
        let wire_type = |reply: &Reply| reply.message.message_type().wire_type();
        let (step, undo) = (decision.step.as_ref(), decision.undo.as_ref());
        Self {
            saga_id: decision.saga_id,
            step_type: step.map(wire_type),
            step_data: step.map(data_of),
            step_at: step.map(|reply| reply.at),
            undo_type: undo.map(wire_type),
            undo_data: undo.map(data_of),
            undo_at: undo.map(|reply| reply.at),
        }
    }
}

/// Rows as the one JSON parameter of a set-based statement.
pub fn json_rows<T: Serialize>(rows: impl IntoIterator<Item = T>) -> String {
    let rows: Vec<T> = rows.into_iter().collect();
    serde_json::to_string(&rows).expect("rows have string keys")
}

/// Reads a column that holds one of our textual types.
pub fn parse_column<T: std::str::FromStr>(text: &str, column: &str) -> Result<T, Failure>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|source| {
        let index = column.to_owned();
        Failure::from(sqlx::Error::ColumnDecode {
            index,
            source: Box::new(source),
        })
    })
}

/// The decisions of these sagas, where there are any.
pub async fn load_decisions(
    connection: &mut SqliteConnection,
    sagas: &[SagaId],
) -> Result<HashMap<SagaId, Decision>, Failure> {
    let rows = sqlx::query(LOAD)
        .bind(json_rows(sagas))
        .fetch_all(connection)
        .await?;
    let rows = rows.iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
    decode_decisions(rows.into_iter())
}

fn read(
    row: &sqlx::sqlite::SqliteRow,
) -> Result<(SagaId, Option<StoredReply>, Option<StoredReply>), Failure> {
    use sqlx::Row as _;
    let saga_id: String = row.try_get(0)?;
    Ok((
        SagaId(parse_column(&saga_id, "saga_id")?),
        read_reply(row, 1)?,
        read_reply(row, 4)?,
    ))
}

fn read_reply(row: &sqlx::sqlite::SqliteRow, first: usize) -> Result<Option<StoredReply>, Failure> {
    use sqlx::Row as _;
    let at: Option<String> = row.try_get(first + 2)?;
    let at = at.map(|at| parse_column(&at, "at")).transpose()?;
    Ok(StoredReply::of_columns((
        row.try_get(first)?,
        row.try_get(first + 1)?,
        at,
    )))
}

/// Writes the decisions of a batch inside the participant's transaction, before its effects.
pub async fn save_decisions<E>(
    transaction: &mut SqliteConnection,
    changes: &Changes<E>,
) -> Result<(), Failure> {
    write(transaction, INSERT, &changes.decided).await?;
    write(transaction, FILL_IN_UNDO, &changes.undone).await
}

async fn write(
    transaction: &mut SqliteConnection,
    statement: &'static str,
    decisions: &[Decision],
) -> Result<(), Failure> {
    if decisions.is_empty() {
        return Ok(());
    }
    let rows = json_rows(decisions.iter().map(Row::from));
    let written = sqlx::query(statement)
        .bind(rows)
        .execute(transaction)
        .await?;
    expect_rows(written.rows_affected(), decisions.len())
}
