//! Every path there is: the table says which steps may refuse, and the list here for which reasons.

use std::fmt;

use events::choreography::{Role, SAGAS, Saga};
use events::{MessageType as M, Reason};

/// One way of one kind of saga.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The kind's name.
    pub saga: &'static str,
    pub way: Way,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// Every step was done.
    Completed,
    /// A step refused, and what was done before it is undone.
    Refused { by: M, reason: Reason },
    /// Some message was published more than once.
    Repeated,
}

impl Path {
    /// The sets that `--require` knows, by name.
    pub const SETS: [&'static str; 5] = [
        "success",
        "refusal",
        "compensation",
        "deadline",
        "duplicate",
    ];

    /// Whether the path is in the set: one of [`Self::SETS`], the kind of a saga, `all`, or its own
    /// name.
    pub fn is_in(&self, set: &str) -> bool {
        let refused = match &self.way {
            Way::Refused { by, reason } => Some((*by, reason)),
            Way::Completed | Way::Repeated => None,
        };
        match set {
            "all" => true,
            "success" => self.way == Way::Completed,
            "refusal" => refused.is_some(),
            "compensation" => refused.is_some_and(|(by, _)| events::choreography::is_undo(by)),
            "deadline" => refused.is_some_and(|(_, why)| *why == Reason::DEADLINE_EXCEEDED),
            "duplicate" => self.way == Way::Repeated,
            name => name == self.saga || name == self.to_string(),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Way::Completed => write!(f, "{}/completed", self.saga),
            Way::Refused { by, reason } => write!(f, "{}/{by}/{reason}", self.saga),
            Way::Repeated => write!(f, "{}/duplicate", self.saga),
        }
    }
}

/// Every path that the participants' rules allow.
pub fn every_path() -> impl Iterator<Item = Path> {
    SAGAS.iter().flat_map(|saga| paths_of(saga))
}

fn paths_of(saga: &'static Saga) -> impl Iterator<Item = Path> {
    let refusals = saga.steps.iter().filter_map(|step| match step.role {
        Role::Do { refusal } => Some(refusal),
        Role::Undo { .. } | Role::Finish => None,
    });
    let refused = refusals.flat_map(|by| {
        let reasons = reasons_of(by).into_iter();
        reasons.map(move |reason| Way::Refused { by, reason })
    });
    let ways = [Way::Completed].into_iter().chain(refused);
    let ways = ways.chain([Way::Repeated]);
    ways.map(|way| Path {
        saga: saga.name,
        way,
    })
}

/// Why a step refuses with this message. Each that may start a saga or go on with it may be late;
/// for the rest see the participants' `decide.rs`. A test replays the corpus and finds each of them
/// and no other.
fn reasons_of(refusal: M) -> Vec<Reason> {
    let others: &[Reason] = match refusal {
        M::RegistrationFailed | M::NotRegistered => {
            &[Reason::TICKET_DELETED, Reason::ALREADY_REGISTERED]
        }
        M::TicketChangeRejected => &[Reason::NOT_FOUND, Reason::TICKET_IN_USE],
        M::RegisterRejected | M::RegistrationChangeRejected => &[
            Reason::TICKET_NOT_FOUND,
            Reason::NOT_THE_USERS_TICKET,
            Reason::TICKET_DELETED,
            Reason::ALREADY_REGISTERED,
        ],
        M::RegistrationNotChanged => &[
            Reason::NOT_FOUND,
            Reason::CHANGED_MEANWHILE,
            Reason::TICKET_DELETED,
            Reason::ALREADY_REGISTERED,
        ],
        _ => &[],
    };
    let late = [Reason::DEADLINE_EXCEEDED];
    late.iter().chain(others).cloned().collect()
}
