//! Where each message of a recording is: what is kept in memory of all of them. The messages
//! themselves stay in the file and are read when their turn comes.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use events::choreography::{self, Saga, Step};
use events::{Event, MessageType, SagaId};

use super::groups::Groups;
use crate::recording::{Ending, Header, ReadError, Reader, decode_line};

/// Of one message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recorded {
    /// Of its line in the file; also its place in the order of the journal.
    pub(super) offset: u64,
    /// When it was decided, in microseconds.
    pub(super) time: i64,
    pub(super) saga: u32,
    pub(super) message_type: MessageType,
}

#[derive(Debug)]
pub(super) struct Index {
    pub(super) header: Header,
    pub(super) ending: Ending,
    pub(super) sagas: Vec<SagaId>,
    /// By saga, and within a saga in the order of the journal.
    pub(super) messages: Vec<Recorded>,
    /// Where each saga's messages begin, and at last where they end.
    starts: Vec<u32>,
    pub(super) groups: Groups,
    /// The step that answers with a message, by the message's place in the list of all.
    answers: Vec<Option<&'static Step>>,
    kinds: Vec<Option<&'static Saga>>,
}

/// A message and little more: what is read next may be anywhere in the file, and the rest of the
/// buffer is read for nothing.
const BUFFER: usize = 1024;
/// A large one for reading all of it.
const STREAM_BUFFER: usize = 256 * 1024;

impl Index {
    /// Reads all of the recording.
    pub(super) fn of<R: Read + Seek>(
        from: &mut R,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, ReadError> {
        from.seek(SeekFrom::Start(0))?;
        let mut reader = Reader::new(BufReader::with_capacity(STREAM_BUFFER, from))?;
        let (mut sagas, mut messages) = (Vec::new(), Vec::new());
        let mut known = HashMap::new();
        let mut groups = Groups::default();
        for entry in &mut reader {
            let entry = entry?;
            let event = &entry.event;
            let saga = *known.entry(event.saga_id).or_insert_with(|| {
                sagas.push(event.saga_id);
                number(sagas.len() - 1)
            });
            groups.add(saga, event);
            messages.push(Recorded {
                offset: entry.offset,
                time: event.time.as_micros(),
                saga,
                message_type: event.message_type(),
            });
            progress(1);
        }
        let header = reader.header().clone();
        messages.sort_by_key(|message| message.saga);
        groups.close(number(sagas.len()));
        let mut index = Self {
            header,
            ending: reader.into_ending(),
            starts: starts(&messages, sagas.len()),
            sagas,
            messages,
            groups,
            answers: by_type(|answer| {
                choreography::steps().find(|step| step.outputs().any(|output| output == answer))
            }),
            kinds: by_type(choreography::saga_of),
        };
        index.messages.shrink_to_fit();
        Ok(index)
    }

    /// The messages of a saga in the order of the journal, copies included.
    pub(super) fn of_saga(&self, saga: u32) -> &[Recorded] {
        let saga = saga as usize;
        &self.messages[self.starts[saga] as usize..self.starts[saga + 1] as usize]
    }

    /// Every copy of this message of the saga.
    pub(super) fn copies(
        &self,
        saga: u32,
        message_type: MessageType,
    ) -> impl Iterator<Item = Recorded> {
        let own = self.of_saga(saga).iter().copied();
        own.filter(move |message| message.message_type == message_type)
    }

    pub(super) fn has(&self, saga: u32, message_type: MessageType) -> bool {
        self.copies(saga, message_type).next().is_some()
    }

    /// Every answer of this step in the saga.
    pub(super) fn answers(&self, saga: u32, step: &'static Step) -> impl Iterator<Item = Recorded> {
        let own = self.of_saga(saga).iter().copied();
        own.filter(|message| step.outputs().any(|output| output == message.message_type))
    }

    /// Where in [`Self::messages`] the decisions of a saga are: the first answer of each step.
    pub(super) fn decisions(&self, saga: u32) -> Vec<u32> {
        let first = self.starts[saga as usize];
        let mut steps = Vec::new();
        let mut decisions = Vec::new();
        for (number, message) in (first..).zip(self.of_saga(saga)) {
            if let Some(step) = self.answered_step(message.message_type)
                && !steps.contains(&step.on)
            {
                steps.push(step.on);
                decisions.push(number);
            }
        }
        decisions
    }

    /// The step that answers with this message.
    pub(super) fn answered_step(&self, answer: MessageType) -> Option<&'static Step> {
        self.answers[answer as usize]
    }

    pub(super) fn kind(&self, saga: u32) -> Option<&'static Saga> {
        self.kinds[self.of_saga(saga).first()?.message_type as usize]
    }

    /// Whether it can be replayed: its command is recorded.
    pub(super) fn has_command(&self, saga: u32) -> bool {
        self.kind(saga)
            .is_some_and(|kind| self.has(saga, kind.start))
    }

    /// The message that ended the saga in the recording.
    pub(super) fn end(&self, saga: u32) -> Option<MessageType> {
        let kind = self.kind(saga)?;
        let mut ends = kind.ends.iter().map(|end| end.on);
        ends.find(|end| self.has(saga, *end))
    }
}

fn by_type<T>(of: impl Fn(MessageType) -> Option<T>) -> Vec<Option<T>> {
    MessageType::ALL.iter().map(|known| of(*known)).collect()
}

fn starts(messages: &[Recorded], sagas: usize) -> Vec<u32> {
    let mut starts = vec![0; sagas + 1];
    for message in messages {
        starts[message.saga as usize + 1] += 1;
    }
    for saga in 0..sagas {
        starts[saga + 1] += starts[saga];
    }
    starts
}

/// A place in a list as it is kept. Four thousand million messages are more than a file has.
pub(super) fn number(place: usize) -> u32 {
    u32::try_from(place).expect("a recording has less messages than that")
}

/// Reads single messages of a recording.
pub(super) struct Pages<R> {
    from: BufReader<R>,
    at: u64,
    line: Vec<u8>,
}

impl<R: Read + Seek> Pages<R> {
    pub(super) fn new(mut from: R) -> Result<Self, ReadError> {
        from.seek(SeekFrom::Start(0))?;
        Ok(Self {
            from: BufReader::with_capacity(BUFFER, from),
            at: 0,
            line: Vec::new(),
        })
    }

    /// The event of a line that was read before.
    pub(super) fn read(&mut self, recorded: Recorded) -> Result<Event, ReadError> {
        let distance = recorded.offset.wrapping_sub(self.at).cast_signed();
        self.from.seek_relative(distance)?;
        self.line.clear();
        let read = self.from.read_until(b'\n', &mut self.line)?;
        self.at = recorded.offset + read as u64;
        decode_line(&self.line).map_err(|problem| ReadError::Changed {
            offset: recorded.offset,
            problem,
        })
    }
}
