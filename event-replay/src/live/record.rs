//! From the journal into a file, which has its name only when it is whole.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use events::Event;
use saga::bus::JournalPosition;
use saga::journal::Journal;

use super::{Selection, Stand, SweepError, sweep};
use crate::recording::{Counts, Header, Writer};

/// Large enough that a system call for each is nothing beside encoding what it takes.
const BUFFER: usize = 256 * 1024;

/// What was recorded.
#[derive(Debug)]
pub struct Recorded {
    pub counts: Counts,
    pub bytes: u64,
    /// Entries of the journal that are no message this build reads. They are not in the recording.
    pub unreadable: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Sweep(#[from] SweepError),
    #[error("{path} cannot be written")]
    File { path: PathBuf, source: io::Error },
}

/// Records the selected messages that are in the journal by now. Until all are written the file has
/// `.part` behind its name.
pub async fn record(
    journal: &dyn Journal,
    selection: &Selection,
    header: &Header,
    path: &Path,
    watch: &dyn Fn(Stand),
) -> Result<Recorded, RecordError> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let failed = |source| RecordError::File {
        path: part.clone(),
        source,
    };
    let file = File::create(&part).map_err(failed)?;
    let to = BufWriter::with_capacity(BUFFER, file);
    let mut writer = Writer::new(to, header).map_err(failed)?;
    let mut written = Ok(());
    let mut write = |position: JournalPosition, event: Event| {
        if selection.has(&event) {
            written = writer.message(position, &event);
        }
        written.is_ok()
    };
    let unreadable = sweep(journal, selection.start(), watch, &mut write).await?;
    written.map_err(failed)?;
    let (to, counts) = writer.finish().map_err(failed)?;
    let file = to
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    fs::rename(&part, path).map_err(failed)?;
    Ok(Recorded {
        counts,
        bytes,
        unreadable,
    })
}
