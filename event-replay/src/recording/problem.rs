//! Why a recording cannot be read: always with the line, and with the field where there is one.

use std::io;

use events::DecodeError;

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot be read")]
    Io(#[from] io::Error),
    #[error("line 1 is no header of a recording")]
    Header(#[source] serde_json::Error),
    #[error(
        "is a recording of format {found}, and this build reads {}",
        super::FORMAT
    )]
    Format { found: u32 },
    #[error("line {line}")]
    Line {
        line: u64,
        #[source]
        problem: LineProblem,
    },
    #[error("line {line} says that there are {said} messages, but there are {found}")]
    Miscounted { line: u64, said: u64, found: u64 },
    #[error("line {line} comes after the line that ends the recording")]
    AfterTheEnd { line: u64 },
    #[error("was changed while it was read, at byte {offset}")]
    Changed {
        offset: u64,
        #[source]
        problem: LineProblem,
    },
}

/// What is wrong with one line.
#[derive(Debug, thiserror::Error)]
pub enum LineProblem {
    #[error("is no JSON object with `position` and `event`, nor one with `end`")]
    NoMessage(#[source] serde_json::Error),
    #[error("lacks the field `{field}`")]
    Lacks { field: &'static str },
    #[error("the event is wrong at or behind field `{field}`")]
    Envelope {
        field: String,
        #[source]
        problem: serde_json::Error,
    },
    #[error("the event cannot be understood")]
    Event(#[source] DecodeError),
}

impl LineProblem {
    /// A missing field is named by the problem itself, and so is one of the data.
    pub(super) fn of(json: &str, problem: DecodeError) -> Self {
        match problem {
            DecodeError::Envelope(problem) => match field_before(json, problem.column()) {
                Some(field) => Self::Envelope { field, problem },
                None => Self::NoMessage(problem),
            },
            other => Self::Event(other),
        }
    }
}

/// The name of the field whose value the column is in or behind.
fn field_before(json: &str, column: usize) -> Option<String> {
    let (before, _) = json.split_at_checked(column)?;
    let (before, _) = before.rsplit_once("\":")?;
    let (_, field) = before.rsplit_once('"')?;
    Some(field.to_owned())
}
