//! One saga as the ledger keeps it, folded from its messages. Pure: any order and any repetition of
//! the same messages gives the same row, because each part of it is a set or a least value.
//!
//! Where the saga stands is not kept but derived ([`Progress`]) from the choreography table.

use events::choreography::Outcome;
use events::progress::{Progress, Status};
use events::{
    Class, Event, MessageType, Reason, RegistId, SagaId, TicketId, Timestamp, UserId, UserTicketId,
};

use super::timeline::Timeline;

/// What is known of one saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub saga_id: SagaId,
    pub user_id: Option<UserId>,
    pub ticket_id: Option<TicketId>,
    pub user_ticket_id: Option<UserTicketId>,
    pub regist_id: Option<RegistId>,
    pub reason: Option<Reason>,
    /// What started it, to the letter, while nothing has answered that.
    pub unanswered: Option<Box<Event>>,
    pub timeline: Timeline,
}

/// The row after this message; `None` is a saga never heard of.
pub fn fold(row: Option<Row>, event: &Event) -> Row {
    let mut row = row.unwrap_or_else(|| Row::new(event.saga_id));
    let seen = event.message.particulars();
    let keep = Keep::of(&row, event);
    keep.one(&mut row.user_id, seen.user_id);
    keep.one(&mut row.ticket_id, seen.ticket_id);
    keep.one(&mut row.user_ticket_id, seen.user_ticket_id);
    keep.one(&mut row.regist_id, seen.regist_id);
    if let Some(reason) = seen.reason {
        let known = row.reason.as_ref().map(Reason::as_str);
        if known.is_none_or(|known| reason.as_str() < known) {
            row.reason = Some(reason.clone());
        }
    }
    row.timeline.add(event);
    row.unanswered = unanswered(row.unanswered, event, &row.timeline);
    row
}

/// Of the commands of two requests with one key, the one that the timeline shows.
fn unanswered(known: Option<Box<Event>>, event: &Event, timeline: &Timeline) -> Option<Box<Event>> {
    let mut entries = timeline.entries().iter();
    if !entries.all(|entry| entry.message_type.class() == Class::Command) {
        return None;
    }
    let order = |event: &Event| (event.time, event.to_json());
    match known {
        Some(known) if order(&known) <= order(event) => Some(known),
        _ => Some(Box::new(event.clone())),
    }
}

/// Which of two ids to keep. All messages of a saga agree on them, but for the commands of two
/// requests that were sent with one `Idempotency-Key`: there it counts what the participants say,
/// who answered the first. Else the least, so that the order they came in does not show.
enum Keep {
    Known,
    Seen,
    Least,
}

impl Keep {
    fn of(row: &Row, event: &Event) -> Self {
        let is_command = |message: MessageType| message.class() == Class::Command;
        let mut entries = row.timeline.entries().iter();
        let is_told = entries.any(|entry| !is_command(entry.message_type));
        match (is_told, is_command(event.message_type())) {
            (true, true) => Self::Known,
            (false, false) => Self::Seen,
            (true, false) | (false, true) => Self::Least,
        }
    }

    fn one<T: Ord + Copy>(&self, known: &mut Option<T>, seen: Option<T>) {
        *known = match (*known, seen) {
            (Some(known), Some(seen)) => Some(match self {
                Self::Known => known,
                Self::Seen => seen,
                Self::Least => known.min(seen),
            }),
            (known, seen) => known.or(seen),
        };
    }
}

impl Row {
    fn new(saga_id: SagaId) -> Self {
        Self {
            saga_id,
            user_id: None,
            ticket_id: None,
            user_ticket_id: None,
            regist_id: None,
            reason: None,
            unanswered: None,
            timeline: Timeline::default(),
        }
    }

    /// The kind of saga; empty when this build knows no saga with such messages.
    pub fn kind(&self) -> &'static str {
        self.timeline.saga().map_or("", |saga| saga.name)
    }

    pub fn progress(&self) -> Progress {
        let entries = self.timeline.entries().iter();
        let seen: Vec<_> = entries
            .map(|entry| (entry.message_type, entry.time))
            .collect();
        self.timeline
            .saga()
            .map_or(Progress::Unknown, |saga| Progress::of(saga, &seen))
    }

    pub fn status(&self) -> Status {
        self.progress().status()
    }

    /// How the saga ended, if it has.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.progress() {
            Progress::Ended { outcome, .. } => Some(outcome),
            Progress::Waiting { .. } | Progress::Unknown => None,
        }
    }

    /// When its command was minted; before that is known, the time of its first known message.
    pub fn started_at(&self) -> Option<Timestamp> {
        let start = self.timeline.saga().map(|saga| saga.start);
        let entries = self.timeline.entries();
        let command = entries
            .iter()
            .find(|entry| Some(entry.message_type) == start);
        command.or(entries.first()).map(|entry| entry.time)
    }
}

#[cfg(test)]
mod tests;
