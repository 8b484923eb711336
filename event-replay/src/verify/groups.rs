//! Which sagas may influence one another: those that ask for the same user and ticket on sale, for
//! the same bought ticket, or for the same registration, directly or through others.
//!
//! Whatever the order, a saga that is alone must come out the same.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use events::{Event, Message};

use super::index::number;

#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Of each saga, one that is in its group; its own number for one that stands for the group.
    towards: Vec<u32>,
    /// Some saga that asks for it, by the hash of what is asked for.
    asked: HashMap<u64, u32>,
    /// Sagas by group.
    members: Vec<u32>,
    /// By saga: whether it is the only one of its group. Searching all members for it was dear.
    alone: Vec<bool>,
}

impl Groups {
    pub(super) fn add(&mut self, saga: u32, event: &Event) {
        while self.towards.len() <= saga as usize {
            self.towards.push(number(self.towards.len()));
        }
        for resource in resources_of(event).into_iter().flatten() {
            let other = *self.asked.entry(resource).or_insert(saga);
            self.join(saga, other);
        }
    }

    /// When every saga is added.
    pub(super) fn close(&mut self, sagas: u32) {
        self.asked = HashMap::new();
        self.members = (0..sagas).collect();
        for saga in 0..sagas {
            self.towards[saga as usize] = self.find(saga);
        }
        self.members
            .sort_by_key(|saga| self.towards[*saga as usize]);
        self.alone = vec![false; self.members.len()];
        let towards = &self.towards;
        let together = |one: &u32, other: &u32| towards[*one as usize] == towards[*other as usize];
        for group in self.members.chunk_by(together) {
            if let [saga] = group {
                self.alone[*saga as usize] = true;
            }
        }
    }

    /// The saga that stands for the group.
    pub(super) fn of(&self, saga: u32) -> u32 {
        self.towards[saga as usize]
    }

    /// Every saga of the group, in the order in which they were recorded first.
    pub(super) fn members(&self, group: u32) -> &[u32] {
        let of = |saga: &u32| self.towards[*saga as usize];
        let first = self.members.partition_point(|saga| of(saga) < group);
        let rest = &self.members[first..];
        &rest[..rest.partition_point(|saga| of(saga) == group)]
    }

    pub(super) fn is_alone(&self, saga: u32) -> bool {
        self.alone[saga as usize]
    }

    fn join(&mut self, one: u32, other: u32) {
        let (one, other) = (self.find(one), self.find(other));
        // The first stands for all, so that groups are in the order of the recording.
        self.towards[one.max(other) as usize] = one.min(other);
    }

    fn find(&mut self, saga: u32) -> u32 {
        let mut at = saga;
        while self.towards[at as usize] != at {
            let next = self.towards[self.towards[at as usize] as usize];
            self.towards[at as usize] = next;
            at = next;
        }
        at
    }
}

/// Hashes of what the message is about: a ticket or two, a registration, a user's place.
fn resources_of(event: &Event) -> [Option<u64>; 4] {
    let asked = event.message.particulars();
    // Who only has a ticket, or was refused one, does not compete for the place.
    let place = match &event.message {
        Message::TicketPurchased(m) => Some((m.user_id, m.ticket_id)),
        Message::TicketHeld(m) => Some((m.user_id, m.ticket_id)),
        Message::NewTicketHeld(m) => Some((m.user_id, m.ticket_id)),
        _ => None,
    };
    let old = match &event.message {
        Message::ChangeRegistration(m) => Some(m.from),
        Message::RegistrationCancelled(m) => m.freed.map(|freed| freed.ticket),
        _ => None,
    };
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    [
        place.map(|place| hasher.hash_one(("place", place.0.0, place.1.0))),
        asked.user_ticket_id.map(|id| hasher.hash_one(id.0)),
        old.map(|id| hasher.hash_one(id.0)),
        asked.regist_id.map(|id| hasher.hash_one(id.0)),
    ]
}
