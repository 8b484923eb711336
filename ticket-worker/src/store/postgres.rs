//! `user_ticket` in PostgreSQL, in set-based statements.

use std::sync::LazyLock;

use async_trait::async_trait;
use events::Event;
use saga::decision::{Changes, Decision, Snapshot};
use saga::failure::Failure;
use saga::store::postgres::{
    AFTER_DECISIONS, FILL_IN_UNDOS, INSERT_DECISIONS, load_decisions, lost_race, record,
    record_undos,
};
use saga::store::{Store, expect_rows, sagas_of};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Deletion, by_kind};
use crate::decide::{Effect, TicketDecider, UserTicket};

pub(crate) struct PostgresStore(pub(crate) PgPool);

/// Records decisions and creates their tickets.
static CREATE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH decided AS ({INSERT_DECISIONS})
        INSERT INTO user_ticket (id, created_at, updated_at, user_id, ticket_id, saga_id)
        SELECT id, at, at, user_id, ticket_id, saga_id
        FROM UNNEST($8::uuid[], $9::timestamptz[], $10::bigint[], $11::bigint[], $12::uuid[])
          AS new (id, at, user_id, ticket_id, saga_id), {AFTER_DECISIONS}"
    )
});

/// Records undos and deletes their tickets. How many tickets are deleted does not matter: one may
/// have been deleted by another route before.
static DELETE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH undone AS ({FILL_IN_UNDOS}), deleted AS (
            UPDATE user_ticket SET deleted_at = gone.at, updated_at = gone.at
            FROM UNNEST($5::uuid[], $6::uuid[], $7::timestamptz[]) AS gone (id, saga_id, at)
            WHERE user_ticket.id = gone.id AND user_ticket.saga_id = gone.saga_id
              AND user_ticket.deleted_at IS NULL)
        SELECT count(*) FROM undone"
    )
});

#[async_trait]
impl Store<TicketDecider> for PostgresStore {
    async fn load(&self, events: &[Event]) -> Result<Snapshot<()>, Failure> {
        let decisions = load_decisions(&self.0, &sagas_of(events)).await?;
        Ok(Snapshot {
            decisions,
            facts: (),
        })
    }

    /// One statement for steps, one for undos: a batch has one kind of them, as a queue has.
    async fn commit(&self, changes: &Changes<Effect>) -> Result<(), Failure> {
        let (created, deleted) = by_kind(&changes.effects);
        if !changes.decided.is_empty() {
            create(&self.0, &changes.decided, &created).await?;
        }
        if !changes.undone.is_empty() {
            delete(&self.0, &changes.undone, &deleted).await?;
        }
        Ok(())
    }
}

async fn create(
    pool: &PgPool,
    decided: &[Decision],
    tickets: &[&UserTicket],
) -> Result<(), Failure> {
    let column = |value: fn(&UserTicket) -> Uuid| -> Vec<Uuid> {
        tickets.iter().map(|ticket| value(ticket)).collect()
    };
    let number = |value: fn(&UserTicket) -> i64| -> Vec<i64> {
        tickets.iter().map(|ticket| value(ticket)).collect()
    };
    let times: Vec<_> = tickets
        .iter()
        .map(|ticket| ticket.created_at.to_offset())
        .collect();
    let created = record(&CREATE, decided)
        .bind(column(|ticket| ticket.id.0))
        .bind(times)
        .bind(number(|ticket| ticket.user_id.to_sql()))
        .bind(number(|ticket| ticket.ticket_id.to_sql()))
        .bind(column(|ticket| ticket.saga_id.0))
        .execute(pool)
        .await;
    created.map_err(|error| lost_race(error, &[]))?;
    Ok(())
}

async fn delete(pool: &PgPool, undone: &[Decision], tickets: &[Deletion]) -> Result<(), Failure> {
    let ids: Vec<Uuid> = tickets.iter().map(|gone| gone.id.0).collect();
    let sagas: Vec<Uuid> = tickets.iter().map(|gone| gone.saga_id.0).collect();
    let times: Vec<_> = tickets.iter().map(|gone| gone.at.to_offset()).collect();
    let filled_in = record_undos(&DELETE, undone)
        .bind(ids)
        .bind(sagas)
        .bind(times)
        .fetch_one(pool)
        .await?;
    expect_rows(u64::try_from(filled_in).unwrap_or(0), undone.len())
}
