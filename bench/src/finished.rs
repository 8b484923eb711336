//! A long history: finished sagas written into the tables of all three services, as copies of one that
//! has run, with ids and users of their own.

use std::time::Instant;

use sqlx::{Connection, Executor, PgConnection};
use uuid::Uuid;

use crate::databases::Databases;
use crate::failure::BenchError;

/// All ids of finished sagas are smaller, by their time, and all of those that are measured greater:
/// 2024-01-01 as the beginning of a UUIDv7.
pub(crate) const BOUNDARY: Uuid = Uuid::from_u128(0x018c_c251_f400_7000_8000_0000_0000_0000);

/// A UUIDv7 of the year 2020 on, one each millisecond, that is the same for the same number.
const MINTED: &str = "CREATE FUNCTION pg_temp.minted(n bigint, kind text) RETURNS uuid \
    LANGUAGE sql IMMUTABLE AS $$ SELECT (lpad(to_hex(1600000000000 + n), 12, '0') \
    || '70008000' || substr(md5(kind || n), 1, 12))::uuid $$";

const DECISIONS: &str = "INSERT INTO decision \
    (saga_id, step_type, step_data, step_at, undo_type, undo_data, undo_at) \
    SELECT pg_temp.minted(n, 'saga'), step_type, step_data, step_at, undo_type, undo_data, undo_at \
    FROM (SELECT * FROM decision LIMIT 1) one, generate_series(1, $1) n";

const TICKETS: &str = "INSERT INTO user_ticket \
    (id, created_at, updated_at, deleted_at, user_id, ticket_id, saga_id, held_by, version) \
    SELECT pg_temp.minted(n, 'ticket'), created_at, updated_at, deleted_at, -n, ticket_id, \
    pg_temp.minted(n, 'saga'), pg_temp.minted(n, 'saga'), version \
    FROM (SELECT * FROM user_ticket LIMIT 1) one, generate_series(1, $1) n";

const REGISTRATIONS: &str = "INSERT INTO regist \
    (id, created_at, updated_at, deleted_at, user_id, user_ticket_id, ticket_id, saga_id) \
    SELECT pg_temp.minted(n, 'regist'), created_at, updated_at, deleted_at, -n, \
    pg_temp.minted(n, 'ticket'), ticket_id, pg_temp.minted(n, 'saga') \
    FROM (SELECT * FROM regist LIMIT 1) one, generate_series(1, $1) n";

const LEDGER: &str = "INSERT INTO saga (saga_id, user_ticket_id, regist_id, user_id, ticket_id, \
    started_at, ended_at, waits_since, saga, status, waits_for, reason, timeline) \
    SELECT pg_temp.minted(n, 'saga'), pg_temp.minted(n, 'ticket'), pg_temp.minted(n, 'regist'), -n, \
    ticket_id, started_at, ended_at, waits_since, saga, status, waits_for, reason, timeline \
    FROM (SELECT * FROM saga LIMIT 1) one, generate_series(1, $1) n";

/// Writes so many, and leaves the tables as autovacuum would in time.
pub(crate) async fn fill(databases: &Databases, sagas: i64) -> Result<(), BenchError> {
    let since = Instant::now();
    for (database, statements) in [
        (&databases.ticket, &[DECISIONS, TICKETS][..]),
        (&databases.regist, &[DECISIONS, REGISTRATIONS]),
        (&databases.gateway, &[LEDGER]),
    ] {
        let mut connection = PgConnection::connect(database).await?;
        connection.execute(MINTED).await?;
        for &statement in statements {
            let insert = sqlx::query(statement).bind(sagas);
            insert.execute(&mut connection).await?;
        }
        connection.execute("VACUUM ANALYZE").await?;
        connection.execute("CHECKPOINT").await?;
        connection.close().await?;
    }
    eprintln!("{sagas} finished sagas written in {:.0?}", since.elapsed());
    Ok(())
}
