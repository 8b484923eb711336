//! The journal of an embedded bus for who works beside the system, whether or not it runs.
//!
//! The engine counts the entries of the journal, so nothing is ever appended here: a message is
//! handed out again from its place. The engine notices within a second.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use events::{Event, choreography};
use sqlx::{Connection, SqliteConnection};

use super::file::{self, BesideError};
use super::journal::EmbeddedJournal;
use super::place;
use super::topology::Topology;
use crate::bus::{JournalPosition, JournalReader, JournalStart};
use crate::journal::{Journal, JournalError};

/// What retention has let go comes back to its place.
const RESTORE: &str = "INSERT OR IGNORE INTO journal (position, event) VALUES (?1, ?2)";

const LAST_EVER: &str = "
    SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'journal'), 0)";

const THERE: &str = "
    SELECT iif(json_valid(event), event ->> 'id', NULL) FROM journal WHERE position = ?1";

/// What the queue owes already is not owed twice.
const HAND_OUT: &str = "INSERT OR IGNORE INTO queued (queue, position) VALUES (?1, ?2)";

/// The [`Journal`] in one file.
pub struct EmbeddedJournalFile {
    path: PathBuf,
    topology: Topology,
}

impl EmbeddedJournalFile {
    /// Of a bus that is there.
    pub async fn open(path: &Path) -> Result<Self, JournalError> {
        file::beside(path).await?;
        Ok(Self {
            path: path.to_owned(),
            topology: Topology::new(choreography::steps()),
        })
    }

    async fn hand_out(
        &self,
        sql: &mut SqliteConnection,
        JournalPosition(position): JournalPosition,
        event: &Event,
    ) -> Result<(), JournalError> {
        let message = self.topology.address(event);
        let last_ever: i64 = sqlx::query_scalar(LAST_EVER).fetch_one(&mut *sql).await?;
        if !(1..=last_ever).contains(&position) {
            return Err(JournalError::OtherJournal { position });
        }
        let restore = sqlx::query(RESTORE).bind(position).bind(&message.json);
        restore.execute(&mut *sql).await?;
        let there: Option<String> = sqlx::query_scalar(THERE)
            .bind(position)
            .fetch_one(&mut *sql)
            .await?;
        if there != Some(event.id.to_string()) {
            return Err(JournalError::OtherJournal { position });
        }
        for queue in &message.queues {
            let hand_out = sqlx::query(HAND_OUT).bind(&**queue).bind(position);
            hand_out.execute(&mut *sql).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Journal for EmbeddedJournalFile {
    fn place(&self) -> String {
        format!("the embedded bus in {}", self.path.display())
    }

    async fn end(&self) -> Result<Option<JournalPosition>, JournalError> {
        let end = place::end(&mut file::reader(&self.path).await?).await?;
        Ok(end.map(JournalPosition))
    }

    async fn read(&self, from: JournalStart) -> Result<Box<dyn JournalReader>, JournalError> {
        let reader = EmbeddedJournal::beside(self.path.clone(), from).await?;
        Ok(Box::new(reader))
    }

    async fn resend(&self, messages: &[(JournalPosition, Event)]) -> Result<(), JournalError> {
        let mut connection = file::writer(&self.path).await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        for (position, event) in messages {
            self.hand_out(&mut transaction, *position, event).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn close(&self) {}
}

impl From<sqlx::Error> for JournalError {
    fn from(error: sqlx::Error) -> Self {
        Self::away(error)
    }
}

impl From<BesideError> for JournalError {
    fn from(error: BesideError) -> Self {
        Self::away(error)
    }
}
