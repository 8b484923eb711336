//! The messages of one saga, from a recording or from the live journal.

use std::path::Path;

use event_replay::live::{Selection, sweep};
use events::{Event, SagaId};
use saga::bus::JournalPosition;
use saga::journal::Journal;

use super::place::{journal_bar, watch};
use super::progress::{FileError, open, warn_of};

pub(super) type Found = Vec<(JournalPosition, Event)>;

#[derive(Debug, thiserror::Error)]
#[error("{place} has no message of the saga {saga}")]
pub(super) struct NoSuchSaga {
    saga: SagaId,
    place: String,
}

pub(super) fn in_file(saga: SagaId, file: &Path) -> Result<Found, Box<dyn std::error::Error>> {
    let mut recording = open(file, "reading")?;
    let mut found = Vec::new();
    for entry in &mut recording {
        let entry = entry.map_err(FileError::of(file))?;
        if entry.event.saga_id == saga {
            found.push((entry.position, entry.event));
        }
    }
    warn_of(file, &recording.into_ending());
    some(saga, found, || Path::display(file).to_string())
}

pub(super) async fn in_journal(
    saga: SagaId,
    journal: &dyn Journal,
) -> Result<Found, Box<dyn std::error::Error>> {
    let selection = Selection {
        saga: Some(saga),
        ..Selection::default()
    };
    let (bar, mut found) = (journal_bar("reading"), Vec::new());
    let mut keep = |position, event| {
        if selection.has(&event) {
            found.push((position, event));
        }
        true
    };
    sweep(journal, selection.start(), &watch(&bar), &mut keep).await?;
    bar.finish_and_clear();
    some(saga, found, || journal.place())
}

fn some(
    saga: SagaId,
    found: Found,
    place: impl FnOnce() -> String,
) -> Result<Found, Box<dyn std::error::Error>> {
    match found.is_empty() {
        false => Ok(found),
        true => Err(NoSuchSaga {
            saga,
            place: place(),
        }
        .into()),
    }
}
