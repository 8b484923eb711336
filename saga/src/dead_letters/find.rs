//! Parked messages one by one, a page of them.

use super::{DeadLetterError, DeadLetters, Parked, Selection};

/// A page of what is selected, as it lies there, and how much there is on all pages.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub messages: Vec<Parked>,
    pub total: usize,
}

/// What is selected, without the first `skip` and no more than `limit`. Keeps no other message.
pub async fn find(
    letters: &mut dyn DeadLetters,
    selection: &Selection,
    skip: usize,
    limit: usize,
) -> Result<Found, DeadLetterError> {
    let mut found = Found::default();
    for queue in selection.queues(letters.queues())? {
        let mut keep = |parked: &Parked| {
            if !selection.has(parked) {
                return;
            }
            if found.total >= skip && found.messages.len() < limit {
                found.messages.push(parked.clone());
            }
            found.total += 1;
        };
        letters.look(&queue, &mut keep).await?;
    }
    Ok(found)
}
