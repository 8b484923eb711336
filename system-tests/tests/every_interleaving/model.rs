//! Everything that can happen next in a state: a replica takes a batch, commits, publishes or
//! acknowledges it, or crashes in between; and any message, once published, comes again.
//!
//! The network has no order and keeps every message for ever, so that reordering and duplication
//! are without bound. The clock has no order either: each decision sees its saga in time or too
//! late, which covers a deadline that passes at any moment and clocks that disagree.

use std::collections::HashMap;

use events::choreography::{self, REGIST_WORKER, Role, Service, TICKET_WORKER};
use events::{Event, MessageType, SagaId, Timestamp};
use saga::decision::{Decision, Moment};
use stateright::{Model, Property};
use uuid::Uuid;

use crate::database::{Conflict, Database, Transaction};
use crate::kept::Kept;
use crate::planted::Planted;
use crate::world::{Hand, SAGAS, Stage, World, in_time, too_late};

/// The scope, and the bug to find if there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    /// Batches that the ticket-worker and the regist-worker handle at once, in replicas or in loops
    /// over different queues.
    pub(crate) replicas: [usize; 2],
    /// The most events in one batch.
    pub(crate) batch: usize,
    /// Whether deadlines pass.
    pub(crate) deadlines: bool,
    /// Whether to start also where a database has lost its last commit.
    pub(crate) lost_purchase: bool,
    pub(crate) planted: Option<Planted>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A replica reads the rows and decides. A fault if all copies were in hand or acknowledged.
    Take(Service, Vec<Delivery>),
    /// What one of the service's hands does.
    Step(Service, usize, Step),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) event: Kept<Event>,
    /// What the clock says when it is decided.
    pub(crate) now: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Commits; who lost the race drops the batch, reads again and decides again.
    Commit,
    Publish,
    Acknowledge,
    /// Forgets what is in hand. The broker hands out again what is not acknowledged.
    Crash,
}

impl Model for Scope {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut worlds = vec![World::started()];
        if self.lost_purchase {
            worlds.push(self.undo_before_its_step());
        }
        worlds
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (service, replicas) in [TICKET_WORKER, REGIST_WORKER]
            .into_iter()
            .zip(self.replicas)
        {
            let hands = &world.worker(service).hands;
            if hands.len() < replicas {
                let batches = self.batches(world, service);
                actions.extend(batches.map(|batch| Action::Take(service, batch)));
            }
            for (index, hand) in hands.iter().enumerate() {
                let next = match (&hand.stage, self.acknowledges_first()) {
                    (Stage::Decided(_), _) => Step::Commit,
                    (Stage::Committed, false) | (Stage::HalfSettled, true) => Step::Publish,
                    (Stage::HalfSettled, false) | (Stage::Committed, true) => Step::Acknowledge,
                };
                let steps = [next, Step::Crash];
                actions.extend(steps.map(|step| Action::Step(service, index, step)));
            }
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let fault = is_fault(world, &action);
        let mut after = world.clone();
        match action {
            Action::Take(service, batch) => self.take(&mut after, service, &batch),
            Action::Step(service, index, step) => self.step(&mut after, service, index, step),
        }
        after.stalled |= !fault && after.distance() >= world.distance();
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        crate::properties::properties(self)
    }
}

impl Scope {
    fn acknowledges_first(&self) -> bool {
        self.planted == Some(Planted::AcknowledgesFirst)
    }

    /// Every batch of messages of one queue, in every order, each message in time or too late.
    fn batches(&self, world: &World, service: Service) -> impl Iterator<Item = Vec<Delivery>> {
        let steps = choreography::steps().filter(|step| step.service == service);
        let mut all = Vec::new();
        for step in steps {
            let queue = world.network.keys();
            let queue = queue.filter(|event| event.message_type() == step.on);
            let deliveries: Vec<Delivery> = queue
                .flat_map(|event| self.deliveries(step.role, event))
                .collect();
            let mut batches: Vec<Vec<Delivery>> = vec![Vec::new()];
            for _ in 0..self.batch {
                batches = longer(&batches, &deliveries);
                all.extend_from_slice(&batches);
            }
        }
        all.into_iter()
    }

    /// An undo or a finish has no deadline: it is always seen too late, and must be done all the same.
    fn deliveries(&self, role: Role, event: &Kept<Event>) -> impl Iterator<Item = Delivery> {
        let now = match (role, self.deadlines) {
            (Role::Undo { .. } | Role::Finish, _) => vec![too_late()],
            (Role::Do { .. }, false) => vec![in_time()],
            (Role::Do { .. }, true) => vec![in_time(), too_late()],
        };
        let event = event.clone();
        now.into_iter().map(move |now| Delivery {
            event: event.clone(),
            now,
        })
    }

    fn take(&self, world: &mut World, service: Service, batch: &[Delivery]) {
        let worker = world.worker_mut(service);
        let events: Vec<Event> = batch
            .iter()
            .map(|taken| Event::clone(&taken.event))
            .collect();
        let decisions = self.read(worker.database.decisions_about(&events));
        let mut deliveries = batch.iter();
        let busy = worker.hands.len();
        let moment = || {
            let taken = deliveries.next().expect("one moment for each event");
            Moment {
                now: taken.now,
                fresh_id: fresh_id(taken.event.saga_id, busy),
            }
        };
        let decided = worker.database.decide(service, decisions, &events, moment);
        let (transaction, replies) = decided.expect("every message has its step");
        let stage = if transaction.is_empty() {
            Stage::Committed
        } else {
            Stage::Decided(transaction)
        };
        worker.hands.push(Hand {
            batch: batch.iter().map(|taken| taken.event.clone()).collect(),
            replies: replies.into_iter().map(Kept::new).collect(),
            stage,
        });
        worker.hands.sort();
    }

    fn read(&self, decisions: HashMap<SagaId, Decision>) -> HashMap<SagaId, Decision> {
        match self.planted {
            Some(planted) => planted.read(decisions),
            None => decisions,
        }
    }

    fn commit(&self, before: &Database, transaction: &Transaction) -> Result<Database, Conflict> {
        match self.planted {
            Some(planted) => planted.commit(before, transaction),
            None => before.commit(transaction),
        }
    }

    fn step(&self, world: &mut World, service: Service, index: usize, step: Step) {
        let hand = world.worker_mut(service).hands.remove(index);
        let stage = match (step, hand.stage) {
            (Step::Crash, _) => None,
            (Step::Commit, Stage::Decided(transaction)) => {
                let before = &world.worker(service).database;
                let Ok(after) = self.commit(before, &transaction) else {
                    return;
                };
                world.rewritten |= !after.keeps(before);
                world.worker_mut(service).database = after;
                Some(Stage::Committed)
            }
            (Step::Publish, stage) => {
                world.publish(&hand.replies);
                stage.after_settling()
            }
            (Step::Acknowledge, stage) => {
                world.acknowledge(&hand.batch);
                stage.after_settling()
            }
            (Step::Commit, stage) => unreachable!("{stage:?} is committed"),
        };
        let hands = &mut world.worker_mut(service).hands;
        hands.extend(stage.map(|stage| Hand { stage, ..hand }));
        hands.sort();
    }

    /// The ticket-worker's database has lost its last commit, the purchase of the first saga, and
    /// the command is delivered again; the regist-worker has refused that saga already.
    fn undo_before_its_step(&self) -> World {
        let mut world = World::started();
        let command = waiting(&world, MessageType::PurchaseAndRegister);
        self.handle(&mut world, TICKET_WORKER, &command, in_time());
        let purchased = waiting(&world, MessageType::TicketPurchased);
        self.handle(&mut world, REGIST_WORKER, &purchased, too_late());
        world.tickets.database = Database::default();
        world.network.insert(command, true);
        world
    }

    /// From taking to acknowledging, with nothing in between.
    fn handle(&self, world: &mut World, service: Service, event: &Kept<Event>, now: Timestamp) {
        let event = event.clone();
        self.take(world, service, &[Delivery { event, now }]);
        for step in [Step::Commit, Step::Publish, Step::Acknowledge] {
            self.step(world, service, 0, step);
        }
    }
}

/// The message of this type of the first saga.
fn waiting(world: &World, message: MessageType) -> Kept<Event> {
    let mut network = world.network.keys();
    let found = network.find(|event| event.id == Event::id_of(SAGAS[0], message));
    found.expect("it is published").clone()
}

/// Each batch with one more of these at its end.
fn longer(batches: &[Vec<Delivery>], deliveries: &[Delivery]) -> Vec<Vec<Delivery>> {
    let with = |batch: &Vec<Delivery>, last: &Delivery| [batch, &[last.clone()][..]].concat();
    let all = batches
        .iter()
        .flat_map(|batch| deliveries.iter().map(move |last| with(batch, last)));
    all.collect()
}

/// A crash; or one more copy of a message than is waiting.
pub(crate) fn is_fault(world: &World, action: &Action) -> bool {
    match action {
        Action::Take(_, batch) => {
            let is_due = |event| world.network[event] && !world.is_in_hand(event);
            let mut events: Vec<_> = batch.iter().map(|taken| &taken.event).collect();
            events.dedup();
            events.len() < batch.len() || !events.into_iter().all(is_due)
        }
        Action::Step(_, _, step) => *step == Step::Crash,
    }
}

/// A decision mints an id of its own, also when two replicas decide at once.
fn fresh_id(saga: SagaId, busy: usize) -> Uuid {
    Uuid::from_u128(saga.0.as_u128() + 0x1000 * (1 + busy as u128))
}
