//! Progress bars, which are shown on a terminal only, and opened recordings that move them.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use event_replay::recording::{Ending, ReadError, Reader};
use indicatif::{ProgressBar, ProgressBarIter, ProgressStyle};
use saga::failure::chain;

/// A recording that cannot be used, by its file.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
pub(super) struct FileError {
    path: PathBuf,
    source: ReadError,
}

impl FileError {
    pub(super) fn of(path: &Path) -> impl Fn(ReadError) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self {
            path: path.clone(),
            source,
        }
    }
}

pub(super) type OpenRecording = Reader<BufReader<ProgressBarIter<File>>>;

/// Opens a recording and shows how much of it is read.
pub(super) fn open(path: &Path, doing: &'static str) -> Result<OpenRecording, FileError> {
    let opened = || {
        let file = File::open(path)?;
        let bar = bar(file.metadata()?.len(), doing);
        Reader::new(BufReader::with_capacity(BUFFER, bar.wrap_read(file)))
    };
    opened().map_err(FileError::of(path))
}

/// Large enough that a system call for each is nothing beside decoding what it brings.
const BUFFER: usize = 256 * 1024;

/// A bar of so many bytes.
fn bar(bytes: u64, doing: &'static str) -> ProgressBar {
    let template = "{msg} {wide_bar} {bytes}/{total_bytes} {eta}";
    let style = ProgressStyle::with_template(template).expect("the template is right");
    ProgressBar::new(bytes)
        .with_style(style)
        .with_message(doing)
}

/// A bar of messages, whose number is known later.
pub(super) fn message_bar(doing: &'static str) -> ProgressBar {
    let template = "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}";
    let style = ProgressStyle::with_template(template).expect("the template is right");
    ProgressBar::no_length()
        .with_style(style)
        .with_message(doing)
}

/// Says so if a recording is not whole.
pub(super) fn warn_of(path: &Path, ending: &Ending) {
    match ending {
        Ending::Cut { line, problem } => eprintln!(
            "event-replay: {}: line {line} is cut, and the recording ends there: {}",
            path.display(),
            chain(problem)
        ),
        Ending::Open => eprintln!(
            "event-replay: {}: the line that ends a recording is missing: it was stopped early",
            path.display()
        ),
        Ending::Whole(_) => {}
    }
}
