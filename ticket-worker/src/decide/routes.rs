//! What the plain routes do with tickets: create, change and delete them, and hold them for a
//! registration.

use events::{
    AddTicket, ChangeRegistration, ChangeTicket, Event, Freed, Message, NewTicketHeld,
    NewTicketReleased, NotRegistered, OldTicketFreed, Reason, Register, RegisterRejected,
    RegistrationCancelled, RegistrationChangeRejected, RegistrationChanged, RegistrationNotChanged,
    RegistrationsClosed, SagaId, TicketAddRejected, TicketAdded, TicketChangeRejected,
    TicketChanged, TicketFreed, TicketHeld, TicketReleased, TicketRemoved, Timestamp, UserId,
    UserTicketId,
};
use saga::decision::Verdict;

use super::{Effect, NewTicket, Ticket, Tickets};

impl Tickets {
    /// The ticket, unless there is none or it is deleted.
    fn live(&self, id: UserTicketId) -> Option<&Ticket> {
        self.0.get(&id).filter(|ticket| ticket.deleted_at.is_none())
    }

    /// Changes the ticket, for the rest of the batch as well.
    fn save(&mut self, mut ticket: Ticket, now: Timestamp) -> Effect {
        ticket.updated_at = now;
        let mut next = ticket.clone();
        next.version += 1;
        self.0.insert(ticket.id, next);
        Effect::Save(ticket)
    }

    /// Lets the ticket go if this saga holds it.
    fn let_go(&mut self, id: UserTicketId, holder: SagaId, now: Timestamp) -> Option<Effect> {
        let ticket = self.0.get(&id)?;
        if ticket.held_by != Some(holder) {
            return None;
        }
        let ticket = Ticket {
            held_by: None,
            ..ticket.clone()
        };
        Some(self.save(ticket, now))
    }

    /// The ticket if the user may register with it.
    fn usable(&self, id: UserTicketId, user: UserId) -> Result<&Ticket, Reason> {
        let ticket = self.0.get(&id).ok_or(Reason::TICKET_NOT_FOUND)?;
        if ticket.user_id != user {
            return Err(Reason::NOT_THE_USERS_TICKET);
        }
        if ticket.deleted_at.is_some() {
            return Err(Reason::TICKET_DELETED);
        }
        Ok(ticket)
    }

    /// Holds a ticket that nobody holds.
    fn hold(
        &mut self,
        id: UserTicketId,
        user: UserId,
        event: &Event,
        now: Timestamp,
    ) -> Result<(Ticket, Effect), Reason> {
        let ticket = self.usable(id, user)?;
        if ticket.held_by.is_some() {
            return Err(Reason::ALREADY_REGISTERED);
        }
        let held = Ticket {
            held_by: Some(event.saga_id),
            ..ticket.clone()
        };
        Ok((held.clone(), self.save(held, now)))
    }
}

fn says(reply: impl Into<Message>, effect: Option<Effect>) -> Verdict<Effect> {
    let reply = reply.into();
    Verdict { reply, effect }
}

pub(super) fn add(event: &Event, command: &AddTicket, now: Timestamp) -> Verdict<Effect> {
    let AddTicket {
        user_id,
        ticket_id,
        user_ticket_id,
    } = *command;
    if event.is_late(now) {
        let reason = Reason::DEADLINE_EXCEEDED;
        let rejected = TicketAddRejected {
            user_id,
            ticket_id,
            user_ticket_id,
            reason,
        };
        return says(rejected, None);
    }
    let added = TicketAdded {
        user_id,
        ticket_id,
        user_ticket_id,
    };
    let ticket = NewTicket {
        id: user_ticket_id,
        user_id,
        ticket_id,
        saga_id: event.saga_id,
        created_at: now,
        held_by: None,
    };
    says(added, Some(Effect::Create(ticket)))
}

/// A ticket that is held stays as it is, because the registration is for its user and its ticket id.
pub(super) fn change(
    event: &Event,
    command: &ChangeTicket,
    tickets: &mut Tickets,
    now: Timestamp,
) -> Verdict<Effect> {
    let user_ticket_id = command.user_ticket_id;
    let ticket = match tickets.live(user_ticket_id) {
        _ if event.is_late(now) => Err(Reason::DEADLINE_EXCEEDED),
        None => Err(Reason::NOT_FOUND),
        Some(ticket) if ticket.held_by.is_some() => Err(Reason::TICKET_IN_USE),
        Some(ticket) => Ok(Ticket {
            user_id: command.user_id.unwrap_or(ticket.user_id),
            ticket_id: command.ticket_id.unwrap_or(ticket.ticket_id),
            ..ticket.clone()
        }),
    };
    match ticket {
        Err(reason) => says(
            TicketChangeRejected {
                user_ticket_id,
                reason,
            },
            None,
        ),
        Ok(ticket) => says(
            TicketChanged {
                user_id: ticket.user_id,
                ticket_id: ticket.ticket_id,
                user_ticket_id,
                created_at: ticket.created_at,
            },
            Some(tickets.save(ticket, now)),
        ),
    }
}

/// Whoever holds it: no registration with it lives any more.
pub(super) fn remove(
    closed: &RegistrationsClosed,
    tickets: &mut Tickets,
    now: Timestamp,
) -> Verdict<Effect> {
    let user_ticket_id = closed.user_ticket_id;
    let deleted = tickets.live(user_ticket_id).map(|ticket| Ticket {
        deleted_at: Some(now),
        ..ticket.clone()
    });
    let effect = deleted.map(|ticket| tickets.save(ticket, now));
    says(TicketRemoved { user_ticket_id }, effect)
}

pub(super) fn register(
    event: &Event,
    command: &Register,
    tickets: &mut Tickets,
    now: Timestamp,
) -> Verdict<Effect> {
    let Register {
        user_id,
        user_ticket_id,
    } = *command;
    let held = match event.is_late(now) {
        true => Err(Reason::DEADLINE_EXCEEDED),
        false => tickets.hold(user_ticket_id, user_id, event, now),
    };
    match held {
        Ok((Ticket { ticket_id, .. }, effect)) => says(
            TicketHeld {
                user_id,
                ticket_id,
                user_ticket_id,
            },
            Some(effect),
        ),
        Err(reason) => says(
            RegisterRejected {
                user_id,
                user_ticket_id,
                reason,
            },
            None,
        ),
    }
}

/// The ticket that the registration has already stays held as it is.
pub(super) fn change_registration(
    event: &Event,
    command: &ChangeRegistration,
    tickets: &mut Tickets,
    now: Timestamp,
) -> Verdict<Effect> {
    let ChangeRegistration {
        regist_id,
        user_id,
        user_ticket_id,
        from,
    } = *command;
    let held = if event.is_late(now) {
        Err(Reason::DEADLINE_EXCEEDED)
    } else if user_ticket_id == from {
        let ticket = tickets.usable(user_ticket_id, user_id);
        ticket.map(|ticket| (ticket.clone(), None))
    } else {
        let held = tickets.hold(user_ticket_id, user_id, event, now);
        held.map(|(ticket, effect)| (ticket, Some(effect)))
    };
    match held {
        Ok((Ticket { ticket_id, .. }, effect)) => says(
            NewTicketHeld {
                regist_id,
                user_id,
                ticket_id,
                user_ticket_id,
                from,
            },
            effect,
        ),
        Err(reason) => says(
            RegistrationChangeRejected {
                regist_id,
                user_ticket_id,
                reason,
            },
            None,
        ),
    }
}

pub(super) fn free_old(
    event: &Event,
    changed: &RegistrationChanged,
    tickets: &mut Tickets,
    now: Timestamp,
) -> Verdict<Effect> {
    let RegistrationChanged {
        regist_id,
        user_id,
        ticket_id,
        user_ticket_id,
        created_at,
        from,
        held_by,
    } = *changed;
    let other = from != user_ticket_id;
    let effect = other.then(|| tickets.let_go(from, held_by, now)).flatten();
    let freed = OldTicketFreed {
        regist_id,
        user_id,
        ticket_id,
        user_ticket_id,
        created_at,
        changed_at: event.time,
    };
    says(freed, effect)
}

pub(super) fn free(
    cancelled: &RegistrationCancelled,
    tickets: &mut Tickets,
    now: Timestamp,
) -> Verdict<Effect> {
    let let_go = |Freed { ticket, held_by }| tickets.let_go(ticket, held_by, now);
    let effect = cancelled.freed.and_then(let_go);
    let regist_id = cancelled.regist_id;
    says(TicketFreed { regist_id }, effect)
}

pub(super) fn release(
    event: &Event,
    refused: &NotRegistered,
    tickets: &mut Tickets,
    now: Timestamp,
) -> Verdict<Effect> {
    let user_ticket_id = refused.user_ticket_id;
    let released = TicketReleased {
        user_ticket_id,
        cause: refused.reason.clone(),
    };
    says(released, tickets.let_go(user_ticket_id, event.saga_id, now))
}

pub(super) fn release_new(
    event: &Event,
    refused: &RegistrationNotChanged,
    tickets: &mut Tickets,
    now: Timestamp,
) -> Verdict<Effect> {
    let user_ticket_id = refused.user_ticket_id;
    let released = NewTicketReleased {
        regist_id: refused.regist_id,
        user_ticket_id,
        cause: refused.reason.clone(),
    };
    says(released, tickets.let_go(user_ticket_id, event.saga_id, now))
}
