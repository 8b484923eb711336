//! Projects the journal into the ledger: reads a page, folds it in memory, writes it with the
//! cursor. One replica does so at a time, the holder of the lease; the others stand by.
//!
//! A page that cannot be written is kept and tried again; nothing is skipped but entries that are
//! no event of ours or of a build that is newer than this one, and rows that cannot be read. What a
//! newer build published is lost to the ledger, so gateways are rolled out first.

use std::sync::Arc;
use std::time::Duration;

use events::{DecodeError, Event, Timestamp};
use saga::bus::{Bus, Health, JournalPage, JournalPosition, JournalReader, JournalStart};
use saga::failure::chain;
use saga::retry::Backoff;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::desk::{Desk, Hold, Known};
use super::{Claim, LEASE, Lease, Ledger, LedgerError, Saved};
use crate::metrics::LedgerMetrics;

/// Bounds the memory of a page, with its events, rows and statement: tens of megabytes. Above what a
/// high load brings in [`GATHER`].
pub(super) const PAGE_LIMIT: usize = 8_192;
/// More than this came while the page before was written: there is load.
const LOADED_PAGE: usize = 64;
/// Under load a page gathers for this long, or until it is full: longer than most sagas take then,
/// so that they end in the page they begin in or in the next, and cost one insert and no update.
/// The ledger is behind by as much.
const GATHER: Duration = Duration::from_millis(150);
/// Without load a page is written at once, unless the one before was written less than this ago:
/// then it is read that much later, so that a trickle of sagas costs a bounded number of
/// transactions.
const PACE: Duration = Duration::from_millis(20);
/// Between two looks while a page gathers: a look at each arrival would cost more than the events,
/// and a longer pause would let the bus's own buffer, which may be small, bound the page.
const GATHER_STEP: Duration = Duration::from_millis(2);
/// How often an idle projector renews the lease: two renewals may fail.
const RENEW: Duration = LEASE.checked_div(3).expect("three is not zero");
/// How often a standby asks for the lease.
const STANDBY: Duration = Duration::from_millis(500);
/// A ledger that is further behind than this does not tell an unknown saga from one that it has not
/// reached. Far more than it is behind under load, and nothing beside the deadline of a saga.
pub(crate) const BEHIND: Duration = Duration::from_secs(5);

/// Projects until it is told to stop.
pub struct Projector {
    pub bus: Arc<dyn Bus>,
    pub ledger: Arc<dyn Ledger>,
    /// Who holds the lease: this gateway instance.
    pub owner: String,
    /// How long after its end a saga is kept; for ever if none.
    pub keep_ended: Option<Duration>,
    pub metrics: LedgerMetrics,
    /// Whether the ledger is up to date, as far as this replica knows.
    pub health: watch::Sender<Health>,
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
                info!("the ledger's lease or cursor is not ours any more; standing by");
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

    /// Waits for the lease, and projects, and what else one replica does, until it is lost.
    async fn lead(&self) -> Over {
        let cursor = self.claim().await;
        self.metrics.leads.set(1.0);
        tokio::select! {
            over = self.project(cursor) => over,
            never = self.repair() => match never {},
            never = self.watch_overdue() => match never {},
            never = self.remove_old() => match never {},
        }
    }

    async fn project(&self, cursor: Option<JournalPosition>) -> Over {
        info!(position = cursor.map(|at| at.0), "projecting the journal");
        let mut reader = self.open(cursor).await;
        let (mut desk, mut loaded, mut paced) = (Desk::at(cursor), false, Instant::now());
        loop {
            sleep_until(paced).await;
            let patience = if desk.holds_something() {
                GATHER
            } else {
                RENEW
            };
            let stepped = match timeout(patience, reader.read(PAGE_LIMIT)).await {
                Ok(mut page) => {
                    if loaded {
                        gather(reader.as_mut(), &mut page).await;
                    }
                    paced = Instant::now() + PACE;
                    loaded = page.entries.len() > LOADED_PAGE;
                    let hold = if loaded { Hold::Young } else { Hold::Nothing };
                    self.write(&mut desk, page, hold).await
                }
                Err(_) if desk.holds_something() => {
                    desk.release();
                    self.save(&mut desk).await
                }
                Err(_) => {
                    // Nothing came, so nothing is missing, however old the last event is.
                    self.show(Health::Up);
                    self.renew(desk.cursor()).await
                }
            };
            if let Err(over) = stepped {
                return over;
            }
            if let Some(cursor) = desk.cursor() {
                reader.keep_after(cursor);
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
            // The replica that projects tells what is wrong, if anything; should it stop for that,
            // this one takes over.
            self.show(Health::Up);
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
        let (mut backoff, since) = (Backoff::new(), Timestamp::now());
        loop {
            match self.bus.read_journal(from).await {
                Ok(reader) => {
                    self.show(Health::Up);
                    return reader;
                }
                Err(problem) => {
                    let reason = chain(&problem);
                    error!(error = reason, "the journal cannot be read");
                    self.show_waiting(since, &reason);
                }
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    async fn write(&self, desk: &mut Desk, page: JournalPage, hold: Hold) -> Result<(), Over> {
        let position = page.position;
        let events = self.decoded(page.entries);
        let times = || events.iter().map(|event| event.time);
        let wanted = desk.wants(&events);
        let loaded = self
            .until_it_works(|| {
                self.metrics.lag.set(times().min().map_or(0.0, age));
                self.ledger.load(&wanted)
            })
            .await;
        desk.fold(&events, Known::of(loaded), position, hold).await;
        self.save(desk).await?;
        self.metrics.events.increment(events.len() as u64);
        if let Some(newest) = times().max() {
            self.metrics.lag.set(age(newest));
            self.show(match Timestamp::now().since(newest) > BEHIND {
                true => behind(newest),
                false => Health::Up,
            });
        }
        Ok(())
    }

    async fn save(&self, desk: &mut Desk) -> Result<(), Over> {
        let saving = &*desk;
        let saved = self
            .until_it_works(|| async {
                let page = saving.projection(self.lease());
                self.ledger.save(&page).await
            })
            .await;
        match saved {
            Saved::NotOurs => Err(Over),
            Saved::Yes => {
                let ended = desk.saved().into_iter();
                ended.for_each(|outcome| self.metrics.ended(outcome));
                Ok(())
            }
        }
    }

    fn decoded(&self, entries: Vec<Result<Event, DecodeError>>) -> Vec<Event> {
        let mut events = Vec::with_capacity(entries.len());
        let (mut unsupported, mut undecodable) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry {
                Ok(event) => events.push(event),
                Err(problem) if problem.is_of_another_build() => unsupported.push(problem),
                Err(problem) => undecodable.push(problem),
            }
        }
        if let Some(first) = unsupported.first() {
            self.metrics.unsupported.increment(unsupported.len() as u64);
            error!(
                lost = unsupported.len(),
                first = chain(first),
                "the ledger has lost messages of types or versions that this gateway does not \
                 read; is it older than the services? Roll gateways out first"
            );
        }
        if let Some(first) = undecodable.first() {
            self.metrics.undecodable.increment(undecodable.len() as u64);
            warn!(
                skipped = undecodable.len(),
                first = chain(first),
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
        let since = Timestamp::now();
        loop {
            match attempt().await {
                Ok(done) => {
                    if failed {
                        info!("the ledger goes on");
                        self.show(Health::Up);
                    }
                    return done;
                }
                Err(problem) if !failed => {
                    let reason = chain(&problem);
                    warn!(error = reason, "the ledger waits for its database");
                    self.show_waiting(since, &reason);
                    failed = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    fn show(&self, health: Health) {
        self.health.send_if_modified(|shown| {
            let changed = *shown != health;
            *shown = health;
            changed
        });
    }

    fn show_waiting(&self, since: Timestamp, reason: &str) {
        let waiting_for = format!("not projecting since {since}: {reason}");
        self.show(Health::Down { waiting_for });
    }

    fn lease(&self) -> Lease<'_> {
        Lease {
            owner: &self.owner,
            now: Timestamp::now(),
        }
    }
}

/// Lets a page grow for a while.
pub(super) async fn gather(reader: &mut dyn JournalReader, page: &mut JournalPage) {
    let until = Instant::now() + GATHER;
    while page.entries.len() < PAGE_LIMIT && Instant::now() < until {
        tokio::time::sleep(GATHER_STEP).await;
        let room = PAGE_LIMIT - page.entries.len();
        let Ok(more) = timeout_at(until, reader.read(room)).await else {
            return;
        };
        page.entries.extend(more.entries);
        page.positions.extend(more.positions);
        page.position = more.position;
    }
}

fn behind(newest: Timestamp) -> Health {
    let waiting_for = format!("the rest of the journal; projected up to {newest}");
    Health::Down { waiting_for }
}

fn age(of: Timestamp) -> f64 {
    Timestamp::now().since(of).as_secs_f64()
}
