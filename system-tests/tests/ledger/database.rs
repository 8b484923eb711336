//! The gateway's database in PostgreSQL or SQLite, looked at and damaged in SQL.

use sqlx::{Connection, Executor, PgConnection, SqliteConnection};

/// By its URL.
pub(crate) struct GatewayDatabase(String);

impl GatewayDatabase {
    pub(crate) fn at(url: &str) -> Self {
        Self(url.to_owned())
    }

    /// Every row with all its columns.
    pub(crate) fn rows(&self) -> Vec<String> {
        self.texts(match self.is_postgres() {
            true => "SELECT CAST(whole AS text) FROM saga AS whole ORDER BY saga_id",
            false => {
                "SELECT json_array(saga_id, user_ticket_id, regist_id, user_id, ticket_id,
                    started_at, ended_at, waits_since, saga, status, waits_for, reason,
                    timeline, unanswered)
                FROM saga ORDER BY saga_id"
            }
        })
    }

    pub(crate) fn texts(&self, sql: &str) -> Vec<String> {
        let url = &self.0;
        match self.is_postgres() {
            true => wait_for(async {
                let mut connection = PgConnection::connect(url).await?;
                sqlx::query_scalar(sql).fetch_all(&mut connection).await
            }),
            false => wait_for(async {
                let mut connection = SqliteConnection::connect(url).await?;
                sqlx::query_scalar(sql).fetch_all(&mut connection).await
            }),
        }
    }

    pub(crate) fn execute(&self, sql: &str) {
        let url = &self.0;
        match self.is_postgres() {
            true => wait_for(async {
                let mut connection = PgConnection::connect(url).await?;
                connection.execute(sql).await.map(drop)
            }),
            false => wait_for(async {
                let mut connection = SqliteConnection::connect(url).await?;
                connection.execute(sql).await.map(drop)
            }),
        }
    }

    fn is_postgres(&self) -> bool {
        self.0.starts_with("postgres")
    }
}

fn wait_for<T>(asking: impl Future<Output = Result<T, sqlx::Error>>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(asking).expect("an answer")
}
