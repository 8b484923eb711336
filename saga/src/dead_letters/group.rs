//! What is parked, grouped by queue and cause.

use std::collections::BTreeMap;

use events::Timestamp;

use super::{Cause, DeadLetterError, DeadLetters, Parked, Selection};

/// The messages of one queue that were parked for the same cause.
#[derive(Clone, Debug)]
pub struct Group {
    pub queue: String,
    pub cause: Cause,
    pub count: usize,
    /// When the first and the last of them was parked, if that is known.
    pub oldest: Option<Timestamp>,
    pub newest: Option<Timestamp>,
    /// One of them.
    pub example: Parked,
}

impl Group {
    fn of(parked: &Parked) -> Self {
        Self {
            queue: parked.queue.clone(),
            cause: parked.cause(),
            count: 0,
            oldest: None,
            newest: None,
            example: parked.clone(),
        }
    }

    fn add(&mut self, parked: &Parked) {
        self.count += 1;
        let at = parked.last_failed_at;
        self.oldest = self.oldest.into_iter().chain(at).min();
        self.newest = self.newest.into_iter().chain(at).max();
    }
}

/// The groups of what is selected, by queue, the largest first. Keeps one message of each.
pub async fn groups(
    letters: &mut dyn DeadLetters,
    selection: &Selection,
) -> Result<Vec<Group>, DeadLetterError> {
    let mut all = Vec::new();
    for queue in selection.queues(letters.queues())? {
        let mut groups: BTreeMap<Cause, Group> = BTreeMap::new();
        let mut add = |parked: &Parked| {
            if selection.has(parked) {
                let group = groups.entry(parked.cause());
                group.or_insert_with(|| Group::of(parked)).add(parked);
            }
        };
        letters.look(&queue, &mut add).await?;
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        all.append(&mut groups);
    }
    Ok(all)
}
