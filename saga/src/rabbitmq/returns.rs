//! What has come back to this process of the sagas that it began: so that its
//! [`entrance`](super::entrance) knows when a group is back and who comes after it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::SagaId;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// How long callers of the gateway need to come again. Those who have not by then may never, and the
/// others wait no longer for them.
const GRACE: Duration = Duration::from_millis(5);

/// Shared by the consumer of replies, which sees sagas end, and the entrance.
#[derive(Debug, Default)]
pub(super) struct Returns {
    returned: Mutex<Returned>,
    are_back: Notify,
}

#[derive(Debug, Default)]
struct Returned {
    /// How many sagas the last group had.
    group: usize,
    /// Those of them that have not ended.
    out: HashSet<SagaId>,
    /// Since when most of it are back.
    back: Option<Instant>,
    /// How many sagas have ended since it left, whichever.
    ended: usize,
}

impl Returns {
    /// A group left. Whatever is still out of the one before it is not waited for.
    pub(super) fn left(&self, group: impl Iterator<Item = SagaId>) {
        let mut returned = self.lock();
        returned.out.clear();
        returned.out.extend(group);
        returned.group = returned.out.len();
        returned.back = None;
        returned.ended = 0;
    }

    pub(super) fn ended(&self, sagas: impl Iterator<Item = SagaId>) {
        let mut returned = self.lock();
        for saga in sagas {
            returned.ended += 1;
            returned.out.remove(&saga);
        }
        // The refused have further to go, and are not waited for.
        if returned.back.is_none() && returned.out.len() * 4 <= returned.group {
            returned.back = Some(Instant::now());
            self.are_back.notify_waiters();
        }
    }

    /// Whether most of the last group are back, and so many commands come after all that have ended
    /// since: one for each, as from callers who begin a saga when one has ended.
    pub(super) fn are_followed_by(&self, commands: usize) -> bool {
        let returned = self.lock();
        returned.back.is_some() && commands >= returned.ended
    }

    /// Resolves when most of the last group have been back for long enough.
    pub(super) async fn have_been_waited_for(&self) {
        loop {
            let are_back = self.are_back.notified();
            let back = self.lock().back;
            match back {
                Some(back) => return sleep_until(back + GRACE).await,
                None => are_back.await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Returned> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sagas(number: usize) -> Vec<SagaId> {
        std::iter::repeat_with(SagaId::mint).take(number).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_long_for_those_who_do_not_come_again() {
        let (returns, group) = (Returns::default(), sagas(4));
        returns.left(group.iter().copied());
        let mut waiting = std::pin::pin!(returns.have_been_waited_for());
        let limit = Duration::from_secs(1);
        assert!(tokio::time::timeout(limit, &mut waiting).await.is_err());
        returns.ended(group.into_iter());
        let back = Instant::now();
        waiting.await;
        assert_eq!(back.elapsed(), GRACE);
    }

    #[test]
    fn a_group_is_followed_when_most_of_it_are_back_and_as_many_come_again() {
        let (returns, group) = (Returns::default(), sagas(8));
        returns.left(group.iter().copied());
        returns.ended(group[..5].iter().copied());
        assert!(!returns.are_followed_by(8), "three of eight are out");
        returns.ended(group[5..6].iter().copied());
        assert!(!returns.are_followed_by(5), "one has not come again");
        assert!(returns.are_followed_by(6));
    }

    #[test]
    fn stragglers_of_a_group_before_are_no_part_of_it_but_may_come_again() {
        let (returns, first, second) = (Returns::default(), sagas(4), sagas(4));
        returns.left(first.iter().copied());
        returns.left(second.iter().copied());
        returns.ended(first.iter().copied());
        assert!(!returns.are_followed_by(4), "all of the second are out");
        returns.ended(second.iter().copied());
        assert!(!returns.are_followed_by(7));
        assert!(returns.are_followed_by(8));
    }
}
