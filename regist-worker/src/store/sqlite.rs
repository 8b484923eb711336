//! `regist` in SQLite, in set-based statements.

use std::collections::HashMap;

use async_trait::async_trait;
use events::{Event, RegistId, SagaId, TicketId, Timestamp, UserId, UserTicketId};
use saga::decision::{Changes, Snapshot};
use saga::failure::Failure;
use saga::store::sqlite::{self, parse_column};
use saga::store::{Store, expect_rows, sagas_of};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection, SqlitePool};

use super::{Asked, ByKind, Moved};
use crate::decide::{Closing, Effect, Regist, RegistDecider, Registrations};

pub(crate) struct SqliteStore(pub(crate) SqlitePool);

const FIND_REGISTERED: &str = "
    SELECT regist.user_id, regist.ticket_id
    FROM json_each(?1) AS asked
    JOIN regist ON regist.user_id = asked.value->>0 AND regist.ticket_id = asked.value->>1
    WHERE regist.deleted_at IS NULL";

/// The first of the conditions is the index's.
const FIND_CLOSED: &str = "
    SELECT user_ticket_id FROM regist
    WHERE (deleted_at IS NULL OR is_tombstone) AND is_tombstone
      AND user_ticket_id IN (SELECT value FROM json_each(?1))";

const FIND_LIVE: &str = "
    SELECT id, user_id, user_ticket_id, ticket_id, saga_id, created_at
    FROM regist WHERE id IN (SELECT value FROM json_each(?1)) AND deleted_at IS NULL
    UNION
    SELECT id, user_id, user_ticket_id, ticket_id, saga_id, created_at
    FROM regist
    WHERE (deleted_at IS NULL OR is_tombstone) AND deleted_at IS NULL
      AND user_ticket_id IN (SELECT value FROM json_each(?2))";

const CREATE: &str = "
    INSERT INTO regist (id, created_at, updated_at, user_id, user_ticket_id, ticket_id, saga_id)
    SELECT value->>'id', value->>'at', value->>'at', value->>'user_id', value->>'user_ticket_id',
           value->>'ticket_id', value->>'saga_id'
    FROM json_each(?1) WHERE true
    ON CONFLICT DO NOTHING";

/// Leaves out, and is missed for it, a registration that is not as it was seen: moved or deleted
/// meanwhile, by another replica or from another queue.
const MOVE: &str = "
    UPDATE OR IGNORE regist
    SET user_id = new.value->>'user_id', user_ticket_id = new.value->>'user_ticket_id',
        ticket_id = new.value->>'ticket_id', saga_id = new.value->>'saga_id',
        updated_at = new.value->>'at'
    FROM json_each(?1) AS new
    WHERE regist.id = new.value->>'id' AND regist.saga_id = new.value->>'from_saga'
      AND regist.deleted_at IS NULL";

/// Leaves out what [`MOVE`] does: a registration that has another ticket by now is not the one that
/// was to be deleted, and its ticket not the one that is reported as free or is closed.
const CANCEL: &str = "
    UPDATE regist
    SET deleted_at = gone.value->>'at', updated_at = gone.value->>'at',
        is_tombstone = gone.value->>'is_tombstone'
    FROM json_each(?1) AS gone
    WHERE regist.id = gone.value->>'id' AND regist.saga_id = gone.value->>'saga_id'
      AND regist.deleted_at IS NULL";

const CLOSE: &str = "
    INSERT INTO regist (id, created_at, updated_at, deleted_at, user_id, user_ticket_id, ticket_id,
                        saga_id, is_tombstone)
    SELECT value->>'id', value->>'at', value->>'at', value->>'at', 0, value->>'user_ticket_id', 0,
           value->>'saga_id', 1
    FROM json_each(?1) WHERE true
    ON CONFLICT DO NOTHING";

#[derive(Serialize)]
struct Row {
    id: RegistId,
    at: Timestamp,
    user_id: i64,
    user_ticket_id: UserTicketId,
    ticket_id: i64,
    saga_id: SagaId,
    /// The saga it has until now, where it is moved.
    from_saga: Option<SagaId>,
}

impl Row {
    fn of(regist: &Regist) -> Self {
        Self {
            id: regist.id,
            at: regist.created_at,
            user_id: regist.user_id.to_sql(),
            user_ticket_id: regist.user_ticket_id,
            ticket_id: regist.ticket_id.to_sql(),
            saga_id: regist.saga_id,
            from_saga: None,
        }
    }

    fn moved(moved: &Moved<'_>) -> Self {
        Self {
            at: moved.at,
            from_saga: Some(moved.from.saga_id),
            ..Self::of(moved.to)
        }
    }

    fn closing(closed: &Closing) -> Self {
        Self {
            id: closed.fresh_id,
            at: closed.at,
            user_id: 0,
            user_ticket_id: closed.user_ticket_id,
            ticket_id: 0,
            saga_id: closed.saga_id,
            from_saga: None,
        }
    }
}

#[async_trait]
impl Store<RegistDecider> for SqliteStore {
    async fn load(&self, events: &[Event]) -> Result<Snapshot<Registrations>, Failure> {
        let asked: Vec<Asked> = events.iter().map(Asked::by).collect();
        let mut connection = self.0.acquire().await?;
        let decisions = sqlite::load_decisions(&mut connection, &sagas_of(events)).await?;
        let facts = facts(&mut connection, &asked).await?;
        Ok(Snapshot { decisions, facts })
    }

    async fn commit(&self, changes: &Changes<Effect>) -> Result<(), Failure> {
        let effects = ByKind::of(&changes.effects);
        let created: Vec<Row> = effects.created.iter().map(|one| Row::of(one)).collect();
        let moved: Vec<Row> = effects.moved.iter().map(Row::moved).collect();
        let closed: Vec<Row> = effects.closed.iter().map(|one| Row::closing(one)).collect();
        let mut transaction = self.0.begin_with("BEGIN IMMEDIATE").await?;
        sqlite::save_decisions(&mut transaction, changes).await?;
        write(&mut transaction, CREATE, &created).await?;
        write(&mut transaction, MOVE, &moved).await?;
        write(&mut transaction, CANCEL, &effects.cancelled).await?;
        write(&mut transaction, CLOSE, &closed).await?;
        Ok(transaction.commit().await?)
    }
}

/// Passes if every row was touched; another replica got there first if not.
async fn write<T: Serialize>(
    transaction: &mut SqliteConnection,
    statement: &'static str,
    rows: &[T],
) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let written = sqlx::query(statement)
        .bind(sqlite::json_rows(rows))
        .execute(transaction)
        .await?;
    expect_rows(written.rows_affected(), rows.len())
}

async fn facts(
    connection: &mut SqliteConnection,
    asked: &[Asked],
) -> Result<Registrations, Failure> {
    let keys = asked.iter().filter_map(|asked| asked.key);
    let keys = keys.map(|(user, ticket)| [user.to_sql(), ticket.to_sql()]);
    let registered: Vec<(i64, i64)> = sqlx::query_as(FIND_REGISTERED)
        .bind(sqlite::json_rows(keys))
        .fetch_all(&mut *connection)
        .await?;
    let places = asked.iter().filter_map(|asked| asked.place);
    let closed: Vec<(String,)> = sqlx::query_as(FIND_CLOSED)
        .bind(sqlite::json_rows(places))
        .fetch_all(&mut *connection)
        .await?;
    let key = |(user, ticket)| (UserId::from_sql(user), TicketId::from_sql(ticket));
    let closed = closed
        .iter()
        .map(|(id,)| Ok(UserTicketId(parse_column(id, "user_ticket_id")?)));
    Ok(Registrations {
        registered: registered.into_iter().map(key).collect(),
        closed: closed.collect::<Result<_, Failure>>()?,
        live: find(connection, asked).await?,
    })
}

async fn find(
    connection: &mut SqliteConnection,
    asked: &[Asked],
) -> Result<HashMap<RegistId, Regist>, Failure> {
    let ids: Vec<RegistId> = asked.iter().filter_map(|asked| asked.regist).collect();
    let tickets: Vec<UserTicketId> = asked.iter().filter_map(|asked| asked.regist_with).collect();
    if ids.is_empty() && tickets.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(FIND_LIVE)
        .bind(sqlite::json_rows(ids))
        .bind(sqlite::json_rows(tickets))
        .fetch_all(connection)
        .await?;
    let found = rows.iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
    Ok(found.into_iter().map(|found| (found.id, found)).collect())
}

fn read(row: &SqliteRow) -> Result<Regist, Failure> {
    let id = |index, column| parse_column(&row.try_get::<String, _>(index)?, column);
    Ok(Regist {
        id: RegistId(id(0, "id")?),
        user_id: UserId::from_sql(row.try_get(1)?),
        user_ticket_id: UserTicketId(id(2, "user_ticket_id")?),
        ticket_id: TicketId::from_sql(row.try_get(3)?),
        saga_id: SagaId(id(4, "saga_id")?),
        created_at: parse_column(&row.try_get::<String, _>(5)?, "created_at")?,
    })
}
