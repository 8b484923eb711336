//! When the system works again after a fault, and when what it held up is done.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use system_tests::load::Load;
use system_tests::process::wait_until;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::LIMIT;
use crate::rig::Rig;

/// The sagas minted in a span of time, told by their ids, that have not ended; and whether the ledger
/// has one of after that span. The journal is in order, so then it knows all of the span.
const UNFINISHED: &str = "SELECT count(*) FILTER (WHERE saga_id < $2 \
     AND status NOT IN ('completed', 'rejected', 'compensated')), \
     bool_or(saga_id >= $2) FROM saga WHERE saga_id >= $1";

/// Looks into the ledger, past the line.
pub(crate) struct Watch {
    ledger: String,
    runtime: Runtime,
    connection: Option<PgConnection>,
    /// What was minted before has ended.
    from: Uuid,
}

/// What came after a fault was cleared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recovery {
    pub(crate) first_end: Duration,
    /// None if the next fault did not wait for it.
    pub(crate) drained: Option<Duration>,
}

impl Watch {
    pub(crate) fn of(rig: &Rig) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            ledger: rig.databases().gateway,
            runtime,
            connection: None,
            from: Uuid::nil(),
        }
    }

    /// Waits for the first saga that ends, and, if asked to, until all have that are minted by now.
    pub(crate) fn recovery(&mut self, rig: &mut Rig, load: &Load, to_the_end: bool) -> Recovery {
        let (cleared, before, ended) = (Instant::now(), Uuid::now_v7(), load.ended());
        wait_until("ending a saga after the fault", LIMIT, || {
            rig.check_that_services_run();
            load.ended() > ended
        });
        let first_end = cleared.elapsed();
        let drained = to_the_end.then(|| {
            wait_until("ending all sagas of before", LIMIT, || {
                rig.check_that_services_run();
                self.is_drained(before)
            });
            cleared.elapsed()
        });
        Recovery { first_end, drained }
    }

    /// Whether all sagas that were minted before have ended, as the ledger knows.
    pub(crate) fn is_drained(&mut self, before: Uuid) -> bool {
        let Ok((unfinished, is_past)) = self.ask(before) else {
            // Lost with its server; the next look opens another.
            self.connection = None;
            return false;
        };
        let is_drained = unfinished == 0 && is_past == Some(true);
        if is_drained {
            self.from = before;
        }
        is_drained
    }

    fn ask(&mut self, before: Uuid) -> Result<(i64, Option<bool>), sqlx::Error> {
        self.runtime.block_on(async {
            let connection = match &mut self.connection {
                Some(connection) => connection,
                none => none.insert(PgConnection::connect(&self.ledger).await?),
            };
            let asked = sqlx::query_as(UNFINISHED).bind(self.from).bind(before);
            asked.fetch_one(connection).await
        })
    }
}
