//! What a row of the [table](super) is, and what is derived from it.

use std::time::Duration;

use super::SAGAS;
use crate::MessageType;

/// A service, by the name that queues, logs and envelopes show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Service(pub &'static str);

/// One kind of saga.
#[derive(Debug)]
pub struct Saga {
    pub name: &'static str,
    /// The command that starts it; [`API_GATEWAY`](super::API_GATEWAY) publishes it.
    pub start: MessageType,
    /// A start step that is seen later than this after the command was minted is refused.
    pub deadline: Duration,
    pub steps: &'static [Step],
    /// Exactly one of these ends every saga. The end of a completed one must carry the ids that
    /// its caller is told.
    pub ends: &'static [End],
}

/// One reaction: a service takes a message from a queue of its own and answers it.
#[derive(Debug)]
pub struct Step {
    pub service: Service,
    pub on: MessageType,
    pub role: Role,
    /// What it publishes when it did it.
    pub emits: MessageType,
    /// Longer than this, and the saga shows as overdue at this step.
    pub within: Duration,
}

/// What a step is to its saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Goes forward, or refuses with `refusal`; its rules refuse what is past the deadline.
    Do { refusal: MessageType },
    /// Goes forward past the point of no return: it cannot refuse, has no deadline, and is tried
    /// until it is done (a *retriable* step). What comes after it must be one, too.
    Finish,
    /// Takes back what the same service did on the message `of`. Has no refusal and no deadline.
    /// Several undos form a chain, each reacting to the reply of the one before, because one
    /// message ends the saga.
    Undo { of: MessageType },
}

/// An event that ends a saga.
#[derive(Debug)]
pub struct End {
    pub on: MessageType,
    pub outcome: Outcome,
}

/// How a saga ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every step was done.
    Completed,
    /// A step refused before anything was done.
    Rejected,
    /// A step refused, and what was done before it is undone.
    Compensated,
}

/// A caller waits for the outcome, so a step that takes seconds is worth an operator's look.
const STEP_LIMIT: Duration = Duration::from_secs(5);

impl Service {
    /// The queue of the questions it answers: `<service>.queries`.
    pub fn queries(self) -> String {
        format!("{}.queries", self.0)
    }
}

impl Step {
    /// The queue this step's service consumes: `<service>.<message>`.
    pub fn queue(&self) -> String {
        format!("{}.{}", self.service.0, self.on)
    }

    /// What the step may publish, success first.
    pub fn outputs(&self) -> impl Iterator<Item = MessageType> {
        let refusal = match self.role {
            Role::Do { refusal } => Some(refusal),
            Role::Undo { .. } | Role::Finish => None,
        };
        std::iter::once(self.emits).chain(refusal)
    }
}

/// The rows of the table are written with these.
impl Step {
    /// On this message the service does its part, or refuses.
    pub(super) const fn does(
        service: Service,
        on: MessageType,
        emits: MessageType,
        refusal: MessageType,
    ) -> Self {
        let role = Role::Do { refusal };
        Self::new(service, on, role, emits)
    }

    /// On this message the service does what can no longer be refused.
    pub(super) const fn finishes(service: Service, on: MessageType, emits: MessageType) -> Self {
        Self::new(service, on, Role::Finish, emits)
    }

    /// On this message the service takes back what it did on another.
    pub(super) const fn undoes(
        service: Service,
        on: MessageType,
        of: MessageType,
        emits: MessageType,
    ) -> Self {
        Self::new(service, on, Role::Undo { of }, emits)
    }

    const fn new(service: Service, on: MessageType, role: Role, emits: MessageType) -> Self {
        Self {
            service,
            on,
            role,
            emits,
            within: STEP_LIMIT,
        }
    }
}

impl End {
    pub(super) const fn completed(on: MessageType) -> Self {
        let outcome = Outcome::Completed;
        Self { on, outcome }
    }

    pub(super) const fn rejected(on: MessageType) -> Self {
        let outcome = Outcome::Rejected;
        Self { on, outcome }
    }

    pub(super) const fn compensated(on: MessageType) -> Self {
        let outcome = Outcome::Compensated;
        Self { on, outcome }
    }
}

impl Saga {
    /// How the saga ended, if this message ends it.
    pub fn outcome_of(&self, message: MessageType) -> Option<Outcome> {
        self.ends
            .iter()
            .find(|end| end.on == message)
            .map(|end| end.outcome)
    }
}

/// The saga that a message of this type belongs to.
pub fn saga_of(message: MessageType) -> Option<&'static Saga> {
    SAGAS.iter().copied().find(|saga| {
        saga.start == message
            || saga
                .steps
                .iter()
                .any(|step| step.outputs().any(|o| o == message))
    })
}

/// The step of this service that reacts to this message.
pub fn step(service: Service, on: MessageType) -> Option<&'static Step> {
    steps().find(|step| step.service == service && step.on == on)
}

/// Every step of every saga.
pub fn steps() -> impl Iterator<Item = &'static Step> {
    SAGAS.iter().flat_map(|saga| saga.steps)
}

/// Whether who reacts to this message takes something back.
pub fn is_undo(message: MessageType) -> bool {
    let is_undo = |step: &Step| matches!(step.role, Role::Undo { .. });
    steps().any(|step| step.on == message && is_undo(step))
}

/// Whether this message ends some saga, so that a gateway may wait for it.
pub fn may_end_a_saga(message: MessageType) -> bool {
    SAGAS.iter().any(|saga| saga.outcome_of(message).is_some())
}
