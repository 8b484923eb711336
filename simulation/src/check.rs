//! What must hold when a world has come to rest. Judged by what the databases and the journal hold,
//! not by what anybody said on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use events::choreography::{Outcome, PURCHASE_AND_REGISTER, Saga, saga_of};
use events::{Event, Message, MessageType, Reason, SagaId, TicketId, Timestamp, UserId};
use regist_worker::decide::Regist;
use saga::decision::{Decision, Reply};
use ticket_worker::memory::Row;

use crate::broker::Broker;
use crate::fit::misfits;
use crate::orders::Order;
use crate::replica::Ground;
use crate::routes::Call;
use crate::world::Asked;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// No end of it was ever published.
    NoEnd(SagaId),
    DifferentEnds(SagaId, Vec<MessageType>),
    /// The same message was published with different words.
    NotToTheLetter(SagaId, MessageType),
    /// A decision was stored, and what it says was never published.
    NotPublished(SagaId, MessageType),
    /// A live ticket whose saga has no live registration.
    TicketWithoutRegistration(SagaId),
    /// A live registration whose ticket is deleted, or was never there.
    RegistrationWithoutTicket(SagaId),
    /// Of another user, or for another ticket on sale.
    RegistrationOfAnotherTicket(SagaId),
    /// Its ticket could be changed, or registered with again.
    TicketNotHeld(SagaId),
    /// A live ticket is held by a saga that has no registration with it.
    HeldForNothing(SagaId),
    /// It was undone, and has a live ticket all the same.
    TombstonedTicketLives(SagaId),
    RegisteredTwice(UserId, TicketId),
    /// It ended as completed without a registration, or as something else with one.
    UntrueEnd(SagaId, Outcome),
    /// It was refused because its user is registered, and the user is not.
    RefusedWithoutCause(SagaId),
    /// Acknowledged as done before its answer was published.
    AcknowledgedTooEarly(SagaId, MessageType),
    /// Dead-lettered although its handling would have succeeded.
    ParkedWithoutCause(SagaId),
    /// A readable message was left in a dead-letter queue after it was requeued.
    LeftParked(SagaId),
    UnreadableDone,
    /// Old messages were delivered again, and now it looks different.
    ReplayChangedTheWorld,
    /// Messages got lost, or came from nowhere.
    BooksDoNotBalance {
        entered: u64,
        left: u64,
        in_flight: u64,
    },
    Stuck {
        in_flight: u64,
    },
    BadStop(&'static str, String),
}

impl Violation {
    /// The saga to look at.
    pub fn saga(&self) -> Option<SagaId> {
        match self {
            Self::NoEnd(saga)
            | Self::DifferentEnds(saga, _)
            | Self::NotToTheLetter(saga, _)
            | Self::NotPublished(saga, _)
            | Self::TicketWithoutRegistration(saga)
            | Self::RegistrationWithoutTicket(saga)
            | Self::RegistrationOfAnotherTicket(saga)
            | Self::TicketNotHeld(saga)
            | Self::HeldForNothing(saga)
            | Self::TombstonedTicketLives(saga)
            | Self::UntrueEnd(saga, _)
            | Self::RefusedWithoutCause(saga)
            | Self::AcknowledgedTooEarly(saga, _)
            | Self::ParkedWithoutCause(saga)
            | Self::LeftParked(saga) => Some(*saga),
            Self::RegisteredTwice(..)
            | Self::UnreadableDone
            | Self::ReplayChangedTheWorld
            | Self::BooksDoNotBalance { .. }
            | Self::Stuck { .. }
            | Self::BadStop(..) => None,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// How the sagas of a world ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    pub completed: u64,
    pub rejected: u64,
    pub compensated: u64,
}

impl Outcomes {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Completed => self.completed += 1,
            Outcome::Rejected => self.rejected += 1,
            Outcome::Compensated => self.compensated += 1,
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.completed += other.completed;
        self.rejected += other.rejected;
        self.compensated += other.compensated;
    }
}

/// What a message says and when it was decided, by saga and type, once for each wording.
type Said<'a> = BTreeMap<(SagaId, MessageType), Vec<(&'a Message, Timestamp)>>;

/// A world at rest.
struct Judge<'a> {
    said: Said<'a>,
    live_tickets: BTreeSet<SagaId>,
    regists: Vec<Regist>,
    registered: BTreeSet<SagaId>,
    decisions: Vec<Decision>,
    violations: Vec<Violation>,
    /// No plain route was called: tickets and registrations are as the orders left them.
    undisturbed: bool,
}

/// How the sagas ended, and what the databases hold then: the same, however often a message is
/// delivered after that.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) outcomes: Outcomes,
    tickets: Vec<Row>,
    regists: Vec<Regist>,
    decisions: Vec<Decision>,
}

/// Judges a world at rest. None means that it broke the promise, in the ways that are written down.
pub(crate) fn judge(ground: &Ground, asked: &Asked) -> Option<Verdict> {
    let broker = ground.broker.lock();
    let tickets = ground.tickets.tickets();
    let live = tickets.iter().filter(|row| row.ticket.deleted_at.is_none());
    let regists = ground.regists.regists();
    let mut decisions = ground.tickets.decisions();
    decisions.extend(ground.regists.decisions());
    let mut judge = Judge {
        said: said(&broker.journal),
        live_tickets: live.map(|row| row.saga_id).collect(),
        registered: regists.iter().map(|regist| regist.saga_id).collect(),
        regists,
        decisions,
        violations: Vec::new(),
        undisturbed: asked.calls.is_empty(),
    };
    judge.violations = misfits(&tickets, &judge.regists);
    judge.messages();
    judge.data();
    judge.books(&broker);
    let mut outcomes = Outcomes::default();
    for call in &asked.calls {
        judge.end_of_call(call);
    }
    for order in &asked.orders {
        if let Some(outcome) = judge.end(order) {
            outcomes.count(outcome);
        }
    }
    let Judge {
        regists,
        decisions,
        violations,
        ..
    } = judge;
    for violation in violations {
        ground.fate.violated(violation);
    }
    ground.fate.is_sound().then_some(Verdict {
        outcomes,
        tickets,
        regists,
        decisions,
    })
}

fn said(journal: &[Arc<Event>]) -> Said<'_> {
    let mut said = Said::new();
    for event in journal {
        let wordings = said
            .entry((event.saga_id, event.message_type()))
            .or_default();
        let wording = (&event.message, event.time);
        if !wordings.contains(&wording) {
            wordings.push(wording);
        }
    }
    said
}

impl Judge<'_> {
    /// Every message was said in one way, and every decision was said.
    fn messages(&mut self) {
        for ((saga, message_type), wordings) in &self.said {
            if wordings.len() > 1 {
                let violation = Violation::NotToTheLetter(*saga, *message_type);
                self.violations.push(violation);
            }
        }
        for decision in &self.decisions {
            for Reply { message, at } in decision.step.iter().chain(&decision.undo) {
                let key = (decision.saga_id, message.message_type());
                let wordings = self.said.get(&key);
                if wordings.is_none_or(|wordings| !wordings.contains(&(message, *at))) {
                    self.violations.push(Violation::NotPublished(key.0, key.1));
                }
            }
        }
    }

    /// Tickets and registrations are those of the same sagas, unless plain routes were called.
    fn data(&mut self) {
        let lonely = self.live_tickets.difference(&self.registered);
        let lonely = lonely.map(|saga| Violation::TicketWithoutRegistration(*saga));
        let lonely = lonely.filter(|_| self.undisturbed);
        let undone = self.decisions.iter().filter(|row| row.undo.is_some());
        let risen = undone.filter(|row| self.live_tickets.contains(&row.saga_id));
        let risen = risen.map(|row| Violation::TombstonedTicketLives(row.saga_id));
        let found: Vec<_> = lonely.chain(risen).collect();
        self.violations.extend(found);
        let mut seen = BTreeSet::new();
        for Regist {
            user_id, ticket_id, ..
        } in &self.regists
        {
            if !seen.insert((user_id, ticket_id)) {
                self.violations
                    .push(Violation::RegisteredTwice(*user_id, *ticket_id));
            }
        }
    }

    fn books(&mut self, broker: &Broker) {
        let (ledger, in_flight) = (&broker.ledger, broker.in_flight());
        if ledger.entered() != ledger.left() + in_flight {
            self.violations.push(Violation::BooksDoNotBalance {
                entered: ledger.entered(),
                left: ledger.left(),
                in_flight,
            });
        }
        let letters = broker.parked.iter();
        let left = letters.filter_map(|letter| letter.event.as_deref());
        self.violations
            .extend(left.map(|event| Violation::LeftParked(event.saga_id)));
    }

    /// The saga has one end, and it is true.
    fn end(&mut self, order: &Order) -> Option<Outcome> {
        let saga = order.saga;
        let outcome = self.one_end(saga, &PURCHASE_AND_REGISTER)?;
        let completed = outcome == Outcome::Completed;
        let untrue = self.undisturbed && completed != self.registered.contains(&saga);
        if untrue || (completed && order.overtaken) {
            self.violations.push(Violation::UntrueEnd(saga, outcome));
        }
        let refused = self.undisturbed && self.was_refused_as_registered(saga);
        if refused && !self.is_registered(order) {
            self.violations.push(Violation::RefusedWithoutCause(saga));
        }
        Some(outcome)
    }

    /// A call that found nothing to change is no saga.
    fn end_of_call(&mut self, call: &Call) {
        let mut said = self.said.keys().filter(|(saga, _)| *saga == call.saga);
        let kind = said.find_map(|(_, message)| saga_of(*message));
        if let Some(kind) = kind {
            self.one_end(call.saga, kind);
        }
    }

    fn one_end(&mut self, saga: SagaId, kind: &Saga) -> Option<Outcome> {
        let ends = kind.ends.iter();
        let ends: Vec<_> = ends
            .filter(|end| self.said.contains_key(&(saga, end.on)))
            .collect();
        if let [end] = ends[..] {
            return Some(end.outcome);
        }
        self.violations.push(match &ends[..] {
            [] => Violation::NoEnd(saga),
            several => Violation::DifferentEnds(saga, several.iter().map(|end| end.on).collect()),
        });
        None
    }

    fn was_refused_as_registered(&self, saga: SagaId) -> bool {
        let refusals = self.said.get(&(saga, MessageType::RegistrationFailed));
        refusals
            .into_iter()
            .flatten()
            .any(|(message, _)| message.particulars().reason == Some(&Reason::ALREADY_REGISTERED))
    }

    fn is_registered(&self, order: &Order) -> bool {
        let same = |r: &Regist| (r.user_id, r.ticket_id) == (order.user, order.ticket);
        self.regists.iter().any(same)
    }
}
