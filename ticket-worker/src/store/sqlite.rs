//! `user_ticket` in SQLite, in set-based statements.

use async_trait::async_trait;
use events::{Event, SagaId, Timestamp, UserTicketId};
use saga::decision::{Changes, Snapshot};
use saga::failure::Failure;
use saga::store::{Store, sagas_of, sqlite};
use serde::Serialize;
use sqlx::{SqliteConnection, SqlitePool};

use super::by_kind;
use crate::decide::{Effect, TicketDecider, UserTicket};

pub(crate) struct SqliteStore(pub(crate) SqlitePool);

const CREATE: &str = "
    INSERT INTO user_ticket (id, created_at, updated_at, user_id, ticket_id, saga_id)
    SELECT value->>'id', value->>'at', value->>'at', value->>'user_id', value->>'ticket_id',
           value->>'saga_id'
    FROM json_each(?1)";

/// No check of the rows touched: the ticket may have been deleted by another route before.
const DELETE: &str = "
    UPDATE user_ticket SET deleted_at = gone.value->>'at', updated_at = gone.value->>'at'
    FROM json_each(?1) AS gone
    WHERE user_ticket.id = gone.value->>'id' AND user_ticket.saga_id = gone.value->>'saga_id'
      AND user_ticket.deleted_at IS NULL";

#[derive(Serialize)]
struct Row {
    id: UserTicketId,
    at: Timestamp,
    user_id: i64,
    ticket_id: i64,
    saga_id: SagaId,
}

impl From<&UserTicket> for Row {
    fn from(ticket: &UserTicket) -> Self {
        Self {
            id: ticket.id,
            at: ticket.created_at,
            user_id: ticket.user_id.to_sql(),
            ticket_id: ticket.ticket_id.to_sql(),
            saga_id: ticket.saga_id,
        }
    }
}

#[async_trait]
impl Store<TicketDecider> for SqliteStore {
    async fn load(&self, events: &[Event]) -> Result<Snapshot<()>, Failure> {
        let mut connection = self.0.acquire().await?;
        let decisions = sqlite::load_decisions(&mut connection, &sagas_of(events)).await?;
        Ok(Snapshot {
            decisions,
            facts: (),
        })
    }

    async fn commit(&self, changes: &Changes<Effect>) -> Result<(), Failure> {
        let (created, deleted) = by_kind(&changes.effects);
        let created = created.into_iter().map(Row::from);
        let mut transaction = self.0.begin_with("BEGIN IMMEDIATE").await?;
        sqlite::save_decisions(&mut transaction, changes).await?;
        write(&mut transaction, CREATE, sqlite::json_rows(created)).await?;
        write(&mut transaction, DELETE, sqlite::json_rows(deleted)).await?;
        Ok(transaction.commit().await?)
    }
}

async fn write(
    transaction: &mut SqliteConnection,
    statement: &'static str,
    rows: String,
) -> Result<(), Failure> {
    sqlx::query(statement)
        .bind(rows)
        .execute(transaction)
        .await?;
    Ok(())
}
