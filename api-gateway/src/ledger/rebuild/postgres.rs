//! The scratch in PostgreSQL: temporary tables of one connection, which hide the ledger's from it, so
//! that every statement of the ledger works on them unchanged.

use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use events::SagaId;
use saga::bus::JournalPosition;
use saga::database::{INDEX_LOOKUPS_ONLY, answered};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor, PgPool, Postgres, Transaction};
use uuid::Uuid;

use super::{Generation, Generations, Held, Text};
use crate::ledger::{LedgerError, PostgresLedger, Row};

const APPLICATION: &str = "ledger rebuild";
/// A plan that the server believes to be dear is compiled each time, which takes a second.
const NO_COMPILER: (&str, &str) = ("jit", "off");
/// Of the server's memory: a million sagas' index, and the pages at its end.
const SCRATCH_MEMORY: (&str, &str) = ("temp_buffers", "128MB");
/// A rebuild that was suspended while it holds the ledger is rolled back.
const HOLD_LIMIT: (&str, &str) = ("idle_in_transaction_session_timeout", "30s");
/// Of the ledger: one holds it, one reads.
const CONNECTIONS: u32 = 2;

const SCRATCH: &str = "
    CREATE TEMPORARY TABLE saga (LIKE saga);
    ALTER TABLE pg_temp.saga ADD PRIMARY KEY (saga_id);
    CREATE TEMPORARY TABLE ledger_cursor (LIKE ledger_cursor);
    ALTER TABLE pg_temp.ledger_cursor ADD PRIMARY KEY (id);
    INSERT INTO pg_temp.ledger_cursor (id, owner, lease_until) VALUES (1, '', 'epoch');";

const TEXTS_AFTER: &str = "
    SELECT whole.saga_id, md5(whole::text) FROM saga AS whole
    WHERE whole.saga_id > $1 ORDER BY whole.saga_id LIMIT $2";

const TEXTS_OF: &str = "
    SELECT whole.saga_id, md5(whole::text) FROM saga AS whole WHERE whole.saga_id = ANY($1)";

const REACHED: &str = "SELECT coalesce(seen, position) FROM ledger_cursor WHERE id = 1";

const HOLD: &str = "
    SELECT coalesce(seen, position) FROM ledger_cursor WHERE id = 1 FOR UPDATE";

/// The ledger in this database, and a scratch.
pub async fn on_postgres(url: &str) -> Result<Generations, LedgerError> {
    let options = PgConnectOptions::from_str(url)?
        .application_name(APPLICATION)
        .options(INDEX_LOOKUPS_ONLY)
        .options([NO_COMPILER]);
    let ledger = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .connect_with(options.clone().options([HOLD_LIMIT]))
        .await?;
    let scratch = scratch(options.options([SCRATCH_MEMORY])).await?;
    Ok(Generations {
        ledger: Arc::new(PostgresLedger::new(ledger)),
        scratch: Arc::new(PostgresLedger::new(scratch)),
    })
}

/// One connection. Another in its place would begin with empty tables of its own, and never see the
/// ledger's.
async fn scratch(options: PgConnectOptions) -> Result<PgPool, sqlx::Error> {
    PgPoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute(SCRATCH).await?;
                Ok(())
            })
        })
        .connect_with(options)
        .await
}

#[async_trait]
impl Generation for PostgresLedger {
    async fn texts_after(&self, after: SagaId, limit: usize) -> Result<Vec<Text>, LedgerError> {
        let asking = sqlx::query_as(TEXTS_AFTER).bind(after.0).bind(limit as i64);
        let found: Vec<(Uuid, String)> = answered(asking.fetch_all(self.pool())).await?;
        Ok(found.into_iter().map(text).collect())
    }

    async fn texts_of(&self, sagas: &[SagaId]) -> Result<Vec<Text>, LedgerError> {
        let ids: Vec<Uuid> = sagas.iter().map(|saga| saga.0).collect();
        let asking = sqlx::query_as(TEXTS_OF).bind(ids);
        let found: Vec<(Uuid, String)> = answered(asking.fetch_all(self.pool())).await?;
        Ok(found.into_iter().map(text).collect())
    }

    async fn reached(&self) -> Result<Option<JournalPosition>, LedgerError> {
        let asking = sqlx::query_scalar(REACHED);
        let reached: Option<i64> = answered(asking.fetch_one(self.pool())).await?;
        Ok(reached.map(JournalPosition))
    }

    async fn hold(&self) -> Result<Box<dyn Held>, LedgerError> {
        let mut transaction = answered(self.pool().begin()).await?;
        let asking = sqlx::query_scalar(HOLD);
        let reached: Option<i64> = answered(asking.fetch_one(&mut *transaction)).await?;
        Ok(Box::new(HeldLedger {
            transaction,
            reached: reached.map(JournalPosition),
        }))
    }
}

struct HeldLedger {
    transaction: Transaction<'static, Postgres>,
    reached: Option<JournalPosition>,
}

#[async_trait]
impl Held for HeldLedger {
    fn reached(&self) -> Option<JournalPosition> {
        self.reached
    }

    async fn mend(mut self: Box<Self>, rows: &[Row]) -> Result<(), LedgerError> {
        PostgresLedger::mend(&mut self.transaction, rows).await?;
        answered(self.transaction.commit()).await?;
        Ok(())
    }
}

fn text((id, text): (Uuid, String)) -> Text {
    (SagaId(id), text)
}
