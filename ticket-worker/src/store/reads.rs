//! `user_ticket` as it is read by others, in PostgreSQL and in SQLite.

use async_trait::async_trait;
use events::query::{Keyword, Listing, Page, UserTicket, UserTicketFilter};
use events::{TicketId, UserId, UserTicketId};
use saga::failure::Failure;
use saga::reads::{Reads, postgres, sqlite};
use saga::store::sqlite::parse_column;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use super::{PostgresStore, SqliteStore};

const TABLE: &str = "user_ticket";
const COLUMNS: &str = "id, created_at, updated_at, user_id, ticket_id";
/// What a keyword may be: a number or a UUID.
const NUMBERS: &[&str] = &["user_id", "ticket_id"];
const IDS: &[&str] = &["id"];

#[async_trait]
impl Reads<UserTicket> for PostgresStore {
    async fn list(
        &self,
        filter: &UserTicketFilter,
        page: Page,
    ) -> Result<Listing<UserTicket>, Failure> {
        let select = postgres::Select::live(TABLE, COLUMNS)
            .having("id", filter.id.map(|id| id.0))
            .having("user_id", filter.user_id.map(UserId::to_sql))
            .having("ticket_id", filter.ticket_id.map(TicketId::to_sql));
        let select = match filter.keyword {
            None => select,
            Some(Keyword::Number(number)) => select.having_one(NUMBERS, &number.cast_signed()),
            Some(Keyword::Id(id)) => select.having_one(IDS, &id),
            Some(Keyword::Other) => select.having_one(&[], &0_i64),
        };
        select.page(&self.0, page, of_postgres).await
    }

    async fn user_of(&self, id: UserTicketId) -> Result<Option<UserId>, Failure> {
        postgres::user_of(&self.0, TABLE, id.0).await
    }
}

#[async_trait]
impl Reads<UserTicket> for SqliteStore {
    async fn list(
        &self,
        filter: &UserTicketFilter,
        page: Page,
    ) -> Result<Listing<UserTicket>, Failure> {
        let select = sqlite::Select::live(TABLE, COLUMNS)
            .having("id", filter.id.map(|id| id.to_string()))
            .having("user_id", filter.user_id.map(UserId::to_sql))
            .having("ticket_id", filter.ticket_id.map(TicketId::to_sql));
        let select = match filter.keyword {
            None => select,
            Some(Keyword::Number(number)) => select.having_one(NUMBERS, &number.cast_signed()),
            Some(Keyword::Id(id)) => select.having_one(IDS, &id.to_string()),
            Some(Keyword::Other) => select.having_one(&[], &0_i64),
        };
        select.page(&self.0, page, of_sqlite).await
    }

    async fn user_of(&self, id: UserTicketId) -> Result<Option<UserId>, Failure> {
        sqlite::user_of(&self.0, TABLE, id.to_string()).await
    }
}

fn of_postgres(row: &PgRow) -> Result<UserTicket, Failure> {
    let time = |column| row.try_get::<time::OffsetDateTime, _>(column);
    Ok(UserTicket {
        id: UserTicketId(row.try_get(0)?),
        created_at: time(1)?.into(),
        updated_at: time(2)?.into(),
        user_id: UserId::from_sql(row.try_get(3)?),
        ticket_id: TicketId::from_sql(row.try_get(4)?),
    })
}

fn of_sqlite(row: &SqliteRow) -> Result<UserTicket, Failure> {
    Ok(UserTicket {
        id: UserTicketId(text(row, 0, "id")?),
        created_at: text(row, 1, "created_at")?,
        updated_at: text(row, 2, "updated_at")?,
        user_id: UserId::from_sql(row.try_get(3)?),
        ticket_id: TicketId::from_sql(row.try_get(4)?),
    })
}

fn text<T: std::str::FromStr>(row: &SqliteRow, index: usize, column: &str) -> Result<T, Failure>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    parse_column(&row.try_get::<String, _>(index)?, column)
}
