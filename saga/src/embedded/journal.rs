//! Reads the journal over a connection of its own. In the process of the bus it is woken by each
//! commit; beside it, it looks.

use std::path::PathBuf;

use async_trait::async_trait;
use events::Event;
use sqlx::SqliteConnection;
use tokio::sync::watch;
use tracing::{error, warn};

use super::retention::{Bookmark, Readers};
use super::storage::signed;
use super::{file, place};
use crate::bus::{JournalPage, JournalPosition, JournalReader, JournalStart};
use crate::failure::chain;
use crate::retry::Backoff;

pub(super) struct EmbeddedJournal {
    path: PathBuf,
    connection: Option<SqliteConnection>,
    /// The position of the last event that is committed; none beside the system, where nobody tells
    /// and the file is looked at again and again.
    end: Option<watch::Receiver<i64>>,
    /// The position of the last event that was read.
    position: i64,
    /// Where retention sees this reader.
    bookmark: Option<Bookmark>,
}

#[async_trait]
impl JournalReader for EmbeddedJournal {
    async fn read(&mut self, max: usize) -> JournalPage {
        let mut backoff = Backoff::new();
        loop {
            self.wait_for_more().await;
            match self.page(max.max(1)).await {
                Ok(page) if !page.entries.is_empty() => return page,
                // Nobody tells the end, or an engine did that has lost its disk since.
                Ok(_) => {}
                Err(error) => {
                    warn!(error = chain(&error), "the journal cannot be read");
                    self.connection = None;
                }
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    fn keep_after(&mut self, position: JournalPosition) {
        if let Some(bookmark) = &self.bookmark {
            bookmark.move_to(position.0);
        }
    }
}

impl EmbeddedJournal {
    /// A reader in the process of the bus.
    pub(super) async fn follow(
        path: PathBuf,
        end: watch::Receiver<i64>,
        from: JournalStart,
        readers: &Readers,
    ) -> Result<Self, sqlx::Error> {
        let last = *end.borrow();
        let mut journal = Self::open(path, from, last).await?;
        journal.bookmark = Some(readers.add(journal.position));
        journal.end = Some(end);
        Ok(journal)
    }

    /// A reader beside the process of the bus, or without one.
    pub(super) async fn beside(path: PathBuf, from: JournalStart) -> Result<Self, sqlx::Error> {
        let mut connection = file::reader(&path).await?;
        let last = place::end(&mut connection).await?;
        Self::open(path, from, last.unwrap_or(0)).await
    }

    async fn open(path: PathBuf, from: JournalStart, last: i64) -> Result<Self, sqlx::Error> {
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
            JournalStart::Time(at) => {
                let found = place::at(&mut file::reader(&path).await?, at).await?;
                found.map_or(0, |found| found - 1)
            }
            JournalStart::Last => last.saturating_sub(1),
        };
        Ok(Self {
            path,
            connection: None,
            end: None,
            position,
            bookmark: None,
        })
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
            positions: rows
                .iter()
                .map(|(position, _)| JournalPosition(*position))
                .collect(),
            position: JournalPosition(self.position),
        })
    }
}
