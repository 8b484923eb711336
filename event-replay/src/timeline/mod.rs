//! What happened in one saga: its messages in the order of the journal, who sent each, who reacts to
//! it, and where the saga stands. Drawn as [`text`] for a terminal and as [`mermaid`].

mod mermaid;
mod text;

use std::time::Duration;

use events::choreography::{self, API_GATEWAY, Saga};
use events::progress::Progress;
use events::{Event, SagaId, Timestamp};

/// One saga.
#[derive(Debug)]
pub struct Timeline {
    pub saga_id: SagaId,
    kind: Option<&'static Saga>,
    /// The columns: the gateway, then the services in the order of the table.
    participants: Vec<String>,
    pub messages: Vec<Message>,
    pub progress: Progress,
}

/// One message of the saga, however often the journal has it.
#[derive(Debug)]
pub struct Message {
    pub event: Event,
    pub times: usize,
    from: usize,
    to: Vec<usize>,
}

impl Timeline {
    /// From the messages of one saga, in the order of the journal; none if there are none.
    pub fn of(events: Vec<Event>) -> Option<Self> {
        let (saga_id, first) = events.first().map(|e| (e.saga_id, e.message_type()))?;
        let kind = choreography::saga_of(first);
        let mut participants = vec![API_GATEWAY.0.to_owned()];
        for step in kind.iter().flat_map(|kind| kind.steps) {
            column(&mut participants, step.service.0);
        }
        let seen: Vec<_> = (events.iter().map(|e| (e.message_type(), e.time))).collect();
        let mut messages: Vec<Message> = Vec::new();
        for event in events {
            match messages.iter_mut().find(|known| known.event.id == event.id) {
                Some(known) => known.times += 1,
                None => messages.push(Message::of(event, &mut participants)),
            }
        }
        Some(Self {
            saga_id,
            progress: kind.map_or(Progress::Unknown, |kind| Progress::of(kind, &seen)),
            kind,
            participants,
            messages,
        })
    }

    /// Since the first message was decided.
    fn after(&self, at: Timestamp) -> Duration {
        let times = self.messages.iter().map(|message| message.event.time);
        times.min().map_or(Duration::ZERO, |first| at.since(first))
    }

    /// What kind of saga it is and where it stands, for a person.
    pub fn headline(&self, now: Timestamp) -> String {
        let kind = self.kind.map_or("of an unknown kind", |kind| kind.name);
        let stand = match &self.progress {
            Progress::Ended { at, .. } => {
                let reasons = self.messages.iter();
                let mut reasons = reasons.filter_map(|m| m.event.message.particulars().reason);
                let because = reasons.next_back().map(|reason| format!(" ({reason})"));
                format!(
                    "{}{} after {}",
                    self.progress.status().as_str(),
                    because.unwrap_or_default(),
                    milliseconds(self.after(*at))
                )
            }
            Progress::Waiting { step, since } => {
                let waits = format!("waits for {} since {since}", step.queue());
                match self.progress.is_overdue(now) {
                    true => format!("{waits}, OVERDUE"),
                    false => waits,
                }
            }
            Progress::Unknown => "where it stands is unknown".to_owned(),
        };
        format!("{kind} {}: {stand}", self.saga_id)
    }
}

impl Message {
    fn of(event: Event, participants: &mut Vec<String>) -> Self {
        let message_type = event.message_type();
        let reacting = choreography::steps().filter(|step| step.on == message_type);
        let mut to: Vec<_> = reacting
            .map(|step| column(participants, step.service.0))
            .collect();
        if choreography::may_end_a_saga(message_type) {
            to.push(0);
        }
        Self {
            from: column(participants, &event.source),
            to,
            times: 1,
            event,
        }
    }

    /// What there is to say of it beside its name.
    fn remark(&self) -> String {
        let reason = self.event.message.particulars().reason;
        let mut remarks: Vec<String> = reason.map(ToString::to_string).into_iter().collect();
        if self.times > 1 {
            remarks.push(format!("{} times", self.times));
        }
        remarks.join(", ")
    }
}

/// The participant's column, which is added if it has none.
fn column(participants: &mut Vec<String>, name: &str) -> usize {
    match participants.iter().position(|known| known == name) {
        Some(place) => place,
        None => {
            participants.push(name.to_owned());
            participants.len() - 1
        }
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1_000.0)
}
