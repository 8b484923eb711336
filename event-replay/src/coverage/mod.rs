//! Which paths of the choreography table a corpus of recordings contains.
//!
//! A path is a way a saga of one kind can go, as far as its messages tell: to its success, to each
//! refusal for each reason, and, whichever way, with a message of it published more than once.

mod paths;

use std::collections::{HashMap, HashSet};

use events::choreography::{self, Role, Saga};
use events::{Event, EventId, MessageType, Reason, SagaId};

pub use paths::{Path, Way, every_path};

/// What a corpus was found to contain.
#[derive(Debug, Default)]
pub struct Coverage {
    /// In how many sagas each path was found; what is not in [`every_path`] as well.
    found: HashMap<Path, u64>,
}

/// Gathers the paths of one recording. Sagas of two recordings are never the same one.
#[derive(Debug, Default)]
pub struct Gathering {
    sagas: HashMap<SagaId, Seen>,
    messages: HashSet<EventId>,
}

/// What was seen of one saga.
#[derive(Debug, Default)]
struct Seen {
    /// By their place in [`MessageType::ALL`].
    types: u64,
    refused: Option<(MessageType, Reason)>,
    is_repeated: bool,
}

const _: () = assert!(
    MessageType::ALL.len() <= 64,
    "they must fit into the bits of `types`"
);

impl Gathering {
    pub fn add(&mut self, event: &Event) {
        let message_type = event.message_type();
        let seen = self.sagas.entry(event.saga_id).or_default();
        seen.types |= 1 << message_type as u32;
        seen.is_repeated |= !self.messages.insert(event.id);
        if is_refusal(message_type)
            && let Some(reason) = event.message.particulars().reason
        {
            seen.refused = Some((message_type, reason.clone()));
        }
    }
}

impl Coverage {
    /// Adds what one recording contains.
    pub fn add(&mut self, gathering: Gathering) {
        for seen in gathering.sagas.into_values() {
            for path in seen.paths() {
                *self.found.entry(path).or_default() += 1;
            }
        }
    }

    /// In how many sagas this path was found.
    pub fn count(&self, path: &Path) -> u64 {
        self.found.get(path).copied().unwrap_or_default()
    }

    /// What was found although no rule is known to lead there: the list of paths is to be mended.
    pub fn unlisted(&self) -> Vec<(&Path, u64)> {
        let listed: HashSet<Path> = every_path().collect();
        let found = self.found.iter().map(|(path, count)| (path, *count));
        let mut unlisted: Vec<_> = found.filter(|(path, _)| !listed.contains(*path)).collect();
        unlisted.sort_by_key(|(path, _)| path.to_string());
        unlisted
    }
}

impl Seen {
    /// A saga that has not ended has gone no way yet.
    fn paths(self) -> Vec<Path> {
        let Some(saga) = choreography::SAGAS
            .iter()
            .find(|saga| self.has_any_of(saga))
        else {
            return Vec::new();
        };
        let ended = saga.ends.iter().any(|end| self.has(end.on));
        let way = match self.refused {
            Some((by, ref reason)) => Way::Refused {
                by,
                reason: reason.clone(),
            },
            None => Way::Completed,
        };
        let repeated = self.is_repeated.then_some(Way::Repeated);
        let ways = ended.then_some(way).into_iter().chain(repeated);
        ways.map(|way| Path {
            saga: saga.name,
            way,
        })
        .collect()
    }

    fn has(&self, message: MessageType) -> bool {
        self.types & (1 << message as u32) != 0
    }

    fn has_any_of(&self, saga: &Saga) -> bool {
        let outputs = saga.steps.iter().flat_map(|step| step.outputs());
        outputs.chain([saga.start]).any(|message| self.has(message))
    }
}

/// Whether a step refuses with this message.
fn is_refusal(message: MessageType) -> bool {
    choreography::steps()
        .any(|step| matches!(step.role, Role::Do { refusal } if refusal == message))
}
