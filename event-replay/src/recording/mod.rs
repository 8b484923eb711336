//! A recording: messages of the journal in a file that a person can read.
//!
//! JSON, one object a line. The first line is the [`Header`]; then one line for each message, in
//! the order of the journal: its position there, and the CloudEvent as the journal has it; the last
//! line says that the recording is whole, and counts what is in it ([`Counts`]). It is last because
//! a journal is read as a stream. A file without it was cut, and everything before the cut can be
//! used.

mod problem;
mod reader;
mod writer;

use std::collections::BTreeMap;

use events::{Event, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use problem::{LineProblem, ReadError};
pub use reader::{Ending, Entry, Reader, decode_line};
pub use writer::Writer;

/// The version of this format that is written. One that a newer build wrote is refused.
pub const FORMAT: u32 = 1;

/// What a recording is of. The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "the header as a JSON object")]
pub struct Header {
    /// The version of the format; the name makes the file known as a recording.
    pub recording: u32,
    /// Whose journal it is, for a person. No passwords.
    pub source: String,
    pub recorded_at: Timestamp,
    /// How the messages were chosen, as the flags that chose them; absent: all of the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<String>,
}

impl Header {
    /// Of all messages of this journal, as of now.
    pub fn of(source: &str) -> Self {
        Self {
            recording: FORMAT,
            source: source.to_owned(),
            recorded_at: Timestamp::now(),
            selection: None,
        }
    }
}

/// What is in a recording. The last line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "the counts as a JSON object")]
pub struct Counts {
    pub messages: u64,
    pub sagas: u64,
    /// By the name of the message.
    pub types: BTreeMap<String, u64>,
}

/// A line that is a message.
#[derive(Serialize, Deserialize)]
struct MessageLine<E> {
    position: i64,
    event: E,
}

/// A line behind the header: what is absent tells which of the two it is.
#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct AnyLine<'a> {
    #[serde(default)]
    position: Option<i64>,
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
    #[serde(default)]
    end: Option<Counts>,
}

#[derive(Serialize)]
struct EndLine<'a> {
    end: &'a Counts,
}

impl Counts {
    fn add(&mut self, event: &Event) {
        self.messages += 1;
        let name = event.message_type().name();
        match self.types.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                self.types.insert(name.to_owned(), 1);
            }
        }
    }
}
