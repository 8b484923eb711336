//! `regist` in PostgreSQL, in set-based statements.

use std::collections::HashMap;
use std::sync::LazyLock;

use async_trait::async_trait;
use events::{Event, RegistId, SagaId, TicketId, UserId, UserTicketId};
use saga::decision::{Changes, Decision, Snapshot};
use saga::failure::Failure;
use saga::store::postgres::{
    AFTER_DECISIONS, DECISION_COLUMNS, INSERT_DECISIONS, decisions, lost_race, record,
    save_decisions,
};
use saga::store::{Store, expect_rows};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row as _};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Asked, ByKind, Cancelled, Moved};
use crate::decide::{Closing, Effect, Regist, RegistDecider, Registrations};

pub(crate) struct PostgresStore(pub(crate) PgPool);

/// The decisions of the events' sagas, which of their users are registered for their tickets, and
/// which of the bought tickets are closed.
static LOAD: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {DECISION_COLUMNS}, live.user_id, live.ticket_id, closed.user_ticket_id
        FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::uuid[])
          AS asked (saga_id, user_id, ticket_id, user_ticket_id)
        LEFT JOIN decision ON decision.saga_id = asked.saga_id
        LEFT JOIN LATERAL (
            SELECT user_id, ticket_id FROM regist
            WHERE regist.user_id = asked.user_id AND regist.ticket_id = asked.ticket_id
              AND regist.deleted_at IS NULL
            LIMIT 1) AS live ON true
        LEFT JOIN LATERAL (
            SELECT user_ticket_id FROM regist
            WHERE regist.user_ticket_id = asked.user_ticket_id AND regist.is_tombstone
            LIMIT 1) AS closed ON true
        WHERE num_nonnulls(decision.saga_id, live.user_id, closed.user_ticket_id) > 0"
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

/// Live registrations, by their ids or by their tickets; the last condition is that of the index of
/// tickets, which is not used without it.
const FIND: &str = "
    SELECT id, user_id, user_ticket_id, ticket_id, saga_id, created_at
    FROM regist WHERE id = ANY($1::uuid[]) AND num_nulls(deleted_at) = 1
    UNION
    SELECT id, user_id, user_ticket_id, ticket_id, saga_id, created_at
    FROM regist WHERE user_ticket_id = ANY($2::uuid[]) AND num_nulls(deleted_at) = 1
      AND (deleted_at IS NULL OR is_tombstone)";

/// Leaves out, and is missed for it, a registration that is not as it was seen: moved or deleted
/// meanwhile, by another replica or from another queue.
const MOVE: &str = "
    UPDATE regist
    SET user_id = new.user_id, user_ticket_id = new.user_ticket_id, ticket_id = new.ticket_id,
        saga_id = new.saga_id, updated_at = new.at
    FROM (SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::bigint[],
                               $6::uuid[], $7::timestamptz[])
            AS new (id, from_saga, user_id, user_ticket_id, ticket_id, saga_id, at)
            LIMIT cardinality($1)) AS new
    WHERE regist.id = new.id AND regist.saga_id = new.from_saga
      AND num_nulls(regist.deleted_at) = 1";

/// Leaves out what [`MOVE`] does: a registration that has another ticket by now is not the one that
/// was to be deleted, and its ticket not the one that is reported as free or is closed.
const CANCEL: &str = "
    UPDATE regist
    SET deleted_at = gone.at, updated_at = gone.at, is_tombstone = gone.is_tombstone
    FROM (SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::timestamptz[], $4::boolean[])
            AS gone (id, saga_id, at, is_tombstone) LIMIT cardinality($1)) AS gone
    WHERE regist.id = gone.id AND regist.saga_id = gone.saga_id
      AND num_nulls(regist.deleted_at) = 1";

const CLOSE: &str = "
    INSERT INTO regist (id, created_at, updated_at, deleted_at, user_id, user_ticket_id, ticket_id,
                        saga_id, is_tombstone)
    SELECT id, at, at, at, 0, user_ticket_id, 0, saga_id, true
    FROM UNNEST($1::uuid[], $2::timestamptz[], $3::uuid[], $4::uuid[])
      AS new (id, at, user_ticket_id, saga_id)
    ORDER BY user_ticket_id";

/// The business rules; whoever breaks them was slower than another replica.
const UNIQUE: [&str; 2] = [
    "regist_one_live_per_user_and_ticket",
    "regist_one_place_per_ticket",
];

#[async_trait]
impl Store<RegistDecider> for PostgresStore {
    async fn load(&self, events: &[Event]) -> Result<Snapshot<Registrations>, Failure> {
        let asked: Vec<Asked> = events.iter().map(Asked::by).collect();
        let sagas: Vec<Uuid> = events.iter().map(|event| event.saga_id.0).collect();
        let keys = asked.iter().map(|asked| asked.key);
        let (users, tickets): (Vec<_>, Vec<_>) = keys
            .map(|key| key.map(|(user, ticket)| (user.to_sql(), ticket.to_sql())))
            .map(Option::unzip)
            .unzip();
        let places: Vec<_> = asked.iter().map(|a| a.place.map(|place| place.0)).collect();
        let rows = sqlx::query(&LOAD)
            .bind(sagas)
            .bind(users)
            .bind(tickets)
            .bind(places)
            .fetch_all(&self.0)
            .await?;
        let mut facts = Registrations::default();
        for row in &rows {
            learn(&mut facts, row)?;
        }
        facts.live = find(&self.0, &asked).await?;
        Ok(Snapshot {
            decisions: decisions(&rows)?,
            facts,
        })
    }

    /// One statement for new registrations; for everything else, a transaction.
    async fn commit(&self, changes: &Changes<Effect>) -> Result<(), Failure> {
        assert!(
            changes.undone.is_empty(),
            "no step of this service is undone"
        );
        let effects = ByKind::of(&changes.effects);
        if effects.only_creates() {
            return create(&self.0, &changes.decided, &effects.created).await;
        }
        let mut transaction = self.0.begin().await?;
        save_decisions(&mut transaction, changes).await?;
        move_all(&mut transaction, &effects.moved).await?;
        cancel(&mut transaction, &effects.cancelled).await?;
        close(&mut transaction, &effects.closed).await?;
        Ok(transaction.commit().await?)
    }
}

async fn create(pool: &PgPool, decided: &[Decision], regists: &[&Regist]) -> Result<(), Failure> {
    let column = |value: fn(&Regist) -> Uuid| -> Vec<Uuid> {
        regists.iter().map(|regist| value(regist)).collect()
    };
    let number = |value: fn(&Regist) -> i64| -> Vec<i64> {
        regists.iter().map(|regist| value(regist)).collect()
    };
    let times: Vec<_> = regists
        .iter()
        .map(|regist| regist.created_at.to_offset())
        .collect();
    let created = record(&CREATE, decided)
        .bind(column(|regist| regist.id.0))
        .bind(times)
        .bind(number(|regist| regist.user_id.to_sql()))
        .bind(column(|regist| regist.user_ticket_id.0))
        .bind(number(|regist| regist.ticket_id.to_sql()))
        .bind(column(|regist| regist.saga_id.0))
        .execute(pool)
        .await;
    created.map_err(|error| lost_race(error, &UNIQUE))?;
    Ok(())
}

async fn move_all(connection: &mut PgConnection, moved: &[Moved<'_>]) -> Result<(), Failure> {
    if moved.is_empty() {
        return Ok(());
    }
    let column = |value: fn(&Moved<'_>) -> Uuid| -> Vec<Uuid> { moved.iter().map(value).collect() };
    let number = |value: fn(&Moved<'_>) -> i64| -> Vec<i64> { moved.iter().map(value).collect() };
    let times: Vec<_> = moved.iter().map(|one| one.at.to_offset()).collect();
    let touched = sqlx::query(MOVE)
        .bind(column(|one| one.to.id.0))
        .bind(column(|one| one.from.saga_id.0))
        .bind(number(|one| one.to.user_id.to_sql()))
        .bind(column(|one| one.to.user_ticket_id.0))
        .bind(number(|one| one.to.ticket_id.to_sql()))
        .bind(column(|one| one.to.saga_id.0))
        .bind(times)
        .execute(connection)
        .await
        .map_err(|error| lost_race(error, &UNIQUE))?;
    expect_rows(touched.rows_affected(), moved.len())
}

async fn cancel(connection: &mut PgConnection, cancelled: &[Cancelled]) -> Result<(), Failure> {
    if cancelled.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = cancelled.iter().map(|gone| gone.id.0).collect();
    let sagas: Vec<Uuid> = cancelled.iter().map(|gone| gone.saga_id.0).collect();
    let times: Vec<_> = cancelled.iter().map(|gone| gone.at.to_offset()).collect();
    let closes: Vec<bool> = cancelled.iter().map(|gone| gone.is_tombstone).collect();
    let touched = sqlx::query(CANCEL)
        .bind(ids)
        .bind(sagas)
        .bind(times)
        .bind(closes)
        .execute(connection)
        .await?;
    expect_rows(touched.rows_affected(), cancelled.len())
}

async fn close(connection: &mut PgConnection, closed: &[&Closing]) -> Result<(), Failure> {
    if closed.is_empty() {
        return Ok(());
    }
    let column = |value: fn(&Closing) -> Uuid| -> Vec<Uuid> {
        closed.iter().map(|closing| value(closing)).collect()
    };
    let times: Vec<_> = closed.iter().map(|one| one.at.to_offset()).collect();
    let planted = sqlx::query(CLOSE)
        .bind(column(|one| one.fresh_id.0))
        .bind(times)
        .bind(column(|one| one.user_ticket_id.0))
        .bind(column(|one| one.saga_id.0))
        .execute(connection)
        .await;
    planted.map_err(|error| lost_race(error, &UNIQUE))?;
    Ok(())
}

/// What a row of [`LOAD`] found.
fn learn(facts: &mut Registrations, row: &PgRow) -> Result<(), sqlx::Error> {
    let (user, ticket): (Option<i64>, Option<i64>) = (row.try_get(7)?, row.try_get(8)?);
    let key = user.zip(ticket);
    let key = key.map(|(user, ticket)| (UserId::from_sql(user), TicketId::from_sql(ticket)));
    facts.registered.extend(key);
    let closed: Option<Uuid> = row.try_get(9)?;
    facts.closed.extend(closed.map(UserTicketId));
    Ok(())
}

async fn find(pool: &PgPool, asked: &[Asked]) -> Result<HashMap<RegistId, Regist>, Failure> {
    let ids: Vec<Uuid> = asked.iter().filter_map(|a| Some(a.regist?.0)).collect();
    let tickets: Vec<Uuid> = asked
        .iter()
        .filter_map(|a| Some(a.regist_with?.0))
        .collect();
    if ids.is_empty() && tickets.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(FIND)
        .bind(ids)
        .bind(tickets)
        .fetch_all(pool)
        .await?;
    let found = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().map(|found| (found.id, found)).collect())
}

fn read(row: &PgRow) -> Result<Regist, sqlx::Error> {
    Ok(Regist {
        id: RegistId(row.try_get(0)?),
        user_id: UserId::from_sql(row.try_get(1)?),
        user_ticket_id: UserTicketId(row.try_get(2)?),
        ticket_id: TicketId::from_sql(row.try_get(3)?),
        saga_id: SagaId(row.try_get(4)?),
        created_at: row.try_get::<OffsetDateTime, _>(5)?.into(),
    })
}
