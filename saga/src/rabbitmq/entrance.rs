//! Lets the commands that begin sagas in by groups, while many come at once.
//!
//! A group of commands that left in one message stays together on its way: the next participant
//! takes it as one batch, in one transaction, and its results are a message or two again. Such a
//! convoy costs all processes together the same few milliseconds of processor whether it holds two
//! sagas or two hundred, so many small ones fill the machine, and each waits for the others. Fewer
//! and larger ones take less of it, and arrive sooner (docs/decisions/0014-convoys.md).
//!
//! So after a group the entrance is closed, and what comes gathers, until the group is back and those
//! who waited for it have come again ([`Returns`]): they make the next one. Nobody is held for longer
//! than a moment, come back or not. The entrance is never closed to a message with as many events as
//! one may have, and never by a command that came alone: who is alone with one saga after the other
//! waits for nothing.

use std::sync::Arc;
use std::time::Duration;

use events::{Class, Route, SagaId};
use tokio::time::{Instant, sleep_until};

use super::returns::Returns;

/// How long the entrance is closed at most for each command that was let in. So a small group, whose
/// sagas would end sooner than others gather, holds nobody up for long.
const PACE: Duration = Duration::from_millis(1);
/// The longest that a command gathers: what a convoy of sixty takes through all services in a slow
/// hour, and its callers back to the gateway.
const PACE_LIMIT: Duration = Duration::from_millis(20);

/// One for each publishing connection.
#[derive(Debug, Default)]
pub(super) struct Entrance {
    closed_until: Option<Instant>,
    /// Who has left of those who leave now, by any route.
    group: Group,
    returns: Arc<Returns>,
}

#[derive(Debug, Default)]
struct Group {
    /// Whether some came together. Those who come one by one are no crowd.
    together: bool,
    commands: u32,
    sagas: Vec<SagaId>,
    routes: Vec<Route>,
}

impl Entrance {
    pub(super) fn new(returns: &Arc<Returns>) -> Self {
        Self {
            returns: Arc::clone(returns),
            ..Self::default()
        }
    }

    /// Opens it if those who were waited for are there: so many commands wait, on all routes.
    pub(super) fn look(&mut self, commands: usize) {
        if self.closed_until.is_some() && self.returns.are_followed_by(commands) {
            self.open();
        }
    }

    /// Whether a message on this route may leave. `is_full` says that no more would go into it.
    pub(super) fn admits(&self, route: &Route, is_full: bool) -> bool {
        route.class == Class::Event || is_full || self.closed_until.is_none()
    }

    /// So many events left in one message, for these sagas.
    pub(super) fn admitted(
        &mut self,
        route: &Route,
        events: usize,
        sagas: impl Iterator<Item = SagaId>,
    ) {
        if route.class == Class::Command {
            let events = u32::try_from(events).unwrap_or(u32::MAX);
            self.group.together |= events > 1;
            self.group.commands = self.group.commands.saturating_add(events);
            self.group.sagas.extend(sagas);
            self.group.routes.push(route.clone());
        }
    }

    /// As many have left as could; commands on these routes wait. Closes behind a group, but not while
    /// there are others who may leave and only found no room. Full messages that left through the
    /// closed entrance keep it closed for longer, unless others wait there.
    pub(super) fn close<'a>(&mut self, mut waiting: impl Iterator<Item = &'a Route>) {
        let Group {
            together,
            commands,
            sagas,
            routes,
        } = std::mem::take(&mut self.group);
        let closes = match self.closed_until {
            None => waiting.next().is_none(),
            Some(_) => waiting.all(|route| routes.contains(route)),
        };
        if together && closes {
            let pace = PACE.saturating_mul(commands).min(PACE_LIMIT);
            self.closed_until = Some(Instant::now() + pace);
            self.returns.left(sagas.into_iter());
        }
    }

    /// Resolves when it is to be opened; never, while it is open. It stays closed until somebody
    /// does so: two looks at the clock could disagree, and what was held back by the first would
    /// wait for the second in vain.
    pub(super) fn opening(&self) -> impl Future<Output = ()> + use<> {
        let (closed_until, returns) = (self.closed_until, Arc::clone(&self.returns));
        async move {
            let Some(at) = closed_until else {
                return std::future::pending().await;
            };
            tokio::select! {
                () = sleep_until(at) => {}
                () = returns.have_been_waited_for() => {}
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

    fn sagas(number: usize) -> Vec<SagaId> {
        std::iter::repeat_with(SagaId::mint).take(number).collect()
    }

    /// Lets so many leave, all there are.
    fn admit(entrance: &mut Entrance, class: Class, number: usize) -> Vec<SagaId> {
        let group = sagas(number);
        entrance.admitted(&route(class), number, group.iter().copied());
        entrance.close(std::iter::empty());
        group
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_group_commands_gather_for_a_moment_and_then_leave() {
        let (mut entrance, command) = (Entrance::default(), route(Class::Command));
        assert!(entrance.admits(&command, false));
        admit(&mut entrance, Class::Command, 4);
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
        admit(&mut entrance, Class::Command, 1000);
        let closed = Instant::now();
        entrance.opening().await;
        assert_eq!(closed.elapsed(), PACE_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_come_again_after_a_group_wait_for_no_clock() {
        let returns = Arc::new(Returns::default());
        let (mut entrance, command) = (Entrance::new(&returns), route(Class::Command));
        let group = admit(&mut entrance, Class::Command, 4);
        returns.ended(group.into_iter());
        entrance.look(3);
        assert!(!entrance.admits(&command, false), "one is still to come");
        entrance.look(4);
        assert!(entrance.admits(&command, false));
        admit(&mut entrance, Class::Command, 4);
        entrance.look(4);
        assert!(
            !entrance.admits(&command, false),
            "closed by the next group"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_to_a_command_that_waits_when_the_group_is_back_and_does_not_come_again() {
        let returns = Arc::new(Returns::default());
        let mut entrance = Entrance::new(&returns);
        let group = admit(&mut entrance, Class::Command, 100);
        let closed = Instant::now();
        tokio::join!(entrance.opening(), async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            returns.ended(group.into_iter());
        });
        assert!(closed.elapsed() < PACE_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn it_stays_open_while_those_who_may_leave_find_no_room() {
        let (mut entrance, command) = (Entrance::default(), route(Class::Command));
        entrance.admitted(&command, 4, sagas(4).into_iter());
        entrance.close([&command].into_iter());
        assert!(entrance.admits(&command, false));
        // One more leaves, alone, and nobody waits.
        admit(&mut entrance, Class::Command, 1);
        assert!(
            entrance.admits(&command, false),
            "a lone one closes nothing"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_came_alone_and_an_event_close_nothing() {
        let (mut entrance, command) = (Entrance::default(), route(Class::Command));
        admit(&mut entrance, Class::Command, 1);
        admit(&mut entrance, Class::Event, 100);
        assert!(entrance.admits(&command, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_message_and_an_event_wait_for_nothing() {
        let (mut entrance, command) = (Entrance::default(), route(Class::Command));
        admit(&mut entrance, Class::Command, 100);
        assert!(entrance.admits(&command, true));
        assert!(entrance.admits(&route(Class::Event), false));
        entrance.open();
        assert!(entrance.admits(&command, false));
    }
}
