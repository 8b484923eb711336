//! Who plays in a replay: the participants, each over a database of its own in memory, and the clock
//! and the ids that the replay hands them.
//!
//! The rules are the shipped ones, or others: that is how changed code is held against a recording.
//! A new participant is a line in [`Cast::with_rules`] and its rows in [`super::books`].

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use events::choreography::Service;
use events::{Event, SagaId, UserTicketId};
use regist_worker::decide::{Effect as RegistEffect, RegistDecider, Registrations};
use regist_worker::memory::MemoryStore as Regists;
use saga::decision::{Changes, Decider, Moment, Snapshot};
use saga::failure::Failure;
use saga::participant::{Participant, Worker};
use saga::store::Store;
use ticket_worker::decide::{Effect as TicketEffect, TicketDecider, Tickets};
use ticket_worker::memory::MemoryStore as UserTickets;

/// The participants of one replay.
pub struct Cast {
    clock: Clock,
    pub(super) tickets: UserTickets,
    pub(super) regists: Regists,
    roles: Vec<Role>,
}

struct Role {
    service: Service,
    start: Start,
    playing: Box<dyn Participant>,
}

/// Starts a life of a participant; what it wrote before is there.
type Start = Box<dyn Fn() -> Box<dyn Participant>>;

/// The moment of the next decision, set by the replay.
#[derive(Clone)]
struct Clock(Arc<Mutex<Moment>>);

impl Cast {
    /// The participants as they are.
    pub fn as_shipped() -> Self {
        Self::with_rules(|| TicketDecider, || RegistDecider)
    }

    /// The participants with these rules, which are made anew for each life.
    pub fn with_rules<T, R>(
        tickets: impl Fn() -> T + 'static,
        regists: impl Fn() -> R + 'static,
    ) -> Self
    where
        T: Decider<Facts = Tickets, Effect = TicketEffect>,
        R: Decider<Facts = Registrations, Effect = RegistEffect>,
    {
        let clock = Clock(Arc::new(Mutex::new(Moment::now())));
        let (user_tickets, regist) = (UserTickets::default(), Regists::default());
        Self {
            roles: vec![
                Role::of(&clock, TicketStore(user_tickets.clone()), tickets),
                Role::of(&clock, RegistStore(regist.clone()), regists),
            ],
            clock,
            tickets: user_tickets,
            regists: regist,
        }
    }

    /// Puts something between a participant and the replay.
    #[must_use]
    pub fn wrapped(
        mut self,
        service: Service,
        wrap: impl Fn(Box<dyn Participant>) -> Box<dyn Participant> + 'static,
    ) -> Self {
        if let Some(at) = self.roles.iter().position(|role| role.service == service) {
            let Role { start, .. } = self.roles.remove(at);
            let start: Start = Box::new(move || wrap(start()));
            let playing = start();
            self.roles.push(Role {
                service,
                start,
                playing,
            });
        }
        self
    }

    /// Hands one event to its participant at this moment.
    pub(super) async fn react(
        &self,
        service: Service,
        event: &Event,
        moment: Moment,
    ) -> Result<Event, Failure> {
        *self.clock.0.lock().expect("nothing panics here") = moment;
        let role = self.roles.iter().find(|role| role.service == service);
        let role = role.ok_or_else(|| Failure::handling(NotCast(service.0)))?;
        let mut replies = role.playing.react(std::slice::from_ref(event)).await?;
        replies.pop().ok_or_else(|| Failure::handling(NoReply))
    }

    /// Ends this life of a participant and starts the next one.
    pub(super) fn crash(&mut self, service: Service) {
        for role in &mut self.roles {
            if role.service == service {
                role.playing = (role.start)();
            }
        }
    }

    /// Lets go of what nobody will ask for again.
    pub(super) fn forget(&self, sagas: &[SagaId], tickets: &[UserTicketId]) {
        self.tickets.forget(sagas, tickets);
        self.regists.forget(sagas, tickets);
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0} does not play in this replay")]
struct NotCast(&'static str);

#[derive(Debug, thiserror::Error)]
#[error("it answered nothing")]
struct NoReply;

impl Role {
    fn of<D: Decider>(
        clock: &Clock,
        store: impl Store<D> + Clone,
        rules: impl Fn() -> D + 'static,
    ) -> Self {
        let clock = clock.clone();
        let start: Start = Box::new(move || {
            let clock = clock.clone();
            Box::new(Worker {
                decider: rules(),
                store: store.clone(),
                clock: move || *clock.0.lock().expect("nothing panics here"),
            })
        });
        Self {
            service: D::SERVICE,
            playing: start(),
            start,
        }
    }
}

/// The store of the shipped rules, for any rules over the same facts and effects.
#[derive(Clone)]
struct TicketStore(UserTickets);

#[derive(Clone)]
struct RegistStore(Regists);

#[async_trait]
impl<D> Store<D> for TicketStore
where
    D: Decider<Facts = Tickets, Effect = TicketEffect>,
{
    async fn load(&self, events: &[Event]) -> Result<Snapshot<Tickets>, Failure> {
        Store::<TicketDecider>::load(&self.0, events).await
    }

    async fn commit(&self, changes: &Changes<TicketEffect>) -> Result<(), Failure> {
        Store::<TicketDecider>::commit(&self.0, changes).await
    }
}

#[async_trait]
impl<D> Store<D> for RegistStore
where
    D: Decider<Facts = Registrations, Effect = RegistEffect>,
{
    async fn load(&self, events: &[Event]) -> Result<Snapshot<Registrations>, Failure> {
        Store::<RegistDecider>::load(&self.0, events).await
    }

    async fn commit(&self, changes: &Changes<RegistEffect>) -> Result<(), Failure> {
        Store::<RegistDecider>::commit(&self.0, changes).await
    }
}
