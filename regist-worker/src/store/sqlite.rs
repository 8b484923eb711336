//! `regist` in SQLite, in set-based statements.

use async_trait::async_trait;
use events::{Event, RegistId, SagaId, TicketId, Timestamp, UserId, UserTicketId};
use saga::decision::{Changes, Snapshot};
use saga::failure::Failure;
use saga::store::{Store, expect_rows, sagas_of, sqlite};
use serde::Serialize;
use sqlx::SqlitePool;

use super::key_of;
use crate::decide::{Regist, RegistDecider, Registered};

pub(crate) struct SqliteStore(pub(crate) SqlitePool);

const FIND_REGISTERED: &str = "
    SELECT regist.user_id, regist.ticket_id
    FROM json_each(?1) AS asked
    JOIN regist ON regist.user_id = asked.value->>0 AND regist.ticket_id = asked.value->>1
    WHERE regist.deleted_at IS NULL";

const CREATE: &str = "
    INSERT INTO regist (id, created_at, updated_at, user_id, user_ticket_id, ticket_id, saga_id)
    SELECT value->>'id', value->>'at', value->>'at', value->>'user_id', value->>'user_ticket_id',
           value->>'ticket_id', value->>'saga_id'
    FROM json_each(?1) WHERE true
    ON CONFLICT (user_id, ticket_id) WHERE deleted_at IS NULL DO NOTHING";

#[derive(Serialize)]
struct Row {
    id: RegistId,
    at: Timestamp,
    user_id: i64,
    user_ticket_id: UserTicketId,
    ticket_id: i64,
    saga_id: SagaId,
}

impl From<&Regist> for Row {
    fn from(regist: &Regist) -> Self {
        Self {
            id: regist.id,
            at: regist.created_at,
            user_id: regist.user_id.to_sql(),
            user_ticket_id: regist.user_ticket_id,
            ticket_id: regist.ticket_id.to_sql(),
            saga_id: regist.saga_id,
        }
    }
}

#[async_trait]
impl Store<RegistDecider> for SqliteStore {
    async fn load(&self, events: &[Event]) -> Result<Snapshot<Registered>, Failure> {
        let mut connection = self.0.acquire().await?;
        let decisions = sqlite::load_decisions(&mut connection, &sagas_of(events)).await?;
        let keys = events.iter().filter_map(key_of);
        let keys = keys.map(|(user, ticket)| [user.to_sql(), ticket.to_sql()]);
        let registered: Vec<(i64, i64)> = sqlx::query_as(FIND_REGISTERED)
            .bind(sqlite::json_rows(keys))
            .fetch_all(&mut *connection)
            .await?;
        let key = |(user, ticket)| (UserId::from_sql(user), TicketId::from_sql(ticket));
        Ok(Snapshot {
            decisions,
            facts: Registered(registered.into_iter().map(key).collect()),
        })
    }

    async fn commit(&self, changes: &Changes<Regist>) -> Result<(), Failure> {
        let mut transaction = self.0.begin_with("BEGIN IMMEDIATE").await?;
        sqlite::save_decisions(&mut transaction, changes).await?;
        let rows = sqlite::json_rows(changes.effects.iter().map(Row::from));
        let created = sqlx::query(CREATE)
            .bind(rows)
            .execute(&mut *transaction)
            .await?;
        expect_rows(created.rows_affected(), changes.effects.len())?;
        Ok(transaction.commit().await?)
    }
}
