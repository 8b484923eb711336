//! The journal for who works beside the running system: read it, and hand messages of it out again.
//! Adapters: [`crate::rabbitmq::RabbitMqJournal`] and [`crate::embedded::EmbeddedJournalFile`].
//!
//! A message is handed out again *past* the journal, which has it: it goes to the queues of the steps
//! that react to it, to the letter and with its own id, so that whoever handled it before repeats
//! what it said then.

use async_trait::async_trait;
use events::Event;

use crate::bus::{JournalPosition, JournalReader, JournalStart};

/// The journal of one system.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Where it is, for a person. No passwords.
    fn place(&self) -> String;

    /// The position of the last entry by now; none if it is empty.
    async fn end(&self) -> Result<Option<JournalPosition>, JournalError>;

    async fn read(&self, from: JournalStart) -> Result<Box<dyn JournalReader>, JournalError>;

    /// Hands messages of this journal out again, and returns once their queues have stored them.
    async fn resend(&self, messages: &[(JournalPosition, Event)]) -> Result<(), JournalError>;

    /// Says goodbye.
    async fn close(&self);
}

/// The journal is not, or not wholly, read, or not all of the messages are known to be stored. Doing
/// it again is safe.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("the journal cannot be reached")]
    Away(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("there is no journal {what}; is the system of this namespace there?")]
    NoJournal { what: String },
    #[error("at {position} this journal has another message; the recording is of another system")]
    OtherJournal { position: i64 },
}

impl JournalError {
    pub(crate) fn away(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Away(source.into())
    }
}
