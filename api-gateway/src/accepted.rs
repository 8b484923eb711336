//! The sagas this instance started lately, and how they ended if it heard: what a caller may ask
//! for before the ledger has it. The ledger is a moment behind the journal, and no caller shall
//! hear "unknown" of a saga just accepted, or "running" of one just reported as ended.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::choreography::{Outcome, Saga};
use events::progress::Progress;
use events::{Event, Message, Reason, RegistId, SagaId, TicketId, Timestamp, UserId, UserTicketId};

use crate::ledger::Row;

/// Three seconds at twenty thousand sagas a second, some ten megabytes.
const MAX_REMEMBERED: usize = 65_536;
/// By now the ledger has it, or its database is away and readiness says so.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct AcceptedSagas {
    remembered: Mutex<Remembered>,
}

#[derive(Default)]
struct Remembered {
    sagas: HashMap<SagaId, Accepted>,
    /// Oldest first. May name sagas that are forgotten already, or were started once more since.
    order: VecDeque<(Timestamp, SagaId)>,
}

/// What is known of a saga without the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) saga: &'static Saga,
    pub(crate) started_at: Timestamp,
    pub(crate) user_id: Option<UserId>,
    pub(crate) ticket_id: Option<TicketId>,
    pub(crate) user_ticket_id: Option<UserTicketId>,
    pub(crate) end: Option<End>,
}

#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    pub(crate) at: Timestamp,
    pub(crate) user_id: Option<UserId>,
    pub(crate) ticket_id: Option<TicketId>,
    pub(crate) user_ticket_id: Option<UserTicketId>,
    pub(crate) regist_id: Option<RegistId>,
    /// When what the saga changed was created. The ledger does not keep it.
    pub(crate) created_at: Option<Timestamp>,
    /// When it was changed, if that was not the end of the saga. Likewise.
    pub(crate) changed_at: Option<Timestamp>,
    pub(crate) reason: Option<Reason>,
}

impl AcceptedSagas {
    /// Remembers the saga that this command starts, and whether it is new: one that is started once
    /// more is remembered as it is.
    pub(crate) fn started(&self, saga: &'static Saga, command: &Event) -> bool {
        let ids = command.message.particulars();
        let accepted = Accepted {
            saga,
            started_at: command.time,
            user_id: ids.user_id,
            ticket_id: ids.ticket_id,
            user_ticket_id: ids.user_ticket_id,
            end: None,
        };
        let mut remembered = self.lock();
        remembered.forget_before(command.time);
        if remembered.sagas.contains_key(&command.saga_id) {
            return false;
        }
        remembered.order.push_back((command.time, command.saga_id));
        remembered.sagas.insert(command.saga_id, accepted);
        true
    }

    /// Forgets a saga whose command the broker did not confirm: only the ledger can tell.
    pub(crate) fn not_started(&self, saga_id: SagaId) {
        self.lock().sagas.remove(&saga_id);
    }

    /// Remembers how it ended, if this event ends a saga that is remembered.
    pub(crate) fn ended(&self, event: &Event) {
        let mut remembered = self.lock();
        let Some(accepted) = remembered.sagas.get_mut(&event.saga_id) else {
            return;
        };
        let Some(outcome) = accepted.saga.outcome_of(event.message_type()) else {
            return;
        };
        let end = End::told_by(event, outcome);
        // Another request with the same key may have been the one that was done.
        accepted.user_id = end.user_id.or(accepted.user_id);
        accepted.ticket_id = end.ticket_id.or(accepted.ticket_id);
        accepted.user_ticket_id = end.user_ticket_id.or(accepted.user_ticket_id);
        accepted.end = Some(end);
    }

    pub(crate) fn get(&self, saga_id: SagaId) -> Option<Accepted> {
        self.lock().sagas.get(&saga_id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        // No code that holds the lock can leave the maps half changed.
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl End {
    /// As the event that ended the saga tells.
    pub(crate) fn told_by(event: &Event, outcome: Outcome) -> Self {
        let seen = event.message.particulars();
        Self {
            outcome,
            at: event.time,
            user_id: seen.user_id,
            ticket_id: seen.ticket_id,
            user_ticket_id: seen.user_ticket_id,
            regist_id: seen.regist_id,
            created_at: match &event.message {
                Message::TicketChanged(changed) => Some(changed.created_at),
                Message::OldTicketFreed(freed) => Some(freed.created_at),
                _ => None,
            },
            changed_at: match &event.message {
                Message::OldTicketFreed(freed) => Some(freed.changed_at),
                _ => None,
            },
            reason: seen.reason.cloned(),
        }
    }

    /// As the ledger has it, if the saga has ended there.
    pub(crate) fn of_row(row: &Row) -> Option<Self> {
        let Progress::Ended { outcome, at } = row.progress() else {
            return None;
        };
        Some(Self {
            outcome,
            at,
            user_id: row.user_id,
            ticket_id: row.ticket_id,
            user_ticket_id: row.user_ticket_id,
            regist_id: row.regist_id,
            created_at: None,
            changed_at: None,
            reason: row.reason.clone(),
        })
    }
}

impl Remembered {
    fn forget_before(&mut self, now: Timestamp) {
        while let Some(&(started, saga_id)) = self.order.front() {
            let full = self.order.len() >= MAX_REMEMBERED;
            if !full && now.since(started) < REMEMBERED_FOR {
                return;
            }
            self.order.pop_front();
            let same = self.sagas.get(&saga_id);
            if same.is_some_and(|accepted| accepted.started_at == started) {
                self.sagas.remove(&saga_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use events::choreography::PURCHASE_AND_REGISTER;
    use events::{MessageType, PurchaseAndRegister};

    use super::*;

    fn command(second: i64) -> Event {
        let saga_id = SagaId::mint();
        Event {
            id: Event::id_of(saga_id, MessageType::PurchaseAndRegister),
            source: "api-gateway".into(),
            time: Timestamp::from_micros(second * 1_000_000),
            saga_id,
            causation_id: None,
            traceparent: None,
            reply_to: None,
            deadline: None,
            message: PurchaseAndRegister {
                user_id: UserId(1),
                ticket_id: TicketId(1),
                user_ticket_id: UserTicketId::mint(),
            }
            .into(),
        }
    }

    #[test]
    fn a_saga_is_forgotten_after_a_while() {
        let sagas = AcceptedSagas::default();
        let (old, young) = (command(0), command(60));
        sagas.started(&PURCHASE_AND_REGISTER, &old);
        sagas.started(&PURCHASE_AND_REGISTER, &young);
        assert!(sagas.get(old.saga_id).is_none());
        assert!(sagas.get(young.saga_id).is_some());
    }

    #[test]
    fn a_saga_that_did_not_start_and_is_started_once_more_is_remembered_from_then_on() {
        let sagas = AcceptedSagas::default();
        let first = command(0);
        sagas.started(&PURCHASE_AND_REGISTER, &first);
        sagas.not_started(first.saga_id);
        let again = Event {
            time: command(30).time,
            ..first.clone()
        };
        assert!(sagas.started(&PURCHASE_AND_REGISTER, &again));
        sagas.started(&PURCHASE_AND_REGISTER, &command(60));
        assert!(sagas.get(first.saga_id).is_some());
        sagas.started(&PURCHASE_AND_REGISTER, &command(90));
        assert!(sagas.get(first.saga_id).is_none());
    }

    #[test]
    fn no_more_than_the_limit_are_remembered() {
        let sagas = AcceptedSagas::default();
        let first = command(0);
        sagas.started(&PURCHASE_AND_REGISTER, &first);
        for _ in 1..MAX_REMEMBERED {
            sagas.started(&PURCHASE_AND_REGISTER, &command(0));
        }
        assert!(sagas.get(first.saga_id).is_some());
        sagas.started(&PURCHASE_AND_REGISTER, &command(0));
        assert!(sagas.get(first.saga_id).is_none());
        assert_eq!(sagas.lock().sagas.len(), MAX_REMEMBERED);
    }
}
