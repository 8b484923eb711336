//! Decisions: made once, kept as one row per saga, repeated for ever.
//!
//! [`decide_batch`] is where a redelivered, reordered or late message becomes harmless. It is pure:
//! stored decisions, facts and events in; changes to commit and replies to publish out. A
//! participant's own rules ([`Decider`]) have a say only in what was never decided before, so no
//! participant can forget to be idempotent: what they say of a saga that was decided unread and is known
//! after all is never committed.

use std::collections::HashMap;

use events::choreography::{self, Role, Service};
use events::{Cause, Event, Message, SagaId, Timestamp};
use uuid::Uuid;

use crate::failure::Failure;

/// The rules of one participant, without its storage.
pub trait Decider: Send + Sync + 'static {
    const SERVICE: Service;
    /// What the rules need to know about the world for a batch of events, read from the store
    /// before and kept up to date while the batch is decided.
    type Facts: Default + Send + Sync;
    /// A change to the participant's own data, committed together with the decision.
    type Effect: Send + Sync;

    /// Whether [`decide`](Self::decide) needs no facts for this event, and its saga is most likely
    /// new. Such events are decided as if nothing were known and committed unread, which saves a
    /// round trip; a saga that is known after all makes the commit a [`Failure::Conflict`], and
    /// then they are decided like any others.
    fn decides_unread(&self, event: &Event) -> bool {
        let _ = event;
        false
    }

    /// A forward step or a finish that this saga has not decided yet. A finish may not be refused.
    fn decide(
        &self,
        event: &Event,
        facts: &mut Self::Facts,
        moment: Moment,
    ) -> Result<Verdict<Self::Effect>, Unexpected>;

    /// Takes back what this saga did: `done` is what the step replied, `None` when the undo
    /// overtook it. The verdict must touch nothing but what this saga made. Asked only if the table
    /// has an undo for the participant.
    fn undo(
        &self,
        event: &Event,
        done: Option<&Message>,
        facts: &mut Self::Facts,
        moment: Moment,
    ) -> Result<Verdict<Self::Effect>, Unexpected> {
        let _ = (done, facts, moment);
        Err(Unexpected::of::<Self>(&event.message))
    }
}

/// The time and the randomness of one decision, handed in so that rules stay pure.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: Timestamp,
    /// For an id the decision may have to mint.
    pub fresh_id: Uuid,
}

impl Moment {
    pub fn now() -> Self {
        Self {
            now: Timestamp::now(),
            fresh_id: Uuid::now_v7(),
        }
    }
}

/// What a participant decided: its reply, and what changes.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict<E> {
    pub reply: Message,
    pub effect: Option<E>,
}

/// The rules were asked about a message that they have no step for.
#[derive(Debug, thiserror::Error)]
#[error("{service} has no step for {message}; it does not belong in this queue")]
pub struct Unexpected {
    pub service: &'static str,
    pub message: events::MessageType,
}

impl Unexpected {
    pub fn of<D: Decider + ?Sized>(message: &Message) -> Self {
        Self {
            service: D::SERVICE.0,
            message: message.message_type(),
        }
    }
}

/// The one row a participant keeps about a saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub saga_id: SagaId,
    /// The reply of the forward step, done or refused. Absent in a tombstone: the undo came first.
    pub step: Option<Reply>,
    /// The reply of what concluded the saga here after its step: the undo, or the finish.
    pub undo: Option<Reply>,
}

/// What was published, and when it was decided; republished to the letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub message: Message,
    pub at: Timestamp,
}

/// What one batch changes. Each decision is committed together with its effect.
#[derive(Debug)]
pub struct Changes<E> {
    /// Rows to insert. One that is there already is a [`Failure::Conflict`].
    pub decided: Vec<Decision>,
    /// Rows whose `undo` to fill in. One that is filled in already is a [`Failure::Conflict`].
    pub undone: Vec<Decision>,
    /// In the order in which they were decided.
    pub effects: Vec<E>,
}

impl<E> Changes<E> {
    fn none() -> Self {
        Self {
            decided: Vec::new(),
            undone: Vec::new(),
            effects: Vec::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.decided.is_empty() && self.undone.is_empty() && self.effects.is_empty()
    }
}

/// What the store knew before the batch.
#[derive(Debug)]
pub struct Snapshot<F> {
    pub decisions: HashMap<SagaId, Decision>,
    pub facts: F,
}

impl<F: Default> Snapshot<F> {
    /// Of a store that knows nothing.
    pub fn blank() -> Self {
        Self {
            decisions: HashMap::new(),
            facts: F::default(),
        }
    }
}

/// Decides a batch, in order: one reply for each event, and what has to be committed before the
/// replies may be published.
pub fn decide_batch<D: Decider>(
    decider: &D,
    snapshot: Snapshot<D::Facts>,
    events: &[Event],
    mut moment: impl FnMut() -> Moment,
) -> Result<(Changes<D::Effect>, Vec<Event>), Failure> {
    let mut deciding = Deciding {
        decider,
        snapshot,
        changes: Changes::none(),
    };
    let replies = events.iter().map(|event| {
        let reply = deciding.reply(event, moment()).map_err(Failure::handling)?;
        let cause = Cause {
            by: event,
            source: D::SERVICE.0,
            time: reply.at,
        };
        Ok(Event::caused(&cause, reply.message))
    });
    let replies = replies.collect::<Result<Vec<_>, Failure>>()?;
    Ok((deciding.changes, replies))
}

struct Deciding<'a, D: Decider> {
    decider: &'a D,
    snapshot: Snapshot<D::Facts>,
    changes: Changes<D::Effect>,
}

impl<D: Decider> Deciding<'_, D> {
    /// The legal transitions, all of them.
    fn reply(&mut self, event: &Event, moment: Moment) -> Result<Reply, Unexpected> {
        let role = role_of::<D>(event)?;
        let known = self.snapshot.decisions.get(&event.saga_id).cloned();
        let replies = known.as_ref().map(|row| (&row.step, &row.undo));
        match (role, replies) {
            // Never heard of this saga: decide, and record it.
            (Role::Do { .. } | Role::Finish, None) => self.step(event, moment),
            // Decided before: say the same again, whatever the world looks like now.
            (Role::Do { .. }, Some((Some(reply), _))) => Ok(reply.clone()),
            // The undo overtook the step: it does not start. The undo's reply ends the saga.
            (Role::Do { .. }, Some((None, Some(reply)))) => Ok(reply.clone()),
            // Undone or finished before: say the same again.
            (Role::Undo { .. } | Role::Finish, Some((_, Some(reply)))) => Ok(reply.clone()),
            // The step was refused, so there is nothing to take back.
            (Role::Undo { of }, Some((Some(reply), None))) if is_refusal::<D>(of, reply) => {
                Ok(reply.clone())
            }
            (Role::Undo { .. }, _) => self.undo(event, known.as_ref(), moment),
            // Finished before, as all that this service does in the saga.
            (Role::Finish, Some((Some(reply), None))) if is_finish::<D>(event, reply) => {
                Ok(reply.clone())
            }
            (Role::Finish, Some((Some(_), None))) => self.finish(event, moment),
            (Role::Do { .. } | Role::Finish, Some((None, None))) => {
                unreachable!("the store holds no decision without a reply (CHECK constraint)")
            }
        }
    }

    fn step(&mut self, event: &Event, moment: Moment) -> Result<Reply, Unexpected> {
        let verdict = self
            .decider
            .decide(event, &mut self.snapshot.facts, moment)?;
        let reply = Reply {
            message: verdict.reply,
            at: moment.now,
        };
        let decision = Decision {
            saga_id: event.saga_id,
            step: Some(reply.clone()),
            undo: None,
        };
        self.snapshot
            .decisions
            .insert(event.saga_id, decision.clone());
        self.changes.decided.push(decision);
        self.changes.effects.extend(verdict.effect);
        Ok(reply)
    }

    /// After a step of this service in the same saga.
    fn finish(&mut self, event: &Event, moment: Moment) -> Result<Reply, Unexpected> {
        let verdict = self
            .decider
            .decide(event, &mut self.snapshot.facts, moment)?;
        let reply = Reply {
            message: verdict.reply,
            at: moment.now,
        };
        let saga = self.snapshot.decisions.entry(event.saga_id);
        saga.and_modify(|row| {
            row.undo = Some(reply.clone());
            self.changes.undone.push(row.clone());
        });
        self.changes.effects.extend(verdict.effect);
        Ok(reply)
    }

    fn undo(
        &mut self,
        event: &Event,
        known: Option<&Decision>,
        moment: Moment,
    ) -> Result<Reply, Unexpected> {
        let step = known.and_then(|decision| decision.step.clone());
        let done = step.as_ref().map(|reply| &reply.message);
        let verdict = self
            .decider
            .undo(event, done, &mut self.snapshot.facts, moment)?;
        let reply = Reply {
            message: verdict.reply,
            at: moment.now,
        };
        let decision = Decision {
            saga_id: event.saga_id,
            step,
            undo: Some(reply.clone()),
        };
        self.snapshot
            .decisions
            .insert(event.saga_id, decision.clone());
        match known {
            Some(_) => self.changes.undone.push(decision),
            None => self.changes.decided.push(decision),
        }
        self.changes.effects.extend(verdict.effect);
        Ok(reply)
    }
}

fn role_of<D: Decider>(event: &Event) -> Result<Role, Unexpected> {
    choreography::step(D::SERVICE, event.message_type())
        .map(|step| step.role)
        .ok_or(Unexpected {
            service: D::SERVICE.0,
            message: event.message_type(),
        })
}

fn is_refusal<D: Decider>(of: events::MessageType, reply: &Reply) -> bool {
    choreography::step(D::SERVICE, of).is_some_and(
        |step| matches!(step.role, Role::Do { refusal } if refusal == reply.message.message_type()),
    )
}

/// Whether the reply is what this event's finish says.
fn is_finish<D: Decider>(event: &Event, reply: &Reply) -> bool {
    choreography::step(D::SERVICE, event.message_type())
        .is_some_and(|step| step.emits == reply.message.message_type())
}
