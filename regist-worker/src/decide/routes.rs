//! What the plain routes do with registrations: register with a ticket that exists, change, cancel,
//! and make room for the deletion of a ticket.

use events::{
    CancelRegistration, CancellationRejected, Event, Freed, NewTicketHeld, NotRegistered, Reason,
    RegistId, Registered, RegistrationCancelled, RegistrationChanged, RegistrationNotChanged,
    RegistrationsClosed, RemoveTicket, TicketHeld, TicketRemovalRejected,
};
use saga::decision::{Moment, Verdict};

use super::{Closing, Effect, Regist, Registrations, Request, register, says};

impl Registrations {
    /// The live registration that is meant.
    fn find(&self, is_meant: impl Fn(&Regist) -> bool) -> Option<Regist> {
        self.live.values().find(|regist| is_meant(regist)).cloned()
    }

    /// Forgets it, for the rest of the batch.
    fn forget(&mut self, regist: &Regist) {
        self.live.remove(&regist.id);
        let key = (regist.user_id, regist.ticket_id);
        self.registered.remove(&key);
    }
}

/// A refusal deletes nothing: the ticket is only let go.
pub(super) fn held(
    event: &Event,
    ticket: &TicketHeld,
    known: &mut Registrations,
    moment: Moment,
) -> Verdict<Effect> {
    let TicketHeld {
        user_id,
        ticket_id,
        user_ticket_id,
    } = *ticket;
    let request = Request {
        user_id,
        ticket_id,
        user_ticket_id,
    };
    match register(event, &request, known, moment) {
        Ok(regist) => says(
            Registered {
                regist_id: regist.id,
                user_id,
                ticket_id,
                user_ticket_id,
            },
            Some(Effect::Create(regist)),
        ),
        Err(reason) => says(
            NotRegistered {
                user_id,
                ticket_id,
                user_ticket_id,
                reason,
            },
            None,
        ),
    }
}

pub(super) fn change(
    event: &Event,
    ticket: &NewTicketHeld,
    known: &mut Registrations,
    moment: Moment,
) -> Verdict<Effect> {
    let NewTicketHeld {
        regist_id,
        user_id,
        ticket_id,
        user_ticket_id,
        from,
    } = *ticket;
    match changed(event, ticket, known, moment) {
        Ok((old, new)) => says(
            RegistrationChanged {
                regist_id,
                user_id,
                ticket_id,
                user_ticket_id,
                created_at: old.created_at,
                from,
                held_by: old.saga_id,
            },
            Some(Effect::Move {
                from: old.seen(),
                to: new,
                at: moment.now,
            }),
        ),
        Err(reason) => says(
            RegistrationNotChanged {
                regist_id,
                user_ticket_id,
                reason,
            },
            None,
        ),
    }
}

/// The registration as it was, and as it will be.
fn changed(
    event: &Event,
    ticket: &NewTicketHeld,
    known: &mut Registrations,
    moment: Moment,
) -> Result<(Regist, Regist), Reason> {
    if event.is_late(moment.now) {
        return Err(Reason::DEADLINE_EXCEEDED);
    }
    let old = known.live.get(&ticket.regist_id).cloned();
    let old = old.ok_or(Reason::NOT_FOUND)?;
    if old.user_ticket_id != ticket.from {
        return Err(Reason::CHANGED_MEANWHILE);
    }
    if known.closed.contains(&ticket.user_ticket_id) {
        return Err(Reason::TICKET_DELETED);
    }
    let (was, will) = (
        (old.user_id, old.ticket_id),
        (ticket.user_id, ticket.ticket_id),
    );
    if was != will && known.registered.contains(&will) {
        return Err(Reason::ALREADY_REGISTERED);
    }
    let moves = ticket.user_ticket_id != ticket.from;
    let new = Regist {
        id: old.id,
        created_at: old.created_at,
        user_id: ticket.user_id,
        ticket_id: ticket.ticket_id,
        user_ticket_id: ticket.user_ticket_id,
        // Whoever holds its ticket.
        saga_id: if moves { event.saga_id } else { old.saga_id },
    };
    known.registered.remove(&was);
    known.registered.insert(will);
    known.live.insert(new.id, new.clone());
    Ok((old, new))
}

/// None there is as good as one deleted. But who names none, by its id or by its ticket, would get
/// whichever the batch is about.
pub(super) fn cancel(
    event: &Event,
    command: &CancelRegistration,
    known: &mut Registrations,
    Moment { now, .. }: Moment,
) -> Verdict<Effect> {
    let CancelRegistration {
        regist_id,
        user_id,
        user_ticket_id,
    } = *command;
    let names_one = regist_id.is_some() || user_ticket_id.is_some();
    let refusal = if event.is_late(now) {
        Some(Reason::DEADLINE_EXCEEDED)
    } else {
        (!names_one).then_some(Reason::NOTHING_NAMED)
    };
    if let Some(reason) = refusal {
        let rejected = CancellationRejected {
            regist_id,
            user_id,
            user_ticket_id,
            reason,
        };
        return says(rejected, None);
    }
    let is_meant = |regist: &Regist| {
        regist_id.is_none_or(|id| id == regist.id)
            && user_id.is_none_or(|id| id == regist.user_id)
            && user_ticket_id.is_none_or(|id| id == regist.user_ticket_id)
    };
    let found = known.find(is_meant);
    if let Some(regist) = &found {
        known.forget(regist);
    }
    let cancelled = RegistrationCancelled {
        regist_id: found.as_ref().map(|regist| regist.id).or(regist_id),
        freed: found.as_ref().map(|regist| Freed {
            ticket: regist.user_ticket_id,
            held_by: regist.saga_id,
        }),
    };
    let effect = found.map(|regist| Effect::Cancel {
        of: regist.seen(),
        at: now,
    });
    says(cancelled, effect)
}

/// Before a ticket is deleted: a registration that is on its way will be refused.
pub(super) fn close(
    event: &Event,
    command: &RemoveTicket,
    known: &mut Registrations,
    Moment { now, fresh_id }: Moment,
) -> Verdict<Effect> {
    let user_ticket_id = command.user_ticket_id;
    if event.is_late(now) {
        let rejected = TicketRemovalRejected {
            user_ticket_id,
            reason: Reason::DEADLINE_EXCEEDED,
        };
        return says(rejected, None);
    }
    let found = known.find(|regist| regist.user_ticket_id == user_ticket_id);
    if let Some(regist) = &found {
        known.forget(regist);
    }
    let closed = RegistrationsClosed {
        user_ticket_id,
        cancelled: found.as_ref().map(|regist| regist.id),
    };
    let closing = known.closed.insert(user_ticket_id).then_some(Closing {
        user_ticket_id,
        of: found.as_ref().map(Regist::seen),
        fresh_id: RegistId(fresh_id),
        saga_id: event.saga_id,
        at: now,
    });
    says(closed, closing.map(Effect::Close))
}
