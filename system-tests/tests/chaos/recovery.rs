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

/// The first of those that have not ended, with what they went through, and how far the ledger is.
const STUCK: &str = "(SELECT saga_id::text, status || ' ' || coalesce(waits_for, '') || timeline \
     FROM saga WHERE saga_id >= $1 AND saga_id < $2 \
     AND status NOT IN ('completed', 'rejected', 'compensated') ORDER BY saga_id LIMIT 5) \
     UNION ALL SELECT 'the ledger', 'projected up to ' || position || ', lease until ' || lease_until \
     FROM ledger_cursor";
/// Between two looks, which take some of the machine's time themselves.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

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
            self.wait_until_drained(before, || rig.check_that_services_run());
            cleared.elapsed()
        });
        Recovery { first_end, drained }
    }

    /// Waits until all sagas that were minted before have ended, and tells which have not if that
    /// takes too long.
    pub(crate) fn wait_until_drained(&mut self, before: Uuid, mut meanwhile: impl FnMut()) {
        let since = Instant::now();
        while !self.is_drained(before) {
            meanwhile();
            assert!(
                since.elapsed() < LIMIT,
                "what was started before {before} has not ended within {LIMIT:?}; {}",
                self.story(before)
            );
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Whether all sagas that were minted before have ended, as the ledger knows.
    fn is_drained(&mut self, before: Uuid) -> bool {
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

    /// Who has not ended, by the ledger.
    fn story(&mut self, before: Uuid) -> String {
        let found = self.ask(before);
        let Some(connection) = &mut self.connection else {
            return format!("{found:?}");
        };
        let asking = sqlx::query_as(STUCK).bind(self.from).bind(before);
        let stuck: Result<Vec<(String, String)>, _> =
            self.runtime.block_on(asking.fetch_all(connection));
        format!("(unfinished, whether a later one is known): {found:?}; the first: {stuck:#?}")
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
