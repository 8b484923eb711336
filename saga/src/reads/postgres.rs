//! One page of a table in PostgreSQL, or the user of one row. A page's statement has only the
//! conditions that are asked for, so that each plan looks into the index that fits.

use events::UserId;
use events::query::{Listing, Page};
use sqlx::postgres::PgRow;
use sqlx::{Encode, PgPool, Postgres, QueryBuilder, Row, Type};
use uuid::Uuid;

use crate::failure::Failure;

/// Whose a row of the table is, deleted or not.
pub async fn user_of(pool: &PgPool, table: &str, id: Uuid) -> Result<Option<UserId>, Failure> {
    let mut query = QueryBuilder::new(format!("SELECT user_id FROM {table} WHERE id = "));
    let user: Option<i64> = query
        .push_bind(id)
        .build_query_scalar()
        .fetch_optional(pool)
        .await?;
    Ok(user.map(UserId::from_sql))
}

/// What is wanted of a table, newest first.
pub struct Select {
    rows: QueryBuilder<'static, Postgres>,
    count: QueryBuilder<'static, Postgres>,
}

impl Select {
    /// The rows of the table that are not deleted.
    pub fn live(table: &str, columns: &str) -> Self {
        let from = format!("FROM {table} WHERE deleted_at IS NULL");
        Self {
            rows: QueryBuilder::new(format!("SELECT {columns} {from}")),
            count: QueryBuilder::new(format!("SELECT count(*) {from}")),
        }
    }

    /// Of these, those whose column has this value, if there is one.
    #[must_use]
    pub fn having<T>(mut self, column: &str, value: Option<T>) -> Self
    where
        T: Clone + Send + 'static + Encode<'static, Postgres> + Type<Postgres>,
    {
        if let Some(value) = value {
            for query in [&mut self.rows, &mut self.count] {
                query
                    .push(format!(" AND {column} = "))
                    .push_bind(value.clone());
            }
        }
        self
    }

    /// Of these, those of which one of the columns has this value. No column: none of them.
    #[must_use]
    pub fn having_one<T>(mut self, columns: &[&str], value: &T) -> Self
    where
        T: Clone + Send + 'static + Encode<'static, Postgres> + Type<Postgres>,
    {
        for query in [&mut self.rows, &mut self.count] {
            query.push(" AND (false");
            for column in columns {
                query
                    .push(format!(" OR {column} = "))
                    .push_bind(value.clone());
            }
            query.push(")");
        }
        self
    }

    pub async fn page<T>(
        mut self,
        pool: &PgPool,
        page: Page,
        read: fn(&PgRow) -> Result<T, Failure>,
    ) -> Result<Listing<T>, Failure> {
        let total: i64 = self.count.build().fetch_one(pool).await?.try_get(0)?;
        self.rows
            .push(" ORDER BY created_at DESC, id DESC LIMIT ")
            .push_bind(page.limit())
            .push(" OFFSET ")
            .push_bind(page.offset());
        let rows = self.rows.build().fetch_all(pool).await?;
        let list = rows.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Listing {
            total: u64::try_from(total).unwrap_or(0),
            list,
        })
    }
}
