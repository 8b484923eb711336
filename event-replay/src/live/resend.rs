//! Hands messages out again on a live bus, no more of them in a second than is wished.

use std::time::Duration;

use events::choreography::{Step, steps};
use events::{Event, EventId};
use saga::bus::JournalPosition;
use saga::journal::{Journal, JournalError};

use super::Overdue;

/// A message that is to be handed out again, and who reacts to it.
#[derive(Clone, Debug)]
pub struct Resend {
    pub position: JournalPosition,
    pub message: Event,
    pub step: &'static Step,
}

impl From<Overdue> for Resend {
    fn from(overdue: Overdue) -> Self {
        Self {
            position: overdue.position,
            message: overdue.message,
            step: overdue.step,
        }
    }
}

/// Those of the messages that some step reacts to, each once. To the end of a saga nobody reacts: the
/// gateway that waited for it has it, or its ledger has it from the journal.
pub fn sendable(messages: impl IntoIterator<Item = (JournalPosition, Event)>) -> Vec<Resend> {
    let mut sendable: Vec<Resend> = Vec::new();
    for (position, message) in messages {
        let is_known = |id: EventId| sendable.iter().any(|known| known.message.id == id);
        let step = steps().find(|step| step.on == message.message_type());
        if let Some(step) = step
            && !is_known(message.id)
        {
            sendable.push(Resend {
                position,
                message,
                step,
            });
        }
    }
    sendable
}

/// Messages a second, from one on.
#[derive(Clone, Copy, Debug)]
pub struct Rate(pub u32);

/// So many handfuls a second, so that a high rate is kept with short pauses.
const HANDFULS: u32 = 10;

/// Sends them in this order, and tells after each handful how many are stored by now. After an error
/// those are, and sending all of them again is safe.
pub async fn resend(
    journal: &dyn Journal,
    messages: &[Resend],
    Rate(rate): Rate,
    sent: &dyn Fn(usize),
) -> Result<(), JournalError> {
    let handful = usize::try_from(rate.div_ceil(HANDFULS).max(1)).unwrap_or(1);
    let pause = Duration::from_secs_f64(handful as f64 / f64::from(rate.max(1)));
    let mut next = tokio::time::interval(pause);
    let mut count = 0;
    for handful in messages.chunks(handful) {
        next.tick().await;
        let pairs = handful
            .iter()
            .map(|one| (one.position, one.message.clone()));
        journal.resend(&pairs.collect::<Vec<_>>()).await?;
        count += handful.len();
        sent(count);
    }
    Ok(())
}
