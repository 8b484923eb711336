//! Projects the journal into the ledger: reads a page, folds it in memory, writes it with the
//! cursor. One replica does so at a time, the holder of the lease; the others stand by.
//!
//! A page that cannot be written is held and tried again; nothing is skipped but entries that are
//! no event of ours, and rows that cannot be read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use events::choreography::Outcome;
use events::{DecodeError, Event, SagaId, Timestamp};
use saga::bus::{Bus, JournalPage, JournalPosition, JournalReader, JournalStart};
use saga::failure::chain;
use saga::retry::Backoff;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Claim, LEASE, Lease, Ledger, LedgerError, Projection, Row, Saved, fold};
use crate::metrics::LedgerMetrics;

/// Bounds the memory of a page, and the time in which nothing else gets at its rows.
const PAGE_LIMIT: usize = 8_192;
/// More than this came while the page before was written: there is load.
const LOADED_PAGE: usize = 64;
/// Under load a page gathers for this long, or until it is full: longer than most sagas take then,
/// so that they begin and end inside one page and cost one insert and no update. The ledger is
/// behind by as much, which nobody sees; without load there is no wait.
const GATHER: Duration = Duration::from_millis(150);
/// Between two looks while a page gathers: a look at each arrival would cost more than the events,
/// and a longer pause would let the bus's own buffer, which may be small, bound the page.
const GATHER_STEP: Duration = Duration::from_millis(2);
/// How often an idle projector renews the lease: two renewals may fail.
const RENEW: Duration = LEASE.checked_div(3).expect("three is not zero");
/// How often a standby asks for the lease.
const STANDBY: Duration = Duration::from_millis(500);

/// Projects until it is told to stop.
pub struct Projector {
    pub bus: Arc<dyn Bus>,
    pub ledger: Arc<dyn Ledger>,
    /// Who holds the lease: this gateway instance.
    pub owner: String,
    pub metrics: LedgerMetrics,
}

/// The lease is lost or a stop was asked for.
struct Over;

impl Projector {
    pub async fn run(self, stop: CancellationToken) {
        let projected = stop.run_until_cancelled(async {
            loop {
                let Over = self.lead().await;
                self.metrics.leads.set(0.0);
                self.metrics.lag.set(0.0);
                info!("the lease on the journal is lost; standing by");
            }
        });
        projected.await;
        // Should this fail, the next replica waits for the end of the lease.
        let released = timeout(STANDBY, self.ledger.release(&self.owner)).await;
        if let Ok(Err(error)) = released {
            warn!(
                error = chain(&error),
                "the lease on the journal is not given back"
            );
        }
    }

    /// Waits for the lease and projects until it is lost.
    async fn lead(&self) -> Over {
        let mut cursor = self.claim().await;
        self.metrics.leads.set(1.0);
        info!(position = cursor.map(|at| at.0), "projecting the journal");
        let mut reader = self.open(cursor).await;
        let mut loaded = false;
        loop {
            let Ok(mut page) = timeout(RENEW, reader.read(PAGE_LIMIT)).await else {
                match self.renew(cursor).await {
                    Ok(()) => continue,
                    Err(over) => return over,
                }
            };
            if loaded {
                gather(reader.as_mut(), &mut page).await;
            }
            loaded = page.entries.len() > LOADED_PAGE;
            let next = page.position;
            match self.write(page, cursor).await {
                Ok(()) => cursor = Some(next),
                Err(over) => return over,
            }
        }
    }

    /// Asks for the lease until it is ours.
    async fn claim(&self) -> Option<JournalPosition> {
        loop {
            let claim = self
                .until_it_works(|| async { self.ledger.claim(&self.lease()).await })
                .await;
            if let Claim::Held { cursor } = claim {
                return cursor;
            }
            tokio::time::sleep(STANDBY).await;
        }
    }

    async fn renew(&self, at: Option<JournalPosition>) -> Result<(), Over> {
        let claim = self
            .until_it_works(|| async { self.ledger.claim(&self.lease()).await })
            .await;
        match claim {
            Claim::Held { cursor } if cursor == at => Ok(()),
            Claim::Held { .. } | Claim::Taken => Err(Over),
        }
    }

    /// A journal that is not what it should be is waited for as well: the routes still work.
    async fn open(&self, cursor: Option<JournalPosition>) -> Box<dyn JournalReader> {
        let from = cursor.map_or(JournalStart::First, JournalStart::After);
        let mut backoff = Backoff::new();
        loop {
            match self.bus.read_journal(from).await {
                Ok(reader) => return reader,
                Err(problem) => error!(error = chain(&problem), "the journal cannot be read"),
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    async fn write(&self, page: JournalPage, from: Option<JournalPosition>) -> Result<(), Over> {
        let position = page.position;
        let events = self.decoded(page.entries);
        let oldest = events.iter().map(|event| event.time).min();
        let written = self
            .until_it_works(|| async {
                if let Some(oldest) = oldest {
                    self.metrics.lag.set(age(oldest));
                }
                let lease = self.lease();
                project(self.ledger.as_ref(), &events, from, position, lease).await
            })
            .await;
        let Some(ended) = written else {
            return Err(Over);
        };
        ended
            .into_iter()
            .for_each(|outcome| self.metrics.ended(outcome));
        self.metrics.events.increment(events.len() as u64);
        if let Some(newest) = events.iter().map(|event| event.time).max() {
            self.metrics.lag.set(age(newest));
        }
        Ok(())
    }

    fn decoded(&self, entries: Vec<Result<Event, DecodeError>>) -> Vec<Event> {
        let (total, mut first) = (entries.len(), None);
        let keep =
            |entry: Result<Event, DecodeError>| entry.map_err(|e| first.get_or_insert(e)).ok();
        let events: Vec<Event> = entries.into_iter().filter_map(keep).collect();
        if let Some(problem) = first {
            let skipped = total - events.len();
            self.metrics.undecodable.increment(skipped as u64);
            warn!(
                skipped,
                first = chain(&problem),
                "the journal has entries that are no event of ours"
            );
        }
        events
    }

    /// The database is waited for; what is in hand is kept.
    async fn until_it_works<T, F>(&self, attempt: impl Fn() -> F) -> T
    where
        F: Future<Output = Result<T, LedgerError>>,
    {
        let (mut backoff, mut failed) = (Backoff::new(), false);
        loop {
            match attempt().await {
                Ok(done) => {
                    if failed {
                        info!("the ledger goes on");
                    }
                    return done;
                }
                Err(problem) if !failed => {
                    warn!(error = chain(&problem), "the ledger waits for its database");
                    failed = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    fn lease(&self) -> Lease<'_> {
        Lease {
            owner: &self.owner,
            now: Timestamp::now(),
        }
    }
}

/// Lets a page under load grow.
async fn gather(reader: &mut dyn JournalReader, page: &mut JournalPage) {
    let until = Instant::now() + GATHER;
    while page.entries.len() < PAGE_LIMIT {
        tokio::time::sleep(GATHER_STEP).await;
        let room = PAGE_LIMIT - page.entries.len();
        let Ok(more) = timeout_at(until, reader.read(room)).await else {
            return;
        };
        page.entries.extend(more.entries);
        page.position = more.position;
    }
}

/// Folds one page into the ledger, once. Returns how the sagas ended that ended in this page, or
/// `None` when another replica projects.
pub async fn project(
    ledger: &dyn Ledger,
    events: &[Event],
    from: Option<JournalPosition>,
    to: JournalPosition,
    lease: Lease<'_>,
) -> Result<Option<Vec<Outcome>>, LedgerError> {
    let mut desk = Desk::load(ledger, events).await?;
    events.iter().for_each(|event| desk.fold(event));
    let (rows, ended) = desk.finish();
    let page = Projection {
        rows: &rows,
        from,
        to,
        lease,
    };
    Ok(match ledger.save(&page).await? {
        Saved::Yes => Some(ended),
        Saved::NotOurs => None,
    })
}

/// The sagas of one page while it is folded.
struct Desk {
    sagas: HashMap<SagaId, Folded>,
}

struct Folded {
    row: Option<Row>,
    had_ended: bool,
    readable: bool,
}

impl Desk {
    async fn load(ledger: &dyn Ledger, events: &[Event]) -> Result<Self, LedgerError> {
        let new = |event: &Event| (event.saga_id, Folded::unknown());
        let mut sagas: HashMap<_, _> = events.iter().map(new).collect();
        let ids: Vec<SagaId> = sagas.keys().copied().collect();
        for loaded in ledger.load(&ids).await? {
            match loaded {
                Ok(row) => sagas.insert(row.saga_id, Folded::known(row)),
                Err(problem) => {
                    let saga_id = problem.saga_id;
                    error!(%saga_id, error = chain(&problem), "left alone: an operator must repair or delete this row");
                    sagas.insert(saga_id, Folded::unreadable())
                }
            };
        }
        Ok(Self { sagas })
    }

    fn fold(&mut self, event: &Event) {
        if let Some(folded) = self.sagas.get_mut(&event.saga_id).filter(|f| f.readable) {
            folded.row = Some(fold(folded.row.take(), event));
        }
    }

    fn finish(self) -> (Vec<Row>, Vec<Outcome>) {
        let (mut rows, mut ended) = (Vec::with_capacity(self.sagas.len()), Vec::new());
        for folded in self.sagas.into_values() {
            let Some(row) = folded.row else { continue };
            ended.extend(row.outcome().filter(|_| !folded.had_ended));
            rows.push(row);
        }
        // By id, which is by time: rows of one saga's moment lie together, in table and index.
        rows.sort_unstable_by_key(|row| row.saga_id);
        (rows, ended)
    }
}

impl Folded {
    fn unknown() -> Self {
        Self {
            row: None,
            had_ended: false,
            readable: true,
        }
    }

    fn known(row: Row) -> Self {
        Self {
            had_ended: row.outcome().is_some(),
            row: Some(row),
            readable: true,
        }
    }

    fn unreadable() -> Self {
        Self {
            row: None,
            had_ended: false,
            readable: false,
        }
    }
}

fn age(of: Timestamp) -> f64 {
    Timestamp::now().since(of).as_secs_f64()
}
