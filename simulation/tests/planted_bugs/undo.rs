//! An undo that reaches too far.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use events::{Event, SagaId, TicketId, UserId, UserTicketId};
use saga::decision::{Changes, Snapshot};
use saga::failure::Failure;
use saga::store::Store;
use simulation::assembly::Assembly;
use simulation::check::Violation;
use ticket_worker::decide::{Effect, NewTicket, TicketDecider, Tickets};

use crate::is_caught;

/// Finds the ticket to delete by its user and ticket id, as if a saga were the only one of its user.
#[derive(Clone, Default)]
struct UndoByUser {
    last: Arc<Mutex<HashMap<(UserId, TicketId), NewTicket>>>,
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
    fn note(&self, ticket: &NewTicket) {
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
