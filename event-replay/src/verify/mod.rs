//! Replays a recording: fresh participants on empty databases in memory take the recorded commands,
//! and what they answer and the state they reach is compared with the recording.
//!
//! **What is compared**: of every answer, every field of envelope and data; of every saga, how it
//! ended; of every ticket, the rows that the participants keep and what the messages say that they
//! should be ([`books`]). A step is replayed at the recorded time of its answer, so that what was late
//! is late again, and an id that it mints is the recorded one.
//!
//! **What may differ**: nothing in recorded order. In any other order, sagas that may influence one
//! another may come out otherwise, if what they say is justified by what the others said; all other
//! sagas may not. With [`Options::keeps_arbitration`] nothing may differ.

mod books;
mod cast;
mod compare;
mod groups;
mod index;
mod judge;
mod order;
mod replay;
mod report;
mod under_way;

use std::io::{Read, Seek};

use events::SagaId;

use crate::recording::{Ending, Header, ReadError};

pub use cast::Cast;
pub use report::{End, Finding, Report, SagaDifference};

/// In which order the sagas are replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Every participant decides in the order in which it decided.
    #[default]
    Recorded,
    /// The last saga first, overlapping.
    Reversed,
    /// At random, overlapping.
    Shuffled,
}

#[derive(Clone, Debug, Default)]
pub struct Options {
    pub order: Order,
    /// In another order, sagas that may influence one another stay in the recorded one among
    /// themselves.
    pub keeps_arbitration: bool,
    /// How likely each event is handed to its participant once more, later.
    pub duplicate: f64,
    /// How likely a participant dies between its commit and its answer, at each event.
    pub crash: f64,
    pub seed: u64,
    /// Only this saga, and those that may influence it.
    pub saga: Option<SagaId>,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A message was read, of a number that is not known yet.
    Read,
    /// A message was replayed or compared, of so many.
    Replayed { of: u64 },
}

/// What a recording is, and what came of its replay.
#[derive(Debug)]
pub struct Verified {
    pub header: Header,
    pub ending: Ending,
    pub report: Report,
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("has no saga {0}")]
    NoSaga(SagaId),
}

/// Replays a recording with these participants.
pub async fn verify<R: Read + Seek>(
    mut recording: R,
    cast: Cast,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verified, VerifyError> {
    let index = index::Index::of(&mut recording, &mut |_| progress(Progress::Read))?;
    let chosen = match options.saga {
        None => None,
        Some(id) => {
            let known = index.sagas.iter().position(|known| *known == id);
            Some(index::number(known.ok_or(VerifyError::NoSaga(id))?))
        }
    };
    let pages = index::Pages::new(recording)?;
    let replay = replay::Replay::new(&index, pages, cast, options, chosen);
    let report = replay.run(progress).await?;
    let index::Index { header, ending, .. } = index;
    Ok(Verified {
        header,
        ending,
        report,
    })
}
