//! Lets the commands that begin sagas in by groups, while many come at once.
//!
//! A group of commands that left in one message stays together on its way: the next participant
//! takes it as one batch, in one transaction, and its results are a message or two again. Such a
//! convoy costs all processes together the same few milliseconds of processor whether it holds two
//! sagas or two hundred, so many small ones fill the machine, and each waits for the others. Fewer
//! and larger ones take less of it, and arrive sooner (docs/decisions/0014-convoys.md).
//!
//! So after a group the entrance is closed for a moment, and what comes gathers. It is never closed
//! to a message with as many events as one may have, and never by a command that came alone: who is
//! alone with one saga after the other waits for nothing.

use std::time::Duration;

use events::{Class, Route};
use tokio::time::{Instant, sleep_until};

/// How long the entrance is closed for each command that was let in: about what two of them are
/// worth to a convoy. So a small group, whose sagas would end sooner than others gather, holds
/// nobody up.
const PACE: Duration = Duration::from_micros(500);
/// The longest that a command gathers: what a convoy of sixty takes at most from the gateway's callers
/// through all services and back to them, so that they come in time for the next one. It costs some
/// 5 ms of processor, so no entrance takes more than a quarter of two processors for itself.
const PACE_LIMIT: Duration = Duration::from_millis(10);

/// One for each publishing connection.
#[derive(Debug, Default)]
pub(super) struct Entrance {
    closed_until: Option<Instant>,
}

impl Entrance {
    /// Whether a message on this route may leave. `is_full` says that no more would go into it.
    pub(super) fn admits(&self, route: &Route, is_full: bool) -> bool {
        route.class == Class::Event || is_full || self.closed_until.is_none()
    }

    /// So many events left in one message.
    pub(super) fn admitted(&mut self, route: &Route, events: usize) {
        if route.class == Class::Command && events > 1 {
            let events = u32::try_from(events).unwrap_or(u32::MAX);
            let pace = PACE.saturating_mul(events).min(PACE_LIMIT);
            self.closed_until = Some(Instant::now() + pace);
        }
    }

    /// Resolves when it is to be opened; never, while it is open. It stays closed until somebody
    /// does so: two looks at the clock could disagree, and what was held back by the first would
    /// wait for the second in vain.
    pub(super) fn opening(&self) -> impl Future<Output = ()> + use<> {
        let closed_until = self.closed_until;
        async move {
            match closed_until {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }

    pub(super) fn open(&mut self) {
        self.closed_until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(class: Class) -> Route {
        let key = "a-key".into();
        Route { class, key }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_group_commands_gather_for_a_moment_and_then_leave() {
        let (mut entrance, command) = (Entrance::default(), route(Class::Command));
        assert!(entrance.admits(&command, false));
        entrance.admitted(&command, 4);
        assert!(!entrance.admits(&command, false));
        let closed = Instant::now();
        entrance.opening().await;
        assert_eq!(closed.elapsed(), 4 * PACE);
        entrance.open();
        assert!(entrance.admits(&command, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_group_closes_it_for_no_longer_than_the_limit() {
        let mut entrance = Entrance::default();
        entrance.admitted(&route(Class::Command), usize::MAX);
        let closed = Instant::now();
        entrance.opening().await;
        assert_eq!(closed.elapsed(), PACE_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_came_alone_and_an_event_close_nothing() {
        let (mut entrance, command) = (Entrance::default(), route(Class::Command));
        entrance.admitted(&command, 1);
        entrance.admitted(&route(Class::Event), 100);
        assert!(entrance.admits(&command, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_message_and_an_event_wait_for_nothing() {
        let mut entrance = Entrance::default();
        entrance.admitted(&route(Class::Command), 100);
        assert!(entrance.admits(&route(Class::Command), true));
        assert!(entrance.admits(&route(Class::Event), false));
        entrance.open();
        assert!(entrance.admits(&route(Class::Command), false));
    }
}
