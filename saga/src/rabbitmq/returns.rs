//! What has come back to this process of the sagas that it began: so that its
//! [`entrance`](super::entrance) knows when a group is back and who comes after it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::SagaId;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// How long the others wait for those who have not come again, who may never. A compromise:
/// callers of the gateway need 2 to 7 ms, and whoever waits here loses what the slow ones gain.
pub(super) const GRACE: Duration = Duration::from_millis(5);

/// Shared by the consumer of replies, which sees sagas end, and the entrance.
#[derive(Debug, Default)]
pub(super) struct Returns {
    returned: Mutex<Returned>,
    /// Most of the last group are back.
    change: Notify,
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
            self.change.notify_waiters();
        }
    }

    /// Resolves when most of the last group are back and so many commands come after all sagas that
    /// have ended since: one for each, as from callers who begin a saga when one has ended. And when
    /// they have been back for long enough, whoever comes.
    pub(super) async fn are_back(&self, commands: usize) {
        loop {
            let change = self.change.notified();
            let (back, ended) = {
                let returned = self.lock();
                (returned.back, returned.ended)
            };
            match back {
                Some(_) if commands >= ended => return,
                Some(back) => return sleep_until(back + GRACE).await,
                None => change.await,
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

    /// How long so many commands wait for the last group.
    async fn wait(returns: &Returns, commands: usize) -> Option<Duration> {
        let (since, limit) = (Instant::now(), Duration::from_secs(1));
        let waited = tokio::time::timeout(limit, returns.are_back(commands)).await;
        waited.is_ok().then(|| since.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_long_for_those_who_do_not_come_again() {
        let (returns, group) = (Returns::default(), sagas(4));
        returns.left(group.iter().copied());
        assert_eq!(wait(&returns, 3).await, None, "all are out");
        let (waited, ()) = tokio::join!(wait(&returns, 3), async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            returns.ended(group.into_iter());
        });
        assert_eq!(waited, Some(Duration::from_millis(2) + GRACE));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_there_when_a_group_comes_back_waits_no_longer() {
        let (returns, group) = (Returns::default(), sagas(4));
        returns.left(group.iter().copied());
        let (waited, ()) = tokio::join!(wait(&returns, 4), async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            returns.ended(group.into_iter());
        });
        assert_eq!(waited, Some(Duration::from_millis(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_is_back_when_most_of_it_are_and_as_many_come_again() {
        let (returns, group) = (Returns::default(), sagas(8));
        returns.left(group.iter().copied());
        returns.ended(group[..5].iter().copied());
        assert_eq!(wait(&returns, 8).await, None, "three of eight are out");
        returns.ended(group[5..6].iter().copied());
        assert_eq!(wait(&returns, 6).await, Some(Duration::ZERO));
        let one_has_not_come_again = wait(&returns, 5).await;
        assert_eq!(one_has_not_come_again, Some(GRACE));
    }

    #[tokio::test(start_paused = true)]
    async fn stragglers_of_a_group_before_are_no_part_of_it_but_may_come_again() {
        let (returns, first, second) = (Returns::default(), sagas(4), sagas(4));
        returns.left(first.iter().copied());
        returns.left(second.iter().copied());
        returns.ended(first.iter().copied());
        assert_eq!(wait(&returns, 4).await, None, "all of the second are out");
        returns.ended(second.iter().copied());
        assert_eq!(wait(&returns, 8).await, Some(Duration::ZERO));
        assert_eq!(wait(&returns, 7).await, Some(GRACE));
    }
}
