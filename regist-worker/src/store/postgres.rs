//! `regist` in PostgreSQL, in set-based statements.

use async_trait::async_trait;
use events::{Event, TicketId, UserId};
use saga::decision::{Changes, Snapshot};
use saga::failure::Failure;
use saga::store::{Store, expect_rows, postgres, sagas_of};
use sqlx::{PgConnection, PgPool};

use super::keys_of;
use crate::decide::{Regist, RegistDecider, Registered};

pub(crate) struct PostgresStore(pub(crate) PgPool);

/// One look into the index for each key, whatever the planner believes: as a plain join, planned while
/// the table was empty, it compares every key with every registration.
const FIND_REGISTERED: &str = "
    SELECT user_id, ticket_id
    FROM UNNEST($1::bigint[], $2::bigint[]) AS asked (user_id, ticket_id)
    CROSS JOIN LATERAL (
        SELECT FROM regist
        WHERE regist.user_id = asked.user_id AND regist.ticket_id = asked.ticket_id
          AND regist.deleted_at IS NULL
        LIMIT 1) AS found";

/// In the order of the unique index, so that replicas with the same keys wait for each other
/// instead of deadlocking. A row that another replica inserted first is left out, and missed.
const CREATE: &str = "
    INSERT INTO regist (id, created_at, updated_at, user_id, user_ticket_id, ticket_id, saga_id)
    SELECT id, at, at, user_id, user_ticket_id, ticket_id, saga_id
    FROM UNNEST($1::uuid[], $2::timestamptz[], $3::bigint[], $4::uuid[], $5::bigint[], $6::uuid[])
      AS new (id, at, user_id, user_ticket_id, ticket_id, saga_id)
    ORDER BY user_id, ticket_id
    ON CONFLICT (user_id, ticket_id) WHERE deleted_at IS NULL DO NOTHING";

#[async_trait]
impl Store<RegistDecider> for PostgresStore {
    async fn load(&self, events: &[Event]) -> Result<Snapshot<Registered>, Failure> {
        let mut connection = self.0.acquire().await?;
        let decisions = postgres::load_decisions(&mut connection, &sagas_of(events)).await?;
        let (users, tickets): (Vec<_>, Vec<_>) = keys_of(events)
            .into_iter()
            .map(|(user, ticket)| (user.to_sql(), ticket.to_sql()))
            .unzip();
        let registered: Vec<(i64, i64)> = sqlx::query_as(FIND_REGISTERED)
            .bind(users)
            .bind(tickets)
            .fetch_all(&mut *connection)
            .await?;
        let key = |(user, ticket)| (UserId::from_sql(user), TicketId::from_sql(ticket));
        Ok(Snapshot {
            decisions,
            facts: Registered(registered.into_iter().map(key).collect()),
        })
    }

    async fn commit(&self, changes: &Changes<Regist>) -> Result<(), Failure> {
        let mut transaction = self.0.begin().await?;
        postgres::save_decisions(&mut transaction, changes).await?;
        for regists in changes.effects.chunks(postgres::ROWS_PER_STATEMENT) {
            create(&mut transaction, regists).await?;
        }
        Ok(transaction.commit().await?)
    }
}

async fn create(transaction: &mut PgConnection, regists: &[Regist]) -> Result<(), Failure> {
    let created = sqlx::query(CREATE)
        .bind(regists.iter().map(|regist| regist.id.0).collect::<Vec<_>>())
        .bind(
            regists
                .iter()
                .map(|regist| regist.created_at.to_offset())
                .collect::<Vec<_>>(),
        )
        .bind(
            regists
                .iter()
                .map(|regist| regist.user_id.to_sql())
                .collect::<Vec<_>>(),
        )
        .bind(
            regists
                .iter()
                .map(|regist| regist.user_ticket_id.0)
                .collect::<Vec<_>>(),
        )
        .bind(
            regists
                .iter()
                .map(|regist| regist.ticket_id.to_sql())
                .collect::<Vec<_>>(),
        )
        .bind(
            regists
                .iter()
                .map(|regist| regist.saga_id.0)
                .collect::<Vec<_>>(),
        )
        .execute(transaction)
        .await?;
    expect_rows(created.rows_affected(), regists.len())
}
