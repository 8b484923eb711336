//! A saga while it is replayed, and what was found about it so far.

use events::{Event, MessageType, Reason, UserTicketId};
use saga::failure::{Failure, chain};
use serde_json::{Value, json};

use super::Finding;
use super::compare::{Difference, differences};

#[derive(Debug, Default)]
pub(super) struct UnderWay {
    /// Events that are to be handed to a participant when their turn comes.
    pub(super) waiting: Vec<Event>,
    /// Recorded decisions that were not made yet.
    pub(super) left: usize,
    /// Events that are to be handed again.
    pub(super) again: usize,
    /// What was published.
    pub(super) said: Types,
    /// What was handed to a participant.
    pub(super) asked: Types,
    /// What was not there when its turn came.
    pub(super) unreached: Types,
    pub(super) reason: Option<Reason>,
    pub(super) tickets: Vec<UserTicketId>,
    pub(super) findings: Vec<Finding>,
}

/// A set of message types.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Types(u64);

impl Types {
    pub(super) fn add(&mut self, message: MessageType) {
        self.0 |= 1 << message as u32;
    }

    pub(super) fn has(self, message: MessageType) -> bool {
        self.0 & (1 << message as u32) != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl UnderWay {
    /// Of a saga that was over before this was found.
    pub(super) fn with(findings: Vec<Finding>) -> Self {
        Self {
            findings,
            ..Self::default()
        }
    }

    /// The event that waits for the step on this message, if it was published by a participant.
    pub(super) fn take(&mut self, on: MessageType) -> Option<Event> {
        let mut waiting = self.waiting.iter();
        let at = waiting.position(|event| event.message_type() == on)?;
        Some(self.waiting.swap_remove(at))
    }

    /// Holds an answer against all that was recorded of it.
    pub(super) fn compare(
        &mut self,
        at: &str,
        recorded: &[Event],
        answer: &Event,
        is_started_once: bool,
    ) {
        if recorded.is_empty() {
            let published = Difference {
                field: "message".to_owned(),
                recorded: Value::Null,
                replayed: json!("published"),
            };
            self.find(at, answer, published, false);
        }
        for (copy, recorded) in recorded.iter().enumerate() {
            let at = match copy {
                0 => at,
                _ => &format!("{at}, published again"),
            };
            for different in differences(recorded, answer, is_started_once && copy == 0) {
                self.find(at, recorded, different, false);
            }
        }
    }

    /// The same again, to the letter, is the one promise.
    pub(super) fn compare_again(&mut self, at: &str, first: &Event, second: &Event) {
        for different in differences(first, second, true) {
            self.find(at, first, different, true);
        }
    }

    pub(super) fn failed(&mut self, at: String, recorded: Option<&Event>, failure: &Failure) {
        let expected = recorded.map(|event| event.message_type().to_string());
        self.findings.push(Finding {
            at,
            message: expected.clone().unwrap_or_default(),
            field: "answer".to_owned(),
            recorded: json!(expected),
            replayed: json!(chain(failure)),
            in_any_order: true,
        });
    }

    fn find(&mut self, at: &str, message: &Event, different: Difference, in_any_order: bool) {
        self.findings.push(Finding {
            at: at.to_owned(),
            message: message.message_type().to_string(),
            field: different.field,
            recorded: different.recorded,
            replayed: different.replayed,
            in_any_order,
        });
    }
}
