//! Finds the sagas whose step has not answered in its time, and the message that it waits for.
//!
//! The journal is read twice, so that memory grows with the sagas that have not ended and not with
//! all of them: first to find those that may not have ended (a message that came again after the end
//! of its saga looks like one), then to gather all that is known of these.

use std::collections::{HashMap, HashSet};

use events::choreography::{Step, may_end_a_saga, saga_of};
use events::progress::Progress;
use events::{Event, MessageType, SagaId, Timestamp};
use saga::bus::{JournalPosition, JournalStart};
use saga::journal::Journal;

use super::{Stand, SweepError, sweep};

/// A saga that waits for longer than the table allows.
#[derive(Debug)]
pub struct Overdue {
    pub step: &'static Step,
    pub position: JournalPosition,
    /// What the step has not answered.
    pub message: Event,
}

/// The overdue sagas of the journal, the longest overdue first.
pub async fn find_overdue(
    journal: &dyn Journal,
    now: Timestamp,
    watch: &dyn Fn(Stand),
) -> Result<Vec<Overdue>, SweepError> {
    let mut open = HashSet::new();
    sweep(journal, JournalStart::First, watch, &mut |_, event| {
        match may_end_a_saga(event.message_type()) {
            true => open.remove(&event.saga_id),
            false => open.insert(event.saga_id),
        };
        true
    })
    .await?;
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let mut known: HashMap<SagaId, Known> = HashMap::new();
    sweep(
        journal,
        JournalStart::First,
        watch,
        &mut |position, event| {
            if open.contains(&event.saga_id) {
                known.entry(event.saga_id).or_default().add(position, event);
            }
            true
        },
    )
    .await?;
    let known = known.into_values();
    let mut overdue: Vec<_> = known.filter_map(|known| known.overdue(now)).collect();
    overdue.sort_by_key(|overdue| overdue.message.time);
    Ok(overdue)
}

/// All that the journal has of one saga.
#[derive(Default)]
struct Known {
    seen: Vec<(MessageType, Timestamp)>,
    messages: HashMap<MessageType, (JournalPosition, Event)>,
}

impl Known {
    fn add(&mut self, position: JournalPosition, event: Event) {
        let message_type = event.message_type();
        if let std::collections::hash_map::Entry::Vacant(first) = self.messages.entry(message_type)
        {
            self.seen.push((message_type, event.time));
            first.insert((position, event));
        }
    }

    fn overdue(mut self, now: Timestamp) -> Option<Overdue> {
        let saga = saga_of(self.seen.first()?.0)?;
        let progress = Progress::of(saga, &self.seen);
        let Progress::Waiting { step, .. } = progress else {
            return None;
        };
        if !progress.is_overdue(now) {
            return None;
        }
        let (position, message) = self.messages.remove(&step.on)?;
        Some(Overdue {
            step,
            position,
            message,
        })
    }
}
