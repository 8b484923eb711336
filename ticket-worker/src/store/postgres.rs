//! `user_ticket` in PostgreSQL, in set-based statements.

use std::sync::LazyLock;

use async_trait::async_trait;
use events::{Event, SagaId, TicketId, Timestamp, UserId, UserTicketId};
use saga::decision::{Changes, Decision, Snapshot};
use saga::failure::Failure;
use saga::store::postgres::{
    AFTER_DECISIONS, FILL_IN_UNDOS, INSERT_DECISIONS, load_decisions, lost_race, record,
    record_undos, save_decisions,
};
use saga::store::{Store, expect_rows, sagas_of};
use sqlx::PgPool;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{ByKind, Deletion, Saved, tickets_of_all};
use crate::decide::{Effect, NewTicket, Ticket, TicketDecider, Tickets};

pub(crate) struct PostgresStore(pub(crate) PgPool);

/// Records decisions and creates their tickets.
static CREATE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH decided AS ({INSERT_DECISIONS})
        INSERT INTO user_ticket (id, created_at, updated_at, user_id, ticket_id, saga_id, held_by)
        SELECT id, at, at, user_id, ticket_id, saga_id, held_by
        FROM UNNEST($8::uuid[], $9::timestamptz[], $10::bigint[], $11::bigint[], $12::uuid[],
                    $13::uuid[])
          AS new (id, at, user_id, ticket_id, saga_id, held_by), {AFTER_DECISIONS}"
    )
});

/// Records undos and deletes their tickets. How many tickets are deleted does not matter: one may
/// have been deleted by another route before.
static DELETE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH undone AS ({FILL_IN_UNDOS}), deleted AS (
            UPDATE user_ticket
            SET deleted_at = gone.at, updated_at = gone.at, version = version + 1
            FROM (SELECT * FROM UNNEST($5::uuid[], $6::uuid[], $7::timestamptz[])
                    AS gone (id, saga_id, at) LIMIT cardinality($5)) AS gone
            WHERE user_ticket.id = gone.id AND user_ticket.saga_id = gone.saga_id
              AND num_nulls(user_ticket.deleted_at) = 1)
        SELECT count(*) FROM undone"
    )
});

const FIND: &str = "
    SELECT id, user_id, ticket_id, created_at, updated_at, deleted_at, held_by, version
    FROM user_ticket WHERE id = ANY($1::uuid[])";

/// Leaves out, and is missed for it, a ticket that another replica has changed meanwhile.
const SAVE: &str = "
    UPDATE user_ticket
    SET user_id = new.user_id, ticket_id = new.ticket_id, updated_at = new.updated_at,
        deleted_at = new.deleted_at, held_by = new.held_by, version = new.to_version
    FROM (SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],
                               $6::timestamptz[], $7::timestamptz[], $8::uuid[])
            AS new (id, from_version, to_version, user_id, ticket_id, updated_at, deleted_at,
                    held_by)
            LIMIT cardinality($1)) AS new
    WHERE user_ticket.id = new.id AND user_ticket.version = new.from_version";

#[async_trait]
impl Store<TicketDecider> for PostgresStore {
    async fn load(&self, events: &[Event]) -> Result<Snapshot<Tickets>, Failure> {
        let decisions = load_decisions(&self.0, &sagas_of(events)).await?;
        let facts = find(&self.0, &tickets_of_all(events)).await?;
        Ok(Snapshot { decisions, facts })
    }

    /// One statement for steps, one for undos: a batch has one kind of them, as a queue has. Where
    /// tickets are changed, a transaction.
    async fn commit(&self, changes: &Changes<Effect>) -> Result<(), Failure> {
        let ByKind {
            created,
            deleted,
            saved,
        } = ByKind::of(&changes.effects);
        if !saved.is_empty() {
            assert!(
                created.is_empty() && deleted.is_empty(),
                "no queue has both"
            );
            return save(&self.0, changes, &saved).await;
        }
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
    tickets: &[&NewTicket],
) -> Result<(), Failure> {
    let column = |value: fn(&NewTicket) -> Uuid| -> Vec<Uuid> {
        tickets.iter().map(|ticket| value(ticket)).collect()
    };
    let number = |value: fn(&NewTicket) -> i64| -> Vec<i64> {
        tickets.iter().map(|ticket| value(ticket)).collect()
    };
    let times: Vec<_> = tickets
        .iter()
        .map(|ticket| ticket.created_at.to_offset())
        .collect();
    let holders: Vec<Option<Uuid>> = tickets
        .iter()
        .map(|ticket| ticket.held_by.map(|saga| saga.0))
        .collect();
    let created = record(&CREATE, decided)
        .bind(column(|ticket| ticket.id.0))
        .bind(times)
        .bind(number(|ticket| ticket.user_id.to_sql()))
        .bind(number(|ticket| ticket.ticket_id.to_sql()))
        .bind(column(|ticket| ticket.saga_id.0))
        .bind(holders)
        .execute(pool)
        .await;
    created.map_err(|error| lost_race(error, &[]))?;
    Ok(())
}

async fn find(pool: &PgPool, tickets: &[UserTicketId]) -> Result<Tickets, Failure> {
    if tickets.is_empty() {
        return Ok(Tickets::default());
    }
    let ids: Vec<Uuid> = tickets.iter().map(|id| id.0).collect();
    let rows = sqlx::query(FIND).bind(ids).fetch_all(pool).await?;
    let found = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let found = found.into_iter().map(|ticket| (ticket.id, ticket));
    Ok(Tickets(found.collect()))
}

fn read(row: &PgRow) -> Result<Ticket, sqlx::Error> {
    use sqlx::Row as _;
    let deleted_at: Option<OffsetDateTime> = row.try_get(5)?;
    Ok(Ticket {
        id: UserTicketId(row.try_get(0)?),
        user_id: UserId::from_sql(row.try_get(1)?),
        ticket_id: TicketId::from_sql(row.try_get(2)?),
        created_at: row.try_get::<OffsetDateTime, _>(3)?.into(),
        updated_at: row.try_get::<OffsetDateTime, _>(4)?.into(),
        deleted_at: deleted_at.map(Into::into),
        held_by: row.try_get::<Option<Uuid>, _>(6)?.map(SagaId),
        version: row.try_get(7)?,
    })
}

async fn save(pool: &PgPool, changes: &Changes<Effect>, saved: &[Saved]) -> Result<(), Failure> {
    let mut transaction = pool.begin().await?;
    save_decisions(&mut transaction, changes).await?;
    let ids = |value: fn(&Saved) -> Option<Uuid>| -> Vec<_> { saved.iter().map(value).collect() };
    let numbers = |value: fn(&Saved) -> i64| -> Vec<_> { saved.iter().map(value).collect() };
    let times = |value: fn(&Saved) -> Option<Timestamp>| -> Vec<Option<OffsetDateTime>> {
        let times = saved.iter().map(value);
        times.map(|at| at.map(Timestamp::to_offset)).collect()
    };
    let touched = sqlx::query(SAVE)
        .bind(ids(|row| Some(row.id.0)))
        .bind(numbers(|row| row.from_version))
        .bind(numbers(|row| row.to_version))
        .bind(numbers(|row| row.user_id))
        .bind(numbers(|row| row.ticket_id))
        .bind(times(|row| Some(row.updated_at)))
        .bind(times(|row| row.deleted_at))
        .bind(ids(|row| row.held_by.map(|saga| saga.0)))
        .execute(&mut *transaction)
        .await?;
    expect_rows(touched.rows_affected(), saved.len())?;
    Ok(transaction.commit().await?)
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
