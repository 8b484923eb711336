//! `user_ticket` in PostgreSQL, in set-based statements.

use async_trait::async_trait;
use events::Event;
use saga::decision::{Changes, Snapshot};
use saga::failure::Failure;
use saga::store::{Store, postgres, sagas_of};
use sqlx::{PgConnection, PgPool};

use super::{Deletion, by_kind};
use crate::decide::{Effect, TicketDecider, UserTicket};

pub(crate) struct PostgresStore(pub(crate) PgPool);

const CREATE: &str = "
    INSERT INTO user_ticket (id, created_at, updated_at, user_id, ticket_id, saga_id)
    SELECT id, at, at, user_id, ticket_id, saga_id
    FROM UNNEST($1::uuid[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::uuid[])
      AS new (id, at, user_id, ticket_id, saga_id)";

/// No check of the rows touched: the ticket may have been deleted by another route before.
const DELETE: &str = "
    UPDATE user_ticket SET deleted_at = gone.at, updated_at = gone.at
    FROM UNNEST($1::uuid[], $2::uuid[], $3::timestamptz[]) AS gone (id, saga_id, at)
    WHERE user_ticket.id = gone.id AND user_ticket.saga_id = gone.saga_id
      AND user_ticket.deleted_at IS NULL";

#[async_trait]
impl Store<TicketDecider> for PostgresStore {
    async fn load(&self, events: &[Event]) -> Result<Snapshot<()>, Failure> {
        let mut connection = self.0.acquire().await?;
        let decisions = postgres::load_decisions(&mut connection, &sagas_of(events)).await?;
        Ok(Snapshot {
            decisions,
            facts: (),
        })
    }

    async fn commit(&self, changes: &Changes<Effect>) -> Result<(), Failure> {
        let (created, deleted) = by_kind(&changes.effects);
        let mut transaction = self.0.begin().await?;
        postgres::save_decisions(&mut transaction, changes).await?;
        for tickets in created.chunks(postgres::ROWS_PER_STATEMENT) {
            create(&mut transaction, tickets).await?;
        }
        for tickets in deleted.chunks(postgres::ROWS_PER_STATEMENT) {
            delete(&mut transaction, tickets).await?;
        }
        Ok(transaction.commit().await?)
    }
}

async fn create(transaction: &mut PgConnection, tickets: &[&UserTicket]) -> Result<(), Failure> {
    sqlx::query(CREATE)
        .bind(tickets.iter().map(|ticket| ticket.id.0).collect::<Vec<_>>())
        .bind(
            tickets
                .iter()
                .map(|ticket| ticket.created_at.to_offset())
                .collect::<Vec<_>>(),
        )
        .bind(
            tickets
                .iter()
                .map(|ticket| ticket.user_id.to_sql())
                .collect::<Vec<_>>(),
        )
        .bind(
            tickets
                .iter()
                .map(|ticket| ticket.ticket_id.to_sql())
                .collect::<Vec<_>>(),
        )
        .bind(
            tickets
                .iter()
                .map(|ticket| ticket.saga_id.0)
                .collect::<Vec<_>>(),
        )
        .execute(transaction)
        .await?;
    Ok(())
}

async fn delete(transaction: &mut PgConnection, deleted: &[Deletion]) -> Result<(), Failure> {
    sqlx::query(DELETE)
        .bind(deleted.iter().map(|gone| gone.id.0).collect::<Vec<_>>())
        .bind(
            deleted
                .iter()
                .map(|gone| gone.saga_id.0)
                .collect::<Vec<_>>(),
        )
        .bind(
            deleted
                .iter()
                .map(|gone| gone.at.to_offset())
                .collect::<Vec<_>>(),
        )
        .execute(transaction)
        .await?;
    Ok(())
}
