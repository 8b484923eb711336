//! The simulation has teeth: each of these mistakes, planted with a wrapper around a port, breaks
//! the promise in a way that it sees within a few dozen worlds. The same worlds hold as shipped.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use events::choreography::{self, Role};
use events::{Event, SagaId, TicketId, UserId, UserTicketId};
use regist_worker::decide::RegistDecider;
use saga::bus::{
    Bus, Consumer, Delivery, DeliveryTag, Health, JournalReader, JournalStart, PublishError, Queue,
    Settlement, TopologyError,
};
use saga::decision::{Changes, Decider, Decision, Snapshot};
use saga::failure::Failure;
use saga::store::Store;
use simulation::assembly::{AsShipped, Assembly};
use simulation::campaign;
use simulation::check::Violation;
use simulation::world::World;
use ticket_worker::decide::{Effect, TicketDecider, Tickets, UserTicket};
use tokio::sync::watch;

/// In so many worlds a planted bug must have shown.
const WORLDS: u64 = 60;

/// Panics unless the bug breaks the promise in the expected way, in one of the first worlds.
fn is_caught(bug: impl Assembly, expected: impl Fn(&Violation) -> bool) {
    let bug: Arc<dyn Assembly> = Arc::new(bug);
    for seed in 1..=WORLDS {
        let report = World::of(seed).run(Arc::clone(&bug));
        if let Some(violation) = report.violations.iter().find(|v| expected(v)) {
            println!("caught in the world of seed {seed}: {violation}");
            let sound = World::of(seed).run(Arc::new(AsShipped));
            assert!(sound.violations.is_empty(), "{:?}", sound.violations);
            return;
        }
    }
    panic!("not caught in {WORLDS} worlds");
}

/// What a message that was lost on the way leaves behind.
fn something_was_lost(violation: &Violation) -> bool {
    matches!(violation, Violation::NoEnd(_))
}

// --- mistakes around the bus -------------------------------------------------------------------

/// Which mistake a wrapped bus makes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BusBug {
    AcknowledgesBeforeCommit,
    AcknowledgesBeforeConfirm,
    AcknowledgesAllWhenOneFailed,
    TakesALostPublishForDone,
}

impl Assembly for BusBug {
    fn bus(&self, inner: Arc<dyn Bus>) -> Arc<dyn Bus> {
        Arc::new(WrongBus {
            bug: *self,
            inner,
            unpublished: Arc::default(),
        })
    }
}

struct WrongBus {
    bug: BusBug,
    inner: Arc<dyn Bus>,
    /// Replies whose publishing was put off.
    unpublished: Arc<Mutex<Vec<Event>>>,
}

struct WrongConsumer {
    bug: BusBug,
    inner: Box<dyn Consumer>,
    bus: Arc<dyn Bus>,
    unpublished: Arc<Mutex<Vec<Event>>>,
}

#[async_trait]
impl Bus for WrongBus {
    async fn publish(&self, events: &[Event]) -> Result<(), PublishError> {
        match self.bug {
            BusBug::AcknowledgesBeforeConfirm => {
                self.unpublished.lock().unwrap().extend_from_slice(events);
                Ok(())
            }
            BusBug::TakesALostPublishForDone => {
                let _ = self.inner.publish(events).await;
                Ok(())
            }
            _ => self.inner.publish(events).await,
        }
    }

    async fn consume(&self, queue: Queue) -> Result<Box<dyn Consumer>, TopologyError> {
        Ok(Box::new(WrongConsumer {
            bug: self.bug,
            inner: self.inner.consume(queue).await?,
            bus: Arc::clone(&self.inner),
            unpublished: Arc::clone(&self.unpublished),
        }))
    }

    async fn read_journal(
        &self,
        from: JournalStart,
    ) -> Result<Box<dyn JournalReader>, TopologyError> {
        self.inner.read_journal(from).await
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.inner.health()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl Consumer for WrongConsumer {
    async fn receive(&mut self, max: usize) -> Vec<Delivery> {
        let deliveries = self.inner.receive(max).await;
        if self.bug == BusBug::AcknowledgesBeforeCommit {
            let readable = deliveries.iter().filter(|delivery| delivery.event.is_ok());
            let done = readable.map(|delivery| (delivery.tag, Settlement::Done));
            self.inner.settle(done.collect()).await;
        }
        deliveries
    }

    async fn settle(&mut self, settlements: Vec<(DeliveryTag, Settlement)>) {
        match self.bug {
            BusBug::AcknowledgesAllWhenOneFailed => {
                let tags = settlements.into_iter().map(|(tag, _)| tag);
                let done = tags.map(|tag| (tag, Settlement::Done));
                self.inner.settle(done.collect()).await;
            }
            BusBug::AcknowledgesBeforeConfirm => {
                self.inner.settle(settlements).await;
                let replies = std::mem::take(&mut *self.unpublished.lock().unwrap());
                while self.bus.publish(&replies).await.is_err() {}
            }
            _ => self.inner.settle(settlements).await,
        }
    }
}

#[test]
fn an_acknowledgement_before_the_commit_is_caught() {
    is_caught(BusBug::AcknowledgesBeforeCommit, something_was_lost);
}

#[test]
fn an_acknowledgement_before_the_confirm_is_caught() {
    is_caught(BusBug::AcknowledgesBeforeConfirm, something_was_lost);
}

#[test]
fn a_batch_that_is_acknowledged_although_one_of_it_failed_is_caught() {
    is_caught(BusBug::AcknowledgesAllWhenOneFailed, something_was_lost);
}

#[test]
fn a_lost_publish_that_is_taken_for_done_is_caught() {
    is_caught(BusBug::TakesALostPublishForDone, something_was_lost);
}

#[test]
fn the_story_of_a_failed_world_says_how_to_see_it_again_and_what_happened() {
    let bug: Arc<dyn Assembly> = Arc::new(BusBug::AcknowledgesBeforeCommit);
    let failed = campaign::run(1, 5_000, &bug).unwrap_err();
    let (story, seed) = (failed.to_string(), failed.0.seed);
    let again = World::of(seed).run(bug);
    assert_eq!(again, failed.0, "the seed is all it takes");
    let saga = again.violations.iter().find_map(Violation::saga).unwrap();
    for part in [
        format!("SIMULATION_SEED={seed} cargo test -p simulation"),
        again.violations[0].to_string(),
        format!("what happened to saga {saga}"),
        "published: PurchaseAndRegister".to_owned(),
    ] {
        assert!(story.contains(&part), "{part:?} is not in:\n{story}");
    }
}

// --- mistakes around the store -----------------------------------------------------------------

/// Which mistake a wrapped store makes, in both services.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StoreBug {
    KeepsNoRefusals,
    KeepsNoTombstones,
    CommitsEffectsByThemselves,
    TakesALostRaceForWon,
    CountsAnOutageAsFailure,
}

impl Assembly for StoreBug {
    fn ticket_store(&self, inner: Box<dyn Store<TicketDecider>>) -> Box<dyn Store<TicketDecider>> {
        Box::new(WrongStore { bug: *self, inner })
    }

    fn regist_store(&self, inner: Box<dyn Store<RegistDecider>>) -> Box<dyn Store<RegistDecider>> {
        Box::new(WrongStore { bug: *self, inner })
    }
}

struct WrongStore<D> {
    bug: StoreBug,
    inner: Box<dyn Store<D>>,
}

impl<D: Decider> WrongStore<D>
where
    D::Effect: Clone,
{
    /// The changes with only those decisions that are kept.
    fn keeping(
        changes: &Changes<D::Effect>,
        keep: impl Fn(&Decision) -> bool,
    ) -> Changes<D::Effect> {
        let decided = changes.decided.iter().filter(|row| keep(row));
        Changes {
            decided: decided.cloned().collect(),
            undone: changes.undone.clone(),
            effects: changes.effects.clone(),
        }
    }

    /// First what changes, then, in a transaction of its own, that it was decided.
    async fn commit_twice(&self, changes: &Changes<D::Effect>) -> Result<(), Failure> {
        let effects = Changes {
            decided: Vec::new(),
            undone: Vec::new(),
            effects: changes.effects.clone(),
        };
        let decisions = Changes {
            decided: changes.decided.clone(),
            undone: changes.undone.clone(),
            effects: Vec::new(),
        };
        self.inner.commit(&effects).await?;
        self.inner.commit(&decisions).await
    }
}

#[async_trait]
impl<D: Decider> Store<D> for WrongStore<D>
where
    D::Effect: Clone,
{
    async fn load(&self, events: &[Event]) -> Result<Snapshot<D::Facts>, Failure> {
        self.inner.load(events).await.map_err(|f| self.failure(f))
    }

    async fn commit(&self, changes: &Changes<D::Effect>) -> Result<(), Failure> {
        let committed = match self.bug {
            StoreBug::KeepsNoRefusals => {
                let kept = Self::keeping(changes, |row| !is_refusal::<D>(row));
                self.inner.commit(&kept).await
            }
            StoreBug::KeepsNoTombstones => {
                let kept = Self::keeping(changes, |row| row.step.is_some());
                self.inner.commit(&kept).await
            }
            StoreBug::CommitsEffectsByThemselves => self.commit_twice(changes).await,
            StoreBug::TakesALostRaceForWon | StoreBug::CountsAnOutageAsFailure => {
                self.inner.commit(changes).await
            }
        };
        match committed {
            Err(Failure::Conflict) if self.bug == StoreBug::TakesALostRaceForWon => Ok(()),
            committed => committed.map_err(|f| self.failure(f)),
        }
    }
}

impl<D> WrongStore<D> {
    fn failure(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Unavailable(source) if self.bug == StoreBug::CountsAnOutageAsFailure => {
                Failure::Handling(source)
            }
            failure => failure,
        }
    }
}

fn is_refusal<D: Decider>(row: &Decision) -> bool {
    let Some(reply) = &row.step else {
        return false;
    };
    let own = choreography::steps().filter(|step| step.service == D::SERVICE);
    let mut roles = own.map(|step| step.role);
    roles
        .any(|role| matches!(role, Role::Do { refusal } if refusal == reply.message.message_type()))
}

#[test]
fn a_refusal_without_a_decision_row_is_caught() {
    is_caught(StoreBug::KeepsNoRefusals, |violation| {
        matches!(violation, Violation::DifferentEnds(..))
    });
}

#[test]
fn a_missing_tombstone_is_caught() {
    is_caught(StoreBug::KeepsNoTombstones, |violation| {
        matches!(violation, Violation::DifferentEnds(..))
    });
}

#[test]
fn an_effect_that_is_not_committed_with_its_decision_is_caught() {
    is_caught(StoreBug::CommitsEffectsByThemselves, |violation| {
        matches!(violation, Violation::TicketWithoutRegistration(_))
    });
}

#[test]
fn a_lost_race_that_is_taken_for_won_is_caught() {
    is_caught(StoreBug::TakesALostRaceForWon, |violation| {
        // It says what is stored nowhere, and the winner says something else.
        matches!(
            violation,
            Violation::NotToTheLetter(..) | Violation::UntrueEnd(..) | Violation::DifferentEnds(..)
        )
    });
}

#[test]
fn an_outage_that_uses_up_attempts_is_caught() {
    is_caught(StoreBug::CountsAnOutageAsFailure, |violation| {
        matches!(violation, Violation::ParkedWithoutCause(_))
    });
}

// --- an undo that reaches too far --------------------------------------------------------------

/// Finds the ticket to delete by its user and ticket id, as if a saga were the only one of its user.
#[derive(Clone, Default)]
struct UndoByUser {
    last: Arc<Mutex<HashMap<(UserId, TicketId), UserTicket>>>,
    users: Arc<Mutex<HashMap<UserTicketId, (UserId, TicketId)>>>,
}

struct UndoByUserStore {
    bug: UndoByUser,
    inner: Box<dyn Store<TicketDecider>>,
}

impl Assembly for UndoByUser {
    fn ticket_store(&self, inner: Box<dyn Store<TicketDecider>>) -> Box<dyn Store<TicketDecider>> {
        let bug = self.clone();
        Box::new(UndoByUserStore { bug, inner })
    }
}

impl UndoByUser {
    fn note(&self, ticket: &UserTicket) {
        let key = (ticket.user_id, ticket.ticket_id);
        self.users.lock().unwrap().insert(ticket.id, key);
        self.last.lock().unwrap().insert(key, ticket.clone());
    }

    /// The user's newest ticket of that kind, and the saga it belongs to.
    fn newest(&self, id: UserTicketId) -> Option<(UserTicketId, SagaId)> {
        let key = *self.users.lock().unwrap().get(&id)?;
        let last = self.last.lock().unwrap();
        last.get(&key).map(|ticket| (ticket.id, ticket.saga_id))
    }

    fn bend(&self, effect: &Effect) -> Effect {
        match effect {
            Effect::Create(ticket) => {
                self.note(ticket);
                effect.clone()
            }
            Effect::Delete { id, saga_id, at } => {
                let (id, saga_id) = self.newest(*id).unwrap_or((*id, *saga_id));
                Effect::Delete {
                    id,
                    saga_id,
                    at: *at,
                }
            }
            Effect::Save(_) => effect.clone(),
        }
    }
}

#[async_trait]
impl Store<TicketDecider> for UndoByUserStore {
    async fn load(&self, events: &[Event]) -> Result<Snapshot<Tickets>, Failure> {
        self.inner.load(events).await
    }

    async fn commit(&self, changes: &Changes<Effect>) -> Result<(), Failure> {
        let effects = changes.effects.iter().map(|effect| self.bug.bend(effect));
        let bent = Changes {
            decided: changes.decided.clone(),
            undone: changes.undone.clone(),
            effects: effects.collect(),
        };
        self.inner.commit(&bent).await
    }
}

#[test]
fn an_undo_that_deletes_another_sagas_ticket_is_caught() {
    is_caught(UndoByUser::default(), |violation| {
        matches!(violation, Violation::RegistrationWithoutTicket(_))
    });
}
