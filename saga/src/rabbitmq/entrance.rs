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
//! than a moment, come back or not. The entrance is never closed to a message that is full, by events
//! or by bytes, and never by a command that came alone: who is alone with one saga after the other
//! waits for nothing.

use std::sync::Arc;
use std::time::Duration;

use events::{Class, Route, SagaId};
use tokio::time::{Instant, sleep_until};

use super::returns::Returns;

/// How long the entrance is closed at most for each command that was let in. So a small group, whose
/// sagas would end sooner than others gather, holds nobody up for long.
const PACE: Duration = Duration::from_millis(1);
/// The longest that a command waits here: what a convoy of sixty takes through all services in a slow
/// hour, and its callers back to the gateway.
const PACE_LIMIT: Duration = Duration::from_millis(20);

/// What the commands of one backlog wait at.
#[derive(Debug, Default)]
pub(super) struct Entrance {
    closed_until: Option<Instant>,
    /// Since when somebody waits at the closed entrance.
    waits_since: Option<Instant>,
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

    /// An open one, without the group that was leaving.
    pub(super) fn anew(&self) -> Self {
        Self::new(&self.returns)
    }

    /// Whether a message on this route may leave. `is_full` says whether no more would go into it, and
    /// is only asked at the closed entrance.
    pub(super) fn admits(&self, route: &Route, is_full: impl FnOnce() -> bool) -> bool {
        route.class == Class::Event || self.closed_until.is_none() || is_full()
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

    /// As many have left as could, and commands on these routes wait. Closes behind a group, once all
    /// have left who may: those who only found no room belong to it. Full messages that left through
    /// the closed entrance keep it closed for longer, but not to others who wait there, and to nobody
    /// for longer than the limit.
    pub(super) fn close_behind_group<'a>(&mut self, waiting: impl Iterator<Item = &'a Route>) {
        let mut waiting = waiting.peekable();
        let somebody_waits = waiting.peek().is_some();
        if self.closed_until.is_none() && somebody_waits {
            // More leave as soon as there is room, and the last of them stand for all.
            self.group.sagas.clear();
            self.group.routes.clear();
            return;
        }
        let now = Instant::now();
        self.waits_since = somebody_waits.then(|| self.waits_since.unwrap_or(now));
        let group = std::mem::take(&mut self.group);
        if group.together && waiting.all(|route| group.routes.contains(route)) {
            let pace = PACE.saturating_mul(group.commands).min(PACE_LIMIT);
            let first_goes_at = self.waits_since.unwrap_or(now) + PACE_LIMIT;
            self.closed_until = Some(first_goes_at.min(now + pace));
            self.returns.left(group.sagas.into_iter());
        }
    }

    /// Resolves when it is to be opened to so many commands that wait, on all routes; never, while it
    /// is open. It stays closed until somebody does so: two looks at the clock could disagree, and what
    /// was held back by the first would wait for the second in vain.
    pub(super) fn opening(&self, commands: usize) -> impl Future<Output = ()> + use<> {
        let (closed_until, returns) = (self.closed_until, Arc::clone(&self.returns));
        async move {
            let Some(at) = closed_until else {
                return std::future::pending().await;
            };
            tokio::select! {
                () = sleep_until(at) => {}
                () = returns.are_back(commands) => {}
            }
        }
    }

    pub(super) fn open(&mut self) {
        self.closed_until = None;
        self.waits_since = None;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::super::returns::GRACE;
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
        entrance.close_behind_group(std::iter::empty());
        group
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_group_commands_gather_for_a_moment_and_then_leave() {
        let (mut entrance, command) = (Entrance::default(), route(Class::Command));
        assert!(entrance.admits(&command, || false));
        admit(&mut entrance, Class::Command, 4);
        assert!(!entrance.admits(&command, || false));
        let closed = Instant::now();
        entrance.opening(1).await;
        assert_eq!(closed.elapsed(), 4 * PACE);
        entrance.open();
        assert!(entrance.admits(&command, || false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_group_closes_it_for_no_longer_than_the_limit() {
        let mut entrance = Entrance::default();
        admit(&mut entrance, Class::Command, 1000);
        let closed = Instant::now();
        entrance.opening(1).await;
        assert_eq!(closed.elapsed(), PACE_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_come_again_after_a_group_wait_for_no_clock() {
        let returns = Arc::new(Returns::default());
        let mut entrance = Entrance::new(&returns);
        let group = admit(&mut entrance, Class::Command, 4);
        returns.ended(group.into_iter());
        let is_opened_to =
            |entrance: &Entrance, commands| entrance.opening(commands).now_or_never().is_some();
        assert!(!is_opened_to(&entrance, 3), "one is still to come");
        assert!(is_opened_to(&entrance, 4));
        entrance.open();
        admit(&mut entrance, Class::Command, 4);
        assert!(!is_opened_to(&entrance, 4), "closed by the next group");
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_to_a_command_that_waits_when_the_group_is_back_and_does_not_come_again() {
        let returns = Arc::new(Returns::default());
        let mut entrance = Entrance::new(&returns);
        let group = admit(&mut entrance, Class::Command, 100);
        let closed = Instant::now();
        tokio::join!(entrance.opening(1), async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            returns.ended(group.into_iter());
        });
        assert_eq!(closed.elapsed(), Duration::from_millis(2) + GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn it_stays_open_while_those_who_may_leave_find_no_room_and_they_close_it_with_the_rest()
    {
        let (mut entrance, command) = (Entrance::default(), route(Class::Command));
        entrance.admitted(&command, 4, sagas(4).into_iter());
        entrance.close_behind_group([&command].into_iter());
        assert!(entrance.admits(&command, || false));
        // One more leaves, and nobody waits.
        admit(&mut entrance, Class::Command, 1);
        let closed = Instant::now();
        entrance.opening(0).await;
        assert_eq!(closed.elapsed(), 5 * PACE);
    }

    #[tokio::test(start_paused = true)]
    async fn full_messages_that_leave_hold_nobody_up_for_longer_than_the_limit() {
        let (mut entrance, command) = (Entrance::default(), route(Class::Command));
        admit(&mut entrance, Class::Command, 100);
        let closed = Instant::now();
        for _ in 0..3 {
            entrance.admitted(&command, 100, sagas(100).into_iter());
            entrance.close_behind_group([&command].into_iter());
            tokio::time::sleep(Duration::from_millis(6)).await;
        }
        entrance.opening(1).await;
        assert_eq!(closed.elapsed(), PACE_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_came_alone_and_an_event_close_nothing() {
        let (mut entrance, command) = (Entrance::default(), route(Class::Command));
        admit(&mut entrance, Class::Command, 1);
        admit(&mut entrance, Class::Event, 100);
        assert!(entrance.admits(&command, || false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_message_and_an_event_wait_for_nothing() {
        let (mut entrance, command) = (Entrance::default(), route(Class::Command));
        admit(&mut entrance, Class::Command, 100);
        assert!(entrance.admits(&command, || true));
        assert!(entrance.admits(&route(Class::Event), || false));
        entrance.open();
        assert!(entrance.admits(&command, || false));
    }
}
