//! THE ONE TABLE: who reacts to which message, what it may answer, what undoes what, what ends a
//! saga, and how long each step may take.
//!
//! Queues, bindings, the status of a saga, the step it waits for, overdue steps, the all-in-one's
//! wiring and `docs/choreography.md` are derived from it. To add a step, add a row.

use std::time::Duration;

use crate::{MessageType, MessageType as M};

/// A service, by the name that queues, logs and envelopes show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Service(pub &'static str);

pub const API_GATEWAY: Service = Service("api-gateway");
pub const TICKET_WORKER: Service = Service("ticket-worker");
pub const REGIST_WORKER: Service = Service("regist-worker");

/// The services that answer questions about what they own ([`crate::query`]).
pub const OWNERS: [Service; 2] = [TICKET_WORKER, REGIST_WORKER];

/// One kind of saga.
#[derive(Debug)]
pub struct Saga {
    pub name: &'static str,
    /// The command that starts it; [`API_GATEWAY`] publishes it.
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
/// Callers give up after some ten seconds; a purchase that starts much later would surprise them.
const START_DEADLINE: Duration = Duration::from_secs(60);

pub const PURCHASE_AND_REGISTER: Saga = Saga {
    name: "PurchaseAndRegister",
    start: M::PurchaseAndRegister,
    deadline: START_DEADLINE,
    steps: &[
        Step {
            service: TICKET_WORKER,
            on: M::PurchaseAndRegister,
            role: Role::Do {
                refusal: M::PurchaseRejected,
            },
            emits: M::TicketPurchased,
            within: STEP_LIMIT,
        },
        Step {
            service: REGIST_WORKER,
            on: M::TicketPurchased,
            role: Role::Do {
                refusal: M::RegistrationFailed,
            },
            emits: M::RegistrationCompleted,
            within: STEP_LIMIT,
        },
        Step {
            service: TICKET_WORKER,
            on: M::RegistrationFailed,
            role: Role::Undo {
                of: M::PurchaseAndRegister,
            },
            emits: M::TicketDeleted,
            within: STEP_LIMIT,
        },
    ],
    ends: &[
        End {
            on: M::RegistrationCompleted,
            outcome: Outcome::Completed,
        },
        End {
            on: M::PurchaseRejected,
            outcome: Outcome::Rejected,
        },
        End {
            on: M::TicketDeleted,
            outcome: Outcome::Compensated,
        },
    ],
};

/// Every saga of the system.
pub const SAGAS: &[&Saga] = &[&PURCHASE_AND_REGISTER];

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
            Role::Undo { .. } => None,
        };
        std::iter::once(self.emits).chain(refusal)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_published_by_someone_and_read_by_someone() {
        for &message in MessageType::ALL {
            let saga = saga_of(message).unwrap_or_else(|| panic!("nobody publishes {message}"));
            let read = saga.steps.iter().any(|step| step.on == message);
            assert!(
                read || saga.outcome_of(message).is_some(),
                "nobody reads {message}"
            );
        }
    }

    #[test]
    fn every_undo_names_a_step_of_its_own_service_that_can_be_refused_later() {
        for undo in steps() {
            let Role::Undo { of } = undo.role else {
                continue;
            };
            let undone = step(undo.service, of).expect("the undone step exists");
            assert!(
                matches!(undone.role, Role::Do { .. }),
                "{} undoes an undo",
                undo.queue()
            );
        }
    }

    #[test]
    fn a_service_has_one_queue_for_each_message_it_reacts_to() {
        let mut queues: Vec<String> = steps().map(Step::queue).collect();
        queues.sort();
        let total = queues.len();
        queues.dedup();
        assert_eq!(queues.len(), total);
        assert!(queues.contains(&"ticket-worker.PurchaseAndRegister".to_owned()));
    }

    /// Every way through a saga, as the messages from its start to one of its ends.
    fn paths(saga: &Saga) -> Vec<Vec<MessageType>> {
        let (mut open, mut ended) = (vec![vec![saga.start]], Vec::new());
        while let Some(path) = open.pop() {
            let last = path[path.len() - 1];
            if saga.outcome_of(last).is_some() {
                ended.push(path);
                continue;
            }
            let next: Vec<_> = saga.steps.iter().filter(|step| step.on == last).collect();
            assert_eq!(next.len(), 1, "{path:?} leads nowhere, or forks");
            for output in next[0].outputs() {
                assert!(!path.contains(&output), "{path:?} runs in a circle");
                open.push([path.clone(), vec![output]].concat());
            }
        }
        ended
    }

    /// The steps that were done on a path: forward ones, and those that took one back.
    fn done_and_undone(saga: &Saga, path: &[MessageType]) -> (Vec<MessageType>, Vec<MessageType>) {
        let (mut done, mut undone) = (Vec::new(), Vec::new());
        for (on, output) in path.iter().zip(&path[1..]) {
            let step = saga.steps.iter().find(|step| step.on == *on).unwrap();
            match step.role {
                Role::Do { refusal } if refusal == *output => {}
                Role::Do { .. } => done.push(*on),
                Role::Undo { of } => undone.push(of),
            }
        }
        (done, undone)
    }

    #[test]
    fn every_path_ends_with_everything_done_or_everything_that_was_done_undone() {
        for saga in SAGAS {
            let forward = |step: &&Step| matches!(step.role, Role::Do { .. });
            let steps = saga.steps.iter().filter(forward).count();
            for path in paths(saga) {
                let (mut done, mut undone) = done_and_undone(saga, &path);
                done.sort_by_key(|message| message.wire_type());
                undone.sort_by_key(|message| message.wire_type());
                let end = path[path.len() - 1];
                match saga.outcome_of(end).unwrap() {
                    Outcome::Completed => {
                        assert_eq!((done.len(), undone.len()), (steps, 0), "{path:?}");
                    }
                    Outcome::Rejected => assert_eq!(done, [], "{path:?}"),
                    Outcome::Compensated => {
                        assert!(!done.is_empty(), "{path:?} has nothing to undo");
                        assert_eq!(done, undone, "{path:?} leaves something behind");
                    }
                }
            }
        }
    }
}
