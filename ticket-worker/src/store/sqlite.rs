//! `user_ticket` in SQLite, in set-based statements.

use async_trait::async_trait;
use events::{Event, SagaId, TicketId, Timestamp, UserId, UserTicketId};
use saga::decision::{Changes, Snapshot};
use saga::failure::Failure;
use saga::store::sqlite::{self, parse_column};
use saga::store::{Store, expect_rows, sagas_of};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, SqlitePool};

use super::{ByKind, tickets_of_all};
use crate::decide::{Effect, NewTicket, Ticket, TicketDecider, Tickets};

pub(crate) struct SqliteStore(pub(crate) SqlitePool);

const CREATE: &str = "
    INSERT INTO user_ticket (id, created_at, updated_at, user_id, ticket_id, saga_id, held_by)
    SELECT value->>'id', value->>'at', value->>'at', value->>'user_id', value->>'ticket_id',
           value->>'saga_id', value->>'held_by'
    FROM json_each(?1)";

/// No check of the rows touched: the ticket may have been deleted by another route before.
const DELETE: &str = "
    UPDATE user_ticket
    SET deleted_at = gone.value->>'at', updated_at = gone.value->>'at', version = version + 1
    FROM json_each(?1) AS gone
    WHERE user_ticket.id = gone.value->>'id' AND user_ticket.saga_id = gone.value->>'saga_id'
      AND user_ticket.deleted_at IS NULL";

const FIND: &str = "
    SELECT id, user_id, ticket_id, created_at, updated_at, deleted_at, held_by, version
    FROM user_ticket WHERE id IN (SELECT value FROM json_each(?1))";

/// Leaves out, and is missed for it, a ticket that another replica has changed meanwhile.
const SAVE: &str = "
    UPDATE user_ticket
    SET user_id = new.value->>'user_id', ticket_id = new.value->>'ticket_id',
        updated_at = new.value->>'updated_at', deleted_at = new.value->>'deleted_at',
        held_by = new.value->>'held_by', version = new.value->>'to_version'
    FROM json_each(?1) AS new
    WHERE user_ticket.id = new.value->>'id'
      AND user_ticket.version = new.value->>'from_version'";

#[derive(Serialize)]
struct Row {
    id: UserTicketId,
    at: Timestamp,
    user_id: i64,
    ticket_id: i64,
    saga_id: SagaId,
    held_by: Option<SagaId>,
}

impl From<&NewTicket> for Row {
    fn from(ticket: &NewTicket) -> Self {
        Self {
            id: ticket.id,
            at: ticket.created_at,
            user_id: ticket.user_id.to_sql(),
            ticket_id: ticket.ticket_id.to_sql(),
            saga_id: ticket.saga_id,
            held_by: ticket.held_by,
        }
    }
}

#[async_trait]
impl Store<TicketDecider> for SqliteStore {
    async fn load(&self, events: &[Event]) -> Result<Snapshot<Tickets>, Failure> {
        let mut connection = self.0.acquire().await?;
        let decisions = sqlite::load_decisions(&mut connection, &sagas_of(events)).await?;
        let tickets = tickets_of_all(events);
        let facts = find(&mut connection, &tickets).await?;
        Ok(Snapshot { decisions, facts })
    }

    async fn commit(&self, changes: &Changes<Effect>) -> Result<(), Failure> {
        let ByKind {
            created,
            deleted,
            saved,
        } = ByKind::of(&changes.effects);
        let created = created.into_iter().map(Row::from);
        let mut transaction = self.0.begin_with("BEGIN IMMEDIATE").await?;
        sqlite::save_decisions(&mut transaction, changes).await?;
        write(&mut transaction, CREATE, sqlite::json_rows(created)).await?;
        write(&mut transaction, DELETE, sqlite::json_rows(deleted)).await?;
        let expected = saved.len();
        let touched = write(&mut transaction, SAVE, sqlite::json_rows(saved)).await?;
        expect_rows(touched, expected)?;
        Ok(transaction.commit().await?)
    }
}

async fn find(
    connection: &mut SqliteConnection,
    tickets: &[UserTicketId],
) -> Result<Tickets, Failure> {
    if tickets.is_empty() {
        return Ok(Tickets::default());
    }
    let rows = sqlx::query(FIND)
        .bind(sqlite::json_rows(tickets))
        .fetch_all(connection)
        .await?;
    let found = rows.iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
    let found = found.into_iter().map(|ticket| (ticket.id, ticket));
    Ok(Tickets(found.collect()))
}

fn read(row: &SqliteRow) -> Result<Ticket, Failure> {
    use sqlx::Row as _;
    let text = |index| row.try_get::<String, _>(index);
    let deleted_at: Option<String> = row.try_get(5)?;
    let held_by: Option<String> = row.try_get(6)?;
    let deleted_at = deleted_at.map(|at| parse_column(&at, "deleted_at"));
    let held_by = held_by.map(|saga| parse_column(&saga, "held_by"));
    Ok(Ticket {
        id: UserTicketId(parse_column(&text(0)?, "id")?),
        user_id: UserId::from_sql(row.try_get(1)?),
        ticket_id: TicketId::from_sql(row.try_get(2)?),
        created_at: parse_column(&text(3)?, "created_at")?,
        updated_at: parse_column(&text(4)?, "updated_at")?,
        deleted_at: deleted_at.transpose()?,
        held_by: held_by.transpose()?.map(SagaId),
        version: row.try_get(7)?,
    })
}

async fn write(
    transaction: &mut SqliteConnection,
    statement: &'static str,
    rows: String,
) -> Result<u64, Failure> {
    let written = sqlx::query(statement)
        .bind(rows)
        .execute(transaction)
        .await?;
    Ok(written.rows_affected())
}
