//! Reads the journal over a connection of its own, woken by each commit or, in another process,
//! looking again and again.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use events::Event;
use sqlx::SqliteConnection;
use tokio::sync::watch;
use tracing::{error, warn};

use super::file;
use super::storage::signed;
use crate::bus::{JournalPage, JournalPosition, JournalReader, JournalStart};
use crate::failure::chain;
use crate::retry::Backoff;

pub(super) struct EmbeddedJournal {
    path: PathBuf,
    connection: Option<SqliteConnection>,
    /// The position of the last event that is committed; another process is not told.
    end: Option<watch::Receiver<i64>>,
    /// The position of the last event that was read.
    position: i64,
}

/// Reads the journal of the bus in this file from its first event on, whether or not a system runs
/// on it. An error says that there is none.
pub async fn read_journal_beside(path: &Path) -> Result<Box<dyn JournalReader>, sqlx::Error> {
    let connection = file::reader(path).await?;
    Ok(Box::new(EmbeddedJournal {
        path: path.to_owned(),
        connection: Some(connection),
        end: None,
        position: 0,
    }))
}

#[async_trait]
impl JournalReader for EmbeddedJournal {
    async fn read(&mut self, max: usize) -> JournalPage {
        let mut backoff = Backoff::new();
        loop {
            self.wait_for_more().await;
            match self.page(max.max(1)).await {
                Ok(page) if !page.entries.is_empty() => return page,
                // Nobody tells the end, or it was told by an engine that has lost its disk since.
                Ok(_) => {}
                Err(error) => {
                    warn!(error = chain(&error), "the journal cannot be read");
                    self.connection = None;
                }
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }
}

impl EmbeddedJournal {
    pub(super) fn new(path: PathBuf, end: watch::Receiver<i64>, from: JournalStart) -> Self {
        let last = *end.borrow();
        let position = match from {
            JournalStart::First => 0,
            JournalStart::After(JournalPosition(read)) if read > last => {
                error!(
                    read,
                    last,
                    "the journal ends before the position to go on from, so it was made anew; \
                     it is read from its start"
                );
                0
            }
            JournalStart::After(JournalPosition(read)) => read,
        };
        Self {
            path,
            connection: None,
            end: Some(end),
            position,
        }
    }

    async fn wait_for_more(&mut self) {
        let position = self.position;
        let Some(end) = &mut self.end else {
            return;
        };
        if end.wait_for(|end| *end > position).await.is_err() {
            // The bus is closed. Nothing comes any more, and whoever waits is about to be stopped.
            std::future::pending::<()>().await;
        }
    }

    async fn page(&mut self, max: usize) -> Result<JournalPage, sqlx::Error> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(file::reader(&self.path).await?),
        };
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT position, event FROM journal WHERE position > ?1 ORDER BY position LIMIT ?2",
        )
        .bind(self.position)
        .bind(signed(max))
        .fetch_all(connection)
        .await?;
        if let Some((found, _)) = rows.first()
            && self.position > 0
            && *found > self.position + 1
        {
            error!(
                expected = self.position + 1,
                found,
                "the journal no longer has what was to be read next; it is missing from here on"
            );
        }
        self.position = rows.last().map_or(self.position, |(position, _)| *position);
        Ok(JournalPage {
            entries: rows
                .iter()
                .map(|(_, json)| Event::from_json(json))
                .collect(),
            position: JournalPosition(self.position),
        })
    }
}
