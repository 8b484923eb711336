//! `regist` in PostgreSQL, in set-based statements.

use std::sync::LazyLock;

use async_trait::async_trait;
use events::{Event, TicketId, UserId};
use saga::decision::{Changes, Snapshot};
use saga::failure::Failure;
use saga::store::Store;
use saga::store::postgres::{
    AFTER_DECISIONS, DECISION_COLUMNS, INSERT_DECISIONS, decisions, lost_race, record,
};
use sqlx::PgPool;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::key_of;
use crate::decide::{Regist, RegistDecider, Registered};

pub(crate) struct PostgresStore(pub(crate) PgPool);

/// The decisions of the events' sagas, and which of their users are registered for their tickets.
/// One look into an index for each, whatever the planner believes: as a plain join, planned while
/// the table was empty, it compares every key with every registration.
static LOAD: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {DECISION_COLUMNS}, live.user_id, live.ticket_id
        FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[]) AS asked (saga_id, user_id, ticket_id)
        LEFT JOIN decision ON decision.saga_id = asked.saga_id
        LEFT JOIN LATERAL (
            SELECT user_id, ticket_id FROM regist
            WHERE regist.user_id = asked.user_id AND regist.ticket_id = asked.ticket_id
              AND regist.deleted_at IS NULL
            LIMIT 1) AS live ON true"
    )
});

/// Records decisions and creates their registrations, in the order of the unique index, so that
/// replicas with the same keys wait for each other instead of deadlocking.
static CREATE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH decided AS ({INSERT_DECISIONS})
        INSERT INTO regist
          (id, created_at, updated_at, user_id, user_ticket_id, ticket_id, saga_id)
        SELECT id, at, at, user_id, user_ticket_id, ticket_id, saga_id
        FROM UNNEST($8::uuid[], $9::timestamptz[], $10::bigint[], $11::uuid[], $12::bigint[],
                    $13::uuid[])
          AS new (id, at, user_id, user_ticket_id, ticket_id, saga_id), {AFTER_DECISIONS}
        ORDER BY user_id, ticket_id"
    )
});

/// The business rule; whoever breaks it was slower than another replica.
const ONE_LIVE: &str = "regist_one_live_per_user_and_ticket";

#[async_trait]
impl Store<RegistDecider> for PostgresStore {
    async fn load(&self, events: &[Event]) -> Result<Snapshot<Registered>, Failure> {
        let sagas: Vec<Uuid> = events.iter().map(|event| event.saga_id.0).collect();
        let keys = events.iter().map(key_of);
        let (users, tickets): (Vec<_>, Vec<_>) = keys
            .map(|key| key.map(|(user, ticket)| (user.to_sql(), ticket.to_sql())))
            .map(Option::unzip)
            .unzip();
        let rows = sqlx::query(&LOAD)
            .bind(sagas)
            .bind(users)
            .bind(tickets)
            .fetch_all(&self.0)
            .await?;
        let registered = rows.iter().map(live).collect::<Result<Vec<_>, _>>()?;
        Ok(Snapshot {
            decisions: decisions(&rows)?,
            facts: Registered(registered.into_iter().flatten().collect()),
        })
    }

    /// Nothing undoes a registration: it is the last step.
    async fn commit(&self, changes: &Changes<Regist>) -> Result<(), Failure> {
        assert!(
            changes.undone.is_empty(),
            "no step of this service is undone"
        );
        let regists = &changes.effects;
        let column =
            |value: fn(&Regist) -> Uuid| -> Vec<Uuid> { regists.iter().map(value).collect() };
        let number =
            |value: fn(&Regist) -> i64| -> Vec<i64> { regists.iter().map(value).collect() };
        let times: Vec<_> = regists
            .iter()
            .map(|regist| regist.created_at.to_offset())
            .collect();
        let created = record(&CREATE, &changes.decided)
            .bind(column(|regist| regist.id.0))
            .bind(times)
            .bind(number(|regist| regist.user_id.to_sql()))
            .bind(column(|regist| regist.user_ticket_id.0))
            .bind(number(|regist| regist.ticket_id.to_sql()))
            .bind(column(|regist| regist.saga_id.0))
            .execute(&self.0)
            .await;
        created.map_err(|error| lost_race(error, &[ONE_LIVE]))?;
        Ok(())
    }
}

/// The registration that a row of [`LOAD`] found.
fn live(row: &PgRow) -> Result<Option<(UserId, TicketId)>, sqlx::Error> {
    use sqlx::Row as _;
    let (user, ticket): (Option<i64>, Option<i64>) = (row.try_get(7)?, row.try_get(8)?);
    Ok(user
        .map(UserId::from_sql)
        .zip(ticket.map(TicketId::from_sql)))
}
