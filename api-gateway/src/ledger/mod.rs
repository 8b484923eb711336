//! The ledger: the journal folded into one row per saga, and the port to where the rows are kept.
//!
//! Rows and cursor are written in one transaction that only the holder of the lease can commit
//! ([`Ledger::save`]), so a crash neither loses nor doubles anything and one replica projects.

pub mod desk;
pub mod fold;
pub mod overdue;
mod postgres;
pub mod projector;
pub mod rebuild;
mod repair;
pub mod retention;
mod sqlite;
mod timeline;

use std::time::Duration;

use async_trait::async_trait;
use events::progress::Progress;
use events::{Event, Reason, RegistId, SagaId, TicketId, Timestamp, UserId, UserTicketId};
use saga::bus::JournalPosition;
use saga::failure::chain;
use tracing::error;
use uuid::Uuid;

pub use fold::{Row, fold};
pub use overdue::{AtStep, StepLimit};
pub use postgres::PostgresLedger;
pub use retention::Removed;
pub use sqlite::SqliteLedger;
pub use timeline::{Entry, Timeline};

/// A projector that is not heard of for this long is taken over from. Longer than any page takes,
/// short enough that callers who ask for a saga meanwhile are not kept in the dark for long.
pub const LEASE: Duration = Duration::from_secs(5);

/// Where the rows are kept.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// The row of one saga.
    async fn find(&self, saga: SagaId) -> Result<Option<Row>, LedgerError>;

    /// The rows that exist of these sagas; one that cannot be read is reported by itself.
    async fn load(&self, sagas: &[SagaId]) -> Result<Vec<Result<Row, UnreadableRow>>, LedgerError>;

    /// At most `limit` sagas that started before the mark, newest first.
    async fn list(&self, which: Which, before: Mark, limit: usize) -> Result<Listed, LedgerError>;

    /// At most `limit` sagas without an end that started after the mark and before this time, oldest
    /// first.
    async fn unfinished(
        &self,
        after: Mark,
        before: Timestamp,
        limit: usize,
    ) -> Result<Listed, LedgerError>;

    /// Takes or renews the lease, unless another owner holds it at [`Lease::now`].
    async fn claim(&self, lease: &Lease<'_>) -> Result<Claim, LedgerError>;

    /// Gives the lease up, so that another replica need not wait for its end.
    async fn release(&self, owner: &str) -> Result<(), LedgerError>;

    /// Writes the rows, moves the cursor and renews the lease in one transaction; all or nothing,
    /// and nothing if the cursor is not at `from` or another owner holds the lease.
    async fn save(&self, page: &Projection<'_>) -> Result<Saved, LedgerError>;

    /// Counts the sagas that wait at each of these steps, in their order; no further than
    /// [`overdue::COUNTED`].
    async fn waiting(&self, steps: &[StepLimit]) -> Result<Vec<AtStep>, LedgerError>;

    /// Of the next `limit` sagas behind the mark, oldest first, that started before then: removes
    /// those that had ended before then, too.
    async fn remove_ended(
        &self,
        before: Timestamp,
        after: Mark,
        limit: usize,
    ) -> Result<Removed, LedgerError>;
}

/// Which sagas to list. Each has an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    /// Those without an end.
    Unfinished,
    OfUser(UserId),
}

/// A place in the list of sagas by their start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub started_at: Timestamp,
    pub saga_id: SagaId,
}

impl Mark {
    pub fn of(row: &Row) -> Self {
        Self {
            started_at: row.started_at().unwrap_or(Timestamp::EPOCH),
            saga_id: row.saga_id,
        }
    }

    /// After it is every saga.
    pub const OLDEST: Self = Self {
        started_at: Timestamp::EPOCH,
        saga_id: SagaId(Uuid::nil()),
    };

    /// Before it is every saga.
    pub const NEWEST: Self = Self {
        started_at: Timestamp::LAST,
        saga_id: SagaId(Uuid::max()),
    };
}

/// Who projects, and until when no one else may.
#[derive(Clone, Copy, Debug)]
pub struct Lease<'a> {
    pub owner: &'a str,
    pub now: Timestamp,
}

impl Lease<'_> {
    fn until(&self) -> Timestamp {
        self.now + LEASE
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The lease is ours; the journal is projected up to here.
    Held { cursor: Option<JournalPosition> },
    /// Another replica projects.
    Taken,
}

/// One page of the journal, folded.
#[derive(Clone, Copy, Debug)]
pub struct Projection<'a> {
    /// Rows that the ledger did not have when it was asked.
    pub new: &'a [Row],
    /// Rows to be written over.
    pub known: &'a [Row],
    pub from: Option<JournalPosition>,
    /// At `from` when a row that begins behind it is still to come.
    pub to: Option<JournalPosition>,
    /// The rows hold messages up to here, which is not before `to`.
    pub seen: Option<JournalPosition>,
    pub lease: Lease<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    Yes,
    /// The cursor or the lease is not ours any more; nothing was written.
    NotOurs,
}

/// The database did not do what it was asked. Trying again is safe.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("the ledger's database failed")]
    Database(#[from] sqlx::Error),
    #[error("a row of the ledger cannot be read")]
    Row(#[from] UnreadableRow),
}

/// A row was written by another build, or by hand. An operator must repair or delete it.
#[derive(Debug, thiserror::Error)]
#[error("the timeline of saga {saga_id} is unreadable")]
pub struct UnreadableRow {
    pub saga_id: SagaId,
    pub source: serde_json::Error,
}

/// The columns that are read back: what [`Row`] is made of. The rest follows from them.
type Stored = (
    Uuid,
    Option<i64>,
    Option<i64>,
    Option<Uuid>,
    Option<Uuid>,
    Option<String>,
    Option<String>,
    String,
);

fn row_from(
    (id, user, ticket, user_ticket, regist, reason, unanswered, text): Stored,
) -> Result<Row, UnreadableRow> {
    let saga_id = SagaId(id);
    let timeline = Timeline::from_text(saga_id, &text);
    Ok(Row {
        saga_id,
        user_id: user.map(UserId::from_sql),
        ticket_id: ticket.map(TicketId::from_sql),
        user_ticket_id: user_ticket.map(UserTicketId),
        regist_id: regist.map(RegistId),
        reason: reason.map(Reason::from),
        // One that only another build can read is left to that build.
        unanswered: unanswered
            .and_then(|json| Event::from_json(json.as_bytes()).ok())
            .map(Box::new),
        timeline: timeline.map_err(|source| UnreadableRow { saga_id, source })?,
    })
}

/// A part of a list.
#[derive(Debug)]
pub struct Listed {
    /// One that cannot be read is left out.
    pub rows: Vec<Row>,
    /// How many there were, those included that cannot be read.
    pub found: usize,
}

/// What can be read of these.
fn readable(stored: Vec<Stored>) -> Listed {
    let found = stored.len();
    let readable = stored.into_iter().filter_map(|stored| {
        row_from(stored)
            .inspect_err(|problem| error!(error = chain(problem), "a row is left out of a list"))
            .ok()
    });
    Listed {
        rows: readable.collect(),
        found,
    }
}

/// The columns that are written only so that an operator can ask for them in SQL.
struct Derived {
    status: &'static str,
    waits_for: Option<String>,
    waits_since: Option<Timestamp>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

impl Derived {
    fn of(row: &Row) -> Self {
        let progress = row.progress();
        let (waits_for, waits_since, ended_at) = match &progress {
            Progress::Waiting { step, since } => (Some(step.queue()), Some(*since), None),
            Progress::Ended { at, .. } => (None, None, Some(*at)),
            Progress::Unknown => (None, None, None),
        };
        Self {
            status: progress.status().as_str(),
            waits_for,
            waits_since,
            started_at: row.started_at(),
            ended_at,
        }
    }
}

/// The command as SQL text.
fn unanswered_text(row: &Row) -> Option<String> {
    let json = row.unanswered.as_ref()?.to_json();
    Some(String::from_utf8(json).expect("JSON is UTF-8"))
}

/// The reason as SQL text, which cannot hold the zero character that JSON can.
fn reason_text(row: &Row) -> Option<String> {
    let reason = row.reason.as_ref()?;
    Some(reason.as_str().replace('\0', "\u{fffd}"))
}
