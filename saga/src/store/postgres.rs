//! The decision table in PostgreSQL, in set-based statements: one round trip however many events.

use std::collections::HashMap;

use events::SagaId;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{StoredReply, data_of, decode_decisions, expect_rows};
use crate::decision::{Changes, Decision, Reply};
use crate::failure::Failure;

type ReplyColumns = (Option<String>, Option<String>, Option<OffsetDateTime>);
type Row = (Uuid, ReplyColumns, ReplyColumns);

const LOAD: &str = "
    SELECT saga_id, step_type, step_data::text, step_at, undo_type, undo_data::text, undo_at
    FROM decision WHERE saga_id = ANY($1::uuid[])";

const INSERT: &str = "
    INSERT INTO decision (saga_id, step_type, step_data, step_at, undo_type, undo_data, undo_at)
    SELECT saga_id, step_type, step_data::json, step_at, undo_type, undo_data::json, undo_at
    FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::timestamptz[],
                $5::text[], $6::text[], $7::timestamptz[])
      AS new (saga_id, step_type, step_data, step_at, undo_type, undo_data, undo_at)
    ON CONFLICT (saga_id) DO NOTHING";

const FILL_IN_UNDO: &str = "
    UPDATE decision
    SET undo_type = new.undo_type, undo_data = new.undo_data::json, undo_at = new.undo_at
    FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::timestamptz[])
      AS new (saga_id, undo_type, undo_data, undo_at)
    WHERE decision.saga_id = new.saga_id AND decision.undo_type IS NULL";

/// How many rows go into one statement: as many as fit into one TCP segment of the loopback
/// interface (64 KiB), at some 250 bytes a row. sqlx leaves Nagle's algorithm on, so the rest of a
/// larger statement waits for the server's delayed acknowledgement, 40 ms of nothing.
pub const ROWS_PER_STATEMENT: usize = 200;

/// The decisions of these sagas, where there are any.
pub async fn load_decisions(
    connection: &mut PgConnection,
    sagas: &[SagaId],
) -> Result<HashMap<SagaId, Decision>, Failure> {
    let ids: Vec<Uuid> = sagas.iter().map(|saga| saga.0).collect();
    let rows = sqlx::query(LOAD).bind(ids).fetch_all(connection).await?;
    let rows = rows
        .iter()
        .map(read)
        .collect::<Result<Vec<Row>, sqlx::Error>>()?;
    decode_decisions(
        rows.into_iter()
            .map(|(saga, step, undo)| (SagaId(saga), stored(step), stored(undo))),
    )
}

fn read(row: &sqlx::postgres::PgRow) -> Result<Row, sqlx::Error> {
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

/// Writes the decisions of a batch inside the participant's transaction, before its effects.
pub async fn save_decisions<E>(
    transaction: &mut PgConnection,
    changes: &Changes<E>,
) -> Result<(), Failure> {
    for decided in changes.decided.chunks(ROWS_PER_STATEMENT) {
        insert(transaction, decided).await?;
    }
    for undone in changes.undone.chunks(ROWS_PER_STATEMENT) {
        fill_in_undo(transaction, undone).await?;
    }
    Ok(())
}

async fn insert(transaction: &mut PgConnection, decided: &[Decision]) -> Result<(), Failure> {
    let ids: Vec<Uuid> = decided.iter().map(|decision| decision.saga_id.0).collect();
    let step = Columns::of(decided.iter().map(|decision| decision.step.as_ref()));
    let undo = Columns::of(decided.iter().map(|decision| decision.undo.as_ref()));
    let inserted = sqlx::query(INSERT)
        .bind(ids)
        .bind(step.types)
        .bind(step.data)
        .bind(step.times)
        .bind(undo.types)
        .bind(undo.data)
        .bind(undo.times)
        .execute(transaction)
        .await?;
    expect_rows(inserted.rows_affected(), decided.len())
}

async fn fill_in_undo(transaction: &mut PgConnection, undone: &[Decision]) -> Result<(), Failure> {
    let ids: Vec<Uuid> = undone.iter().map(|decision| decision.saga_id.0).collect();
    let undo = Columns::of(undone.iter().map(|decision| decision.undo.as_ref()));
    let updated = sqlx::query(FILL_IN_UNDO)
        .bind(ids)
        .bind(undo.types)
        .bind(undo.data)
        .bind(undo.times)
        .execute(transaction)
        .await?;
    expect_rows(updated.rows_affected(), undone.len())
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
