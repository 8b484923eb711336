//! The record of what operators did: who, when, what, why. Append only; each adapter keeps it in a
//! home of its own, and writes an entry before the message leaves its dead-letter queue.

use std::collections::VecDeque;
use std::fmt;

use events::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DeadLetterError, DeadLetters, Parked};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Back to the queue it came from, as if it had never failed.
    Requeue,
    /// Out of the dead-letter queue. The record keeps the message.
    Drop,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Requeue => "requeue",
            Self::Drop => "drop",
        })
    }
}

/// What an operator does to messages, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    pub action: Action,
    pub by: String,
    pub reason: String,
    /// The same for all messages of one command or request.
    run: Uuid,
}

impl Deed {
    pub fn new(action: Action, by: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::of_run(Uuid::now_v7(), action, by, reason)
    }

    /// Of a request that may be sent again and is to be known then.
    pub fn of_run(
        run: Uuid,
        action: Action,
        by: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            action,
            by: by.into(),
            reason: reason.into(),
            run,
        }
    }

    /// By which the record tells its entries from those of others.
    pub fn run(&self) -> Uuid {
        self.run
    }

    pub(crate) fn entry(&self, parked: &Parked) -> Entry {
        let message = matches!(self.action, Action::Drop).then(|| Dropped::of(parked));
        Entry {
            run: self.run,
            at: Timestamp::now(),
            by: self.by.clone(),
            action: self.action,
            reason: self.reason.clone(),
            id: parked.id.clone(),
            queue: parked.queue.clone(),
            failure: parked.failure.clone(),
            attempts: parked.attempts,
            requeued: parked.requeued,
            message,
        }
    }
}

/// What was done to one message. It tells what was begun: if the command was killed in that moment,
/// the message may still be parked, and the next command that takes it is recorded as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub run: Uuid,
    pub at: Timestamp,
    pub by: String,
    pub action: Action,
    pub reason: String,
    pub id: String,
    pub queue: String,
    pub failure: String,
    pub attempts: u32,
    pub requeued: u32,
    /// All of a message that was dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Dropped>,
}

/// The entries that are wanted, oldest first. Keeps no other: the record only ever grows.
pub async fn entries(
    letters: &mut dyn DeadLetters,
    mut wanted: impl FnMut(&Entry) -> bool + Send,
) -> Result<Vec<Entry>, DeadLetterError> {
    let mut entries = Vec::new();
    let mut keep = |entry: Entry| {
        if wanted(&entry) {
            entries.push(entry);
        }
    };
    letters.record(&mut keep).await?;
    Ok(entries)
}

/// How many entries there are, and the last so many, oldest first. Keeps no other.
pub async fn newest(
    letters: &mut dyn DeadLetters,
    limit: usize,
) -> Result<(usize, Vec<Entry>), DeadLetterError> {
    let (mut total, mut newest) = (0, VecDeque::new());
    let mut keep = |entry: Entry| {
        total += 1;
        newest.push_back(entry);
        if newest.len() > limit {
            newest.pop_front();
        }
    };
    letters.record(&mut keep).await?;
    Ok((total, newest.into()))
}

/// A message that is nowhere else any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Its bytes, if they are text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Its bytes in hexadecimal, if they are no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
    pub first_failed_at: Option<Timestamp>,
    pub last_failed_at: Option<Timestamp>,
    pub exchange: Option<String>,
    pub routing_key: Option<String>,
}

impl Dropped {
    fn of(parked: &Parked) -> Self {
        let body = String::from_utf8(parked.body.clone()).ok();
        let hex = || parked.body.iter().map(|byte| format!("{byte:02x}"));
        Self {
            bytes: body.is_none().then(|| hex().collect()),
            body,
            first_failed_at: parked.first_failed_at,
            last_failed_at: parked.last_failed_at,
            exchange: parked.exchange.clone(),
            routing_key: parked.routing_key.clone(),
        }
    }
}

impl Entry {
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers have no failing serializer")
    }
}
