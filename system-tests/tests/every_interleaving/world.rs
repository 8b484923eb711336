//! One state of the system: both databases, what the workers have in hand, and every message that
//! was ever published, each of which may be delivered again at any time.
//!
//! States are canonical: the same rows, hands and messages are the same state, however they came
//! about. Ids are fixed for that reason.

use std::collections::{BTreeMap, BTreeSet};

use events::choreography::{self, PURCHASE_AND_REGISTER, REGIST_WORKER, Service, TICKET_WORKER};
use events::{
    Event, Message, MessageType, PurchaseAndRegister, SagaId, TicketId, Timestamp, UserId,
    UserTicketId,
};
use uuid::Uuid;

use crate::database::{Database, Transaction};
use crate::kept::Kept;

/// Two sagas that want the same: one user, one ticket on sale.
pub(crate) const SAGAS: [SagaId; 2] = [SagaId(Uuid::from_u128(0xa)), SagaId(Uuid::from_u128(0xb))];
const USER: UserId = UserId(7);
const TICKET: TicketId = TicketId(9);

pub(crate) fn in_time() -> Timestamp {
    Timestamp::from_micros(1)
}

fn deadline() -> Timestamp {
    Timestamp::from_micros(2)
}

pub(crate) fn too_late() -> Timestamp {
    Timestamp::from_micros(3)
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) tickets: Worker,
    pub(crate) regists: Worker,
    /// Every message for a worker that was published, and whether a copy of it is unacknowledged.
    pub(crate) network: BTreeMap<Kept<Event>, Waiting>,
    /// What the gateway was told.
    pub(crate) ends: BTreeSet<(SagaId, Kept<Message>)>,
    /// A stored decision was changed or lost.
    pub(crate) rewritten: bool,
    /// A step that was no fault brought the end no nearer.
    pub(crate) stalled: bool,
}

pub(crate) type Waiting = bool;

/// All replicas of one service. They share the database, and each has a batch in hand or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    pub(crate) database: Database,
    /// Sorted: it does not matter which replica is which.
    pub(crate) hands: Vec<Hand>,
}

/// A batch being handled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Hand {
    pub(crate) batch: Vec<Kept<Event>>,
    pub(crate) replies: Vec<Kept<Event>>,
    pub(crate) stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stage {
    Decided(Transaction),
    Committed,
    /// One of two is done: published, and not acknowledged yet. (In a planted bug, the reverse.)
    HalfSettled,
}

impl Stage {
    /// What is left once a committed batch is published, or acknowledged.
    pub(crate) fn after_settling(self) -> Option<Self> {
        match self {
            Self::Committed => Some(Self::HalfSettled),
            Self::HalfSettled => None,
            Self::Decided(_) => unreachable!("settles what is committed"),
        }
    }
}

impl World {
    /// The gateway has just started both sagas.
    pub(crate) fn started() -> Self {
        let commands = SAGAS.map(|saga| (Kept::new(command(saga)), true));
        Self {
            tickets: Worker::default(),
            regists: Worker::default(),
            network: commands.into(),
            ends: BTreeSet::new(),
            rewritten: false,
            stalled: false,
        }
    }

    pub(crate) fn worker(&self, service: Service) -> &Worker {
        match service {
            TICKET_WORKER => &self.tickets,
            REGIST_WORKER => &self.regists,
            Service(other) => unreachable!("{other} is not in this world"),
        }
    }

    pub(crate) fn worker_mut(&mut self, service: Service) -> &mut Worker {
        match service {
            TICKET_WORKER => &mut self.tickets,
            REGIST_WORKER => &mut self.regists,
            Service(other) => unreachable!("{other} is not in this world"),
        }
    }

    pub(crate) fn publish(&mut self, events: &[Kept<Event>]) {
        for event in events {
            if choreography::may_end_a_saga(event.message_type()) {
                let end = Kept::new(event.message.clone());
                self.ends.insert((event.saga_id, end));
            } else {
                self.network.insert(event.clone(), true);
            }
        }
    }

    pub(crate) fn acknowledge(&mut self, events: &[Kept<Event>]) {
        for event in events {
            self.network.insert(event.clone(), false);
        }
    }

    /// Nothing has to be delivered any more, and nobody has anything in hand.
    pub(crate) fn is_quiet(&self) -> bool {
        self.hands().next().is_none() && self.network.values().all(|waiting| !waiting)
    }

    pub(crate) fn hands(&self) -> impl Iterator<Item = &Hand> {
        self.tickets.hands.iter().chain(&self.regists.hands)
    }

    pub(crate) fn is_in_hand(&self, event: &Kept<Event>) -> bool {
        self.hands().any(|hand| hand.batch.contains(event))
    }

    pub(crate) fn ends_of(&self, saga: SagaId) -> impl Iterator<Item = &Message> {
        let ends = self.ends.iter().filter(move |(of, _)| *of == saga);
        ends.map(|(_, end)| &**end)
    }

    /// An upper bound of the steps to quiescence if no more faults happen.
    ///
    /// Taking, committing, publishing and acknowledging each lower it: a reply is nearer to the end
    /// than what it answers. A commit may make other hands lose their race, which costs them two;
    /// the reply it stored pays for that.
    pub(crate) fn distance(&self) -> usize {
        let waiting = self.network.iter().filter(|(_, waiting)| **waiting);
        let idle = waiting.filter(|(event, _)| !self.is_in_hand(event));
        let idle: usize = idle.map(|(event, _)| weight(event.message_type())).sum();
        let stored = self.tickets.database.replies() + self.regists.database.replies();
        let unstored = (4 * SAGAS.len()).saturating_sub(stored);
        let hands = self.tickets.distance() + self.regists.distance();
        idle + hands + 2 * MOST_HANDS * unstored
    }
}

/// The most replicas of both services together that any scope has.
const MOST_HANDS: usize = 4;

/// More for each step that may follow: a batch loses eight, and gains one at most, at each.
fn weight(message: MessageType) -> usize {
    let next = choreography::steps().find(|step| step.on == message);
    next.map_or(0, |step| {
        8 + step.outputs().map(weight).max().unwrap_or_default()
    })
}

impl Worker {
    fn distance(&self) -> usize {
        let of = |hand: &Hand| {
            let batch = hand.batch.iter();
            let weight: usize = batch.map(|event| weight(event.message_type())).sum();
            match &hand.stage {
                Stage::Decided(transaction) if self.database.clashes(transaction) => weight + 1,
                Stage::Decided(_) => weight - 1,
                Stage::Committed => weight - 2,
                Stage::HalfSettled => 1,
            }
        };
        self.hands.iter().map(of).sum()
    }
}

/// The message that starts a saga.
fn command(saga: SagaId) -> Event {
    let message = PurchaseAndRegister {
        user_id: USER,
        ticket_id: TICKET,
        user_ticket_id: UserTicketId(Uuid::from_u128(saga.0.as_u128() + 0x100)),
    };
    Event {
        id: Event::id_of(saga, PURCHASE_AND_REGISTER.start),
        source: choreography::API_GATEWAY.0.into(),
        time: in_time(),
        saga_id: saga,
        causation_id: None,
        traceparent: None,
        reply_to: None,
        deadline: Some(deadline()),
        message: message.into(),
    }
}
