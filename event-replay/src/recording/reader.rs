//! Reads a recording line by line, so that its size does not matter.
//!
//! A last line that is cut (no line break, and no message) ends the recording; any other line that
//! is none of ours is an error.

use std::io::BufRead;

use events::Event;
use saga::bus::JournalPosition;

use super::{AnyLine, Counts, FORMAT, Header, LineProblem, ReadError};

/// One message of a recording.
#[derive(Debug)]
pub struct Entry {
    /// Counted from one, as editors do.
    pub line: u64,
    /// Where the line begins in the file, in bytes.
    pub offset: u64,
    pub position: JournalPosition,
    pub event: Event,
}

/// How a recording ends.
#[derive(Debug)]
pub enum Ending {
    /// With the line that counts what is in it.
    Whole(Counts),
    /// Without it: who recorded was stopped.
    Open,
    /// In the middle of a line.
    Cut { line: u64, problem: LineProblem },
}

/// Reads the header at once and the messages on demand.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    header: Header,
    buffer: Vec<u8>,
    /// Of the last line that was read.
    line: u64,
    /// Of the next line.
    offset: u64,
    counts: Counts,
    ending: Option<Ending>,
}

/// What a line behind the header is.
enum Line {
    Message(JournalPosition, Box<Event>),
    End(Counts),
}

impl<R: BufRead> Reader<R> {
    pub fn new(from: R) -> Result<Self, ReadError> {
        let header = Header::of("");
        let mut reader = Self {
            from,
            header,
            buffer: Vec::new(),
            line: 0,
            offset: 0,
            counts: Counts::default(),
            ending: None,
        };
        reader.read_line()?;
        let known: Format = serde_json::from_slice(&reader.buffer).map_err(ReadError::Header)?;
        if known.recording != FORMAT {
            return Err(ReadError::Format {
                found: known.recording,
            });
        }
        reader.header = serde_json::from_slice(&reader.buffer).map_err(ReadError::Header)?;
        Ok(reader)
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How the recording ends; of what is read so far, if it is not read to its end.
    pub fn into_ending(self) -> Ending {
        self.ending.unwrap_or(Ending::Open)
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, ReadError> {
        let offset = self.offset;
        if !self.read_line()? {
            self.ending.get_or_insert(Ending::Open);
            return Ok(None);
        }
        if self.ending.is_some() {
            return Err(ReadError::AfterTheEnd { line: self.line });
        }
        match parse(&self.buffer) {
            Ok(Line::Message(position, event)) => {
                self.counts.add(&event);
                Ok(Some(Entry {
                    line: self.line,
                    offset,
                    position,
                    event: *event,
                }))
            }
            Ok(Line::End(counts)) => self.end(counts),
            Err(problem) if self.buffer.ends_with(b"\n") => Err(ReadError::Line {
                line: self.line,
                problem,
            }),
            Err(problem) => {
                let line = self.line;
                self.ending = Some(Ending::Cut { line, problem });
                Ok(None)
            }
        }
    }

    /// Looks whether something comes after it.
    fn end(&mut self, counts: Counts) -> Result<Option<Entry>, ReadError> {
        let (line, said, found) = (self.line, counts.messages, self.counts.messages);
        if said != found {
            return Err(ReadError::Miscounted { line, said, found });
        }
        self.ending = Some(Ending::Whole(counts));
        self.next_entry()
    }

    fn read_line(&mut self) -> Result<bool, ReadError> {
        self.buffer.clear();
        let read = self.from.read_until(b'\n', &mut self.buffer)?;
        self.offset += read as u64;
        self.line += u64::from(read > 0);
        Ok(read > 0)
    }
}

/// Ends after the first error.
impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().transpose()
    }
}

/// The message of one line, wherever the line was read.
pub fn decode_line(line: &[u8]) -> Result<Event, LineProblem> {
    match parse(line)? {
        Line::Message(_, event) => Ok(*event),
        Line::End(_) => Err(LineProblem::Lacks { field: "event" }),
    }
}

fn parse(line: &[u8]) -> Result<Line, LineProblem> {
    let line: AnyLine<'_> = serde_json::from_slice(line).map_err(LineProblem::NoMessage)?;
    if let Some(counts) = line.end {
        return Ok(Line::End(counts));
    }
    let lacks = |field| LineProblem::Lacks { field };
    let position = line.position.ok_or(lacks("position"))?;
    let json = line.event.ok_or(lacks("event"))?.get();
    let event =
        Event::from_json(json.as_bytes()).map_err(|problem| LineProblem::of(json, problem))?;
    Ok(Line::Message(JournalPosition(position), Box::new(event)))
}

/// What every version of the header has.
#[derive(serde::Deserialize)]
#[serde(expecting = "a JSON object with `recording`")]
struct Format {
    recording: u32,
}
