//! Builds the ledger anew from the journal while another process projects, and puts right what
//! differs: `docs/decisions/0013-rebuild.md`.
//!
//! The journal is folded from its first event into a *scratch*, tables that only this process sees.
//! Whole rows are compared, and those that differ are written over: with the cursor held, so that the
//! ledger stands still until the scratch has all that it holds. With them the cursor goes back by
//! one: the page that the projector has in hand no longer fits, and it reads again. Nothing is ever
//! removed.

mod postgres;
mod sqlite;
mod verdict;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use events::{Event, SagaId};
use saga::bus::{JournalPage, JournalPosition, JournalReader};
use saga::failure::chain;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use self::verdict::Verdict;
use super::desk::{Desk, Hold, Known};
use super::projector::{PAGE_LIMIT, gather};
use super::{Lease, Ledger, LedgerError, Row, Saved};

pub use postgres::on_postgres;
pub use sqlite::on_sqlite;

/// Rows in one comparison: some megabytes, some tens of milliseconds.
const COMPARED: usize = 5_000;
/// Sagas that differed when they were compared, until they are looked at again: a few megabytes.
const SUSPECTS: usize = 100_000;
/// A saga in flight differs because one side has read further. It is looked at so often, so long
/// apart: in all, far longer than the projector holds anything back.
const LOOKS: usize = 6;
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Rows in one statement that stops the projector for its time.
const MENDED: usize = 2_000;
/// What the ledger has read is in the journal, and is there at once; if not, it never comes.
const SILENCE: Duration = Duration::from_secs(30);
/// Nearer to the end than so many messages, what is there is taken without waiting for more.
const NEAR: i64 = 1_000;
/// Nobody else asks for the scratch.
const OWNER: &str = "rebuild";

/// One of the two sets of rows: the ledger, or the scratch.
#[async_trait]
pub trait Generation: Ledger {
    /// All columns of the next rows by id, in one text each.
    async fn texts_after(&self, after: SagaId, limit: usize) -> Result<Vec<Text>, LedgerError>;

    /// The same of these sagas.
    async fn texts_of(&self, sagas: &[SagaId]) -> Result<Vec<Text>, LedgerError>;

    /// Up to where the rows hold messages; none if nothing is projected.
    async fn reached(&self) -> Result<Option<JournalPosition>, LedgerError>;

    /// Lets nobody project until what is returned is done with or dropped.
    async fn hold(&self) -> Result<Box<dyn Held>, LedgerError>;
}

/// A ledger that stands still.
#[async_trait]
pub trait Held: Send {
    /// As [`Generation::reached`].
    fn reached(&self) -> Option<JournalPosition>;

    /// Writes these rows, moves the cursor back by one, and lets go.
    async fn mend(self: Box<Self>, rows: &[Row]) -> Result<(), LedgerError>;
}

/// All that is stored of a saga, in a text to compare.
pub type Text = (SagaId, String);

/// The ledger, and a scratch beside it that vanishes with this process.
pub struct Generations {
    pub ledger: Arc<dyn Generation>,
    pub scratch: Arc<dyn Generation>,
}

/// What a rebuild found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Events of the journal that were folded.
    pub events: u64,
    /// Entries that are no event of ours.
    pub skipped: u64,
    /// Sagas that were compared.
    pub sagas: u64,
    /// Of them, those that the ledger did not have, and has now.
    pub missing: u64,
    /// Those that it had otherwise.
    pub different: u64,
    /// Those that differ because the journal no longer has their beginning: left as they were.
    pub kept: u64,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    Reading {
        from: JournalPosition,
        at: JournalPosition,
        to: JournalPosition,
        events: u64,
    },
    Comparing {
        sagas: u64,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(
        "the ledger has read nothing of the journal yet; start a gateway, which builds it from the \
         journal's first event"
    )]
    NothingProjected,
    #[error(
        "the journal ends at {at}, before {to}, up to where the ledger has read; is it another \
         journal?"
    )]
    JournalEnds { at: i64, to: i64 },
    /// What a newer build has projected would be written over without it.
    #[error(
        "the journal has messages of another build ({0}); nothing is changed; use its `ledger`"
    )]
    OlderBuild(String),
    #[error("the connection with what was built so far is lost; run it again")]
    ScratchLost,
}

/// A rebuild under way.
pub struct Rebuild<'a> {
    journal: Box<dyn JournalReader>,
    generations: Generations,
    desk: Desk,
    report: Report,
    tell: &'a mut (dyn FnMut(Stage) + Send),
}

impl<'a> Rebuild<'a> {
    /// The reader must begin at the journal's first event.
    pub fn new(
        journal: Box<dyn JournalReader>,
        generations: Generations,
        tell: &'a mut (dyn FnMut(Stage) + Send),
    ) -> Self {
        Self {
            journal,
            generations,
            desk: Desk::at(None),
            report: Report::default(),
            tell,
        }
    }

    /// Stopped at any moment, it leaves a ledger that is right or as it was; run it again.
    pub async fn run(mut self) -> Result<Report, RebuildError> {
        self.catch_up().await?;
        let (mut after, mut suspects) = (SagaId(Uuid::nil()), Vec::new());
        loop {
            let built = self
                .generations
                .scratch
                .texts_after(after, COMPARED)
                .await?;
            let Some((last, _)) = built.last() else {
                break;
            };
            after = *last;
            self.report.sagas += built.len() as u64;
            suspects.extend(self.different(built).await?);
            if suspects.len() >= SUSPECTS {
                self.settle(std::mem::take(&mut suspects)).await?;
            }
            let sagas = self.report.sagas;
            (self.tell)(Stage::Comparing { sagas });
        }
        self.settle(suspects).await?;
        Ok(self.report)
    }

    /// Those that the ledger does not have, or has otherwise.
    async fn different(&self, built: Vec<Text>) -> Result<Vec<SagaId>, RebuildError> {
        let ids: Vec<SagaId> = built.iter().map(|(id, _)| *id).collect();
        let there = self.generations.ledger.texts_of(&ids).await?;
        let there: HashMap<SagaId, String> = there.into_iter().collect();
        let differs = |(id, text): &Text| there.get(id) != Some(text);
        Ok((built.into_iter().filter(differs))
            .map(|(id, _)| id)
            .collect())
    }

    /// Waits for those in flight to agree, and mends the others.
    async fn settle(&mut self, mut suspects: Vec<SagaId>) -> Result<(), RebuildError> {
        for _ in 0..LOOKS {
            if suspects.is_empty() {
                return Ok(());
            }
            sleep(LOOK_AGAIN).await;
            self.catch_up().await?;
            let mut still = Vec::new();
            for some in suspects.chunks(COMPARED) {
                let built = self.generations.scratch.texts_of(some).await?;
                still.extend(self.different(built).await?);
            }
            suspects = still;
        }
        for some in suspects.chunks(MENDED) {
            self.mend(some).await?;
        }
        Ok(())
    }

    /// The ledger is held for as long as it takes to read what it has read since a moment ago.
    async fn mend(&mut self, sagas: &[SagaId]) -> Result<(), RebuildError> {
        self.catch_up().await?;
        let held = self.generations.ledger.hold().await?;
        let reached = held.reached().ok_or(RebuildError::NothingProjected)?;
        self.read_to(reached).await?;
        let there = self.generations.ledger.load(sagas).await?;
        let mut there: HashMap<SagaId, _> = (there.into_iter())
            .map(|row| (row.as_ref().map_or_else(|e| e.saga_id, |r| r.saga_id), row))
            .collect();
        let mut rows = Vec::new();
        for built in self.generations.scratch.load(sagas).await? {
            let built = built.map_err(LedgerError::from)?;
            let count = match verdict::of(there.remove(&built.saga_id), &built) {
                Verdict::Missing => &mut self.report.missing,
                Verdict::Different => &mut self.report.different,
                Verdict::Keep => {
                    self.report.kept += 1;
                    continue;
                }
            };
            *count += 1;
            rows.push(built);
        }
        if !rows.is_empty() {
            held.mend(&rows).await?;
        }
        Ok(())
    }

    /// Reads until the scratch holds all that the ledger did a moment ago.
    async fn catch_up(&mut self) -> Result<(), RebuildError> {
        let reached = self.generations.ledger.reached().await?;
        self.read_to(reached.ok_or(RebuildError::NothingProjected)?)
            .await
    }

    async fn read_to(&mut self, to: JournalPosition) -> Result<(), RebuildError> {
        let mut from = self.desk.cursor();
        while self.desk.cursor() < Some(to) {
            let page = self.page(to).await?;
            let at = page.position;
            self.fold(page, to).await?;
            let (from, events) = (*from.get_or_insert(at), self.report.events);
            (self.tell)(Stage::Reading {
                from,
                at,
                to,
                events,
            });
        }
        Ok(())
    }

    async fn page(&mut self, to: JournalPosition) -> Result<JournalPage, RebuildError> {
        let Ok(mut page) = timeout(SILENCE, self.journal.read(PAGE_LIMIT)).await else {
            let at = self.desk.cursor().map_or(-1, |at| at.0);
            return Err(RebuildError::JournalEnds { at, to: to.0 });
        };
        if to.0 - page.position.0 > NEAR {
            gather(self.journal.as_mut(), &mut page).await;
        }
        Ok(page)
    }

    async fn fold(&mut self, page: JournalPage, to: JournalPosition) -> Result<(), RebuildError> {
        let mut unread = page.entries.iter().filter_map(|entry| entry.as_ref().err());
        if let Some(newer) = unread.find(|problem| problem.is_of_another_build()) {
            return Err(RebuildError::OlderBuild(chain(newer)));
        }
        let all = page.entries.len() as u64;
        let events: Vec<Event> = page.entries.into_iter().flatten().collect();
        self.report.events += events.len() as u64;
        self.report.skipped += all - events.len() as u64;
        let scratch = &self.generations.scratch;
        let known = scratch.load(&self.desk.wants(&events)).await?;
        let hold = match page.position < to {
            true => Hold::Young,
            false => Hold::Nothing,
        };
        (self.desk)
            .fold(&events, Known::of(known), page.position, hold)
            .await;
        let lease = Lease {
            owner: OWNER,
            now: events::Timestamp::now(),
        };
        match scratch.save(&self.desk.projection(lease)).await? {
            Saved::Yes => {
                self.desk.saved();
                Ok(())
            }
            Saved::NotOurs => Err(RebuildError::ScratchLost),
        }
    }
}
