//! Writes a recording as a stream. Without [`Writer::finish`] the file has no last line, which is
//! how a reader knows that it was cut.

use std::collections::HashSet;
use std::io::{self, Write};

use events::{Event, SagaId};
use saga::bus::JournalPosition;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Counts, EndLine, Header, MessageLine};

/// Give it a buffered `Write`.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    counts: Counts,
    /// To count them: sixteen bytes for each saga are all that grows.
    sagas: HashSet<SagaId>,
}

impl<W: Write> Writer<W> {
    pub fn new(to: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self {
            to,
            counts: Counts::default(),
            sagas: HashSet::new(),
        };
        writer.line(header)?;
        Ok(writer)
    }

    /// The next message of the journal.
    pub fn message(&mut self, position: JournalPosition, event: &Event) -> io::Result<()> {
        let json = String::from_utf8(event.to_json()).map_err(io::Error::other)?;
        let line = MessageLine {
            position: position.0,
            event: RawValue::from_string(json)?,
        };
        self.line(&line)?;
        self.counts.add(event);
        if self.sagas.insert(event.saga_id) {
            self.counts.sagas += 1;
        }
        Ok(())
    }

    /// What was written so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Says that the recording is whole, and hands back what was written to, flushed.
    pub fn finish(mut self) -> io::Result<(W, Counts)> {
        let counts = std::mem::take(&mut self.counts);
        self.line(&EndLine { end: &counts })?;
        self.to.flush()?;
        Ok((self.to, counts))
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.to, line)?;
        self.to.write_all(b"\n")
    }
}
