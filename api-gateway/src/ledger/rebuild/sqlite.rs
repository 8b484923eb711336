//! The scratch in SQLite: a database without a name, which SQLite keeps in a temporary file and
//! removes with its connection.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use events::SagaId;
use saga::bus::JournalPosition;
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Executor, Sqlite, SqlitePool, Transaction};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::{Generation, Generations, Held, Text};
use crate::SCHEMA;
use crate::ledger::{LedgerError, Row, SqliteLedger};

/// The system writes at the same time, for some milliseconds each.
const BUSY_LIMIT: Duration = Duration::from_secs(30);

/// Of the ledger: one holds it, one reads.
const CONNECTIONS: u32 = 2;

const TEXTS_AFTER: &str = "
    SELECT saga_id, json_array(saga_id, user_ticket_id, regist_id, user_id, ticket_id, started_at,
        ended_at, waits_since, saga, status, waits_for, reason, timeline,
        unanswered)
    FROM saga WHERE saga_id > ?1 ORDER BY saga_id LIMIT ?2";

const TEXTS_OF: &str = "
    SELECT saga_id, json_array(saga_id, user_ticket_id, regist_id, user_id, ticket_id, started_at,
        ended_at, waits_since, saga, status, waits_for, reason, timeline,
        unanswered)
    FROM saga WHERE saga_id IN (SELECT value FROM json_each(?1))";

const REACHED: &str = "SELECT coalesce(seen, position) FROM ledger_cursor WHERE id = 1";

/// The ledger in this file, which must be there, and a scratch.
pub async fn on_sqlite(path: &Path) -> Result<Generations, LedgerError> {
    let ledger = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_LIMIT);
    let ledger = connections(CONNECTIONS).connect_with(ledger).await?;
    Ok(Generations {
        ledger: Arc::new(SqliteLedger::new(ledger)),
        scratch: Arc::new(SqliteLedger::new(scratch().await?)),
    })
}

async fn scratch() -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename("")
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off);
    connections(1)
        .after_connect(|connection, _| {
            Box::pin(async move {
                for change in SCHEMA {
                    connection.execute(change.sqlite).await?;
                }
                Ok(())
            })
        })
        .connect_with(options)
        .await
}

fn connections(most: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(most)
        .idle_timeout(None)
        .max_lifetime(None)
}

#[async_trait]
impl Generation for SqliteLedger {
    async fn texts_after(&self, after: SagaId, limit: usize) -> Result<Vec<Text>, LedgerError> {
        let found: Vec<(Hyphenated, String)> = sqlx::query_as(TEXTS_AFTER)
            .bind(after.0.hyphenated())
            .bind(limit as i64)
            .fetch_all(self.pool())
            .await?;
        Ok(found.into_iter().map(text).collect())
    }

    async fn texts_of(&self, sagas: &[SagaId]) -> Result<Vec<Text>, LedgerError> {
        let found: Vec<(Hyphenated, String)> = sqlx::query_as(TEXTS_OF)
            .bind(json!(sagas).to_string())
            .fetch_all(self.pool())
            .await?;
        Ok(found.into_iter().map(text).collect())
    }

    async fn reached(&self) -> Result<Option<JournalPosition>, LedgerError> {
        let reached: Option<i64> = sqlx::query_scalar(REACHED).fetch_one(self.pool()).await?;
        Ok(reached.map(JournalPosition))
    }

    async fn hold(&self) -> Result<Box<dyn Held>, LedgerError> {
        let mut transaction = self.pool().begin_with("BEGIN IMMEDIATE").await?;
        let reached: Option<i64> = sqlx::query_scalar(REACHED)
            .fetch_one(&mut *transaction)
            .await?;
        Ok(Box::new(HeldLedger {
            transaction,
            reached: reached.map(JournalPosition),
        }))
    }
}

struct HeldLedger {
    transaction: Transaction<'static, Sqlite>,
    reached: Option<JournalPosition>,
}

#[async_trait]
impl Held for HeldLedger {
    fn reached(&self) -> Option<JournalPosition> {
        self.reached
    }

    async fn mend(mut self: Box<Self>, rows: &[Row]) -> Result<(), LedgerError> {
        SqliteLedger::mend(&mut self.transaction, rows).await?;
        self.transaction.commit().await?;
        Ok(())
    }
}

fn text((id, text): (Hyphenated, String)) -> Text {
    (SagaId(Uuid::from(id)), text)
}
