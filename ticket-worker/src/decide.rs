//! The rules of tickets: here buying one, in [`routes`] what else is done with them. Pure: no
//! clock, no I/O. That a decision is made once, repeated when asked again, and not started after
//! its undo is `saga::decision`'s doing.

mod routes;

use std::collections::HashMap;

use events::choreography::{Service, TICKET_WORKER};
use events::{
    Event, Message, PurchaseAndRegister, PurchaseRejected, Reason, SagaId, TicketDeleted, TicketId,
    TicketPurchased, Timestamp, UserId, UserTicketId,
};
use saga::decision::{Decider, Moment, Unexpected, Verdict};

#[derive(Debug)]
pub struct TicketDecider;

/// A change of `user_ticket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Create(NewTicket),
    /// Marks the ticket deleted if this saga made it.
    Delete {
        id: UserTicketId,
        saga_id: SagaId,
        at: Timestamp,
    },
    /// The ticket is like this from now on, if it is still as it was when this was decided.
    Save(Ticket),
}

/// A ticket about to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTicket {
    pub id: UserTicketId,
    pub user_id: UserId,
    pub ticket_id: TicketId,
    pub saga_id: SagaId,
    pub created_at: Timestamp,
    /// The saga for whose registration it is bought.
    pub held_by: Option<SagaId>,
}

/// A ticket as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub id: UserTicketId,
    pub user_id: UserId,
    pub ticket_id: TicketId,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    /// A semantic lock: the saga that registered the user with this ticket, or is about to. While it
    /// holds the ticket, the ticket is not changed, nor held by another saga.
    pub held_by: Option<SagaId>,
    /// How often it was changed. Two replicas that change it at the same time see it here.
    pub version: i64,
}

/// The tickets that a batch is about, where there are any.
#[derive(Debug, Default)]
pub struct Tickets(pub HashMap<UserTicketId, Ticket>);

impl Decider for TicketDecider {
    const SERVICE: Service = TICKET_WORKER;
    type Facts = Tickets;
    type Effect = Effect;

    /// A new ticket has nothing to do with those that are there.
    fn decides_unread(&self, event: &Event) -> bool {
        matches!(
            event.message,
            Message::PurchaseAndRegister(_) | Message::AddTicket(_)
        )
    }

    fn decide(
        &self,
        event: &Event,
        tickets: &mut Tickets,
        moment: Moment,
    ) -> Result<Verdict<Effect>, Unexpected> {
        let now = moment.now;
        Ok(match &event.message {
            Message::PurchaseAndRegister(command) => purchase(event, command, now),
            Message::AddTicket(command) => routes::add(event, command, now),
            Message::ChangeTicket(command) => routes::change(event, command, tickets, now),
            Message::RegistrationsClosed(closed) => routes::remove(closed, tickets, now),
            Message::Register(command) => routes::register(event, command, tickets, now),
            Message::ChangeRegistration(command) => {
                routes::change_registration(event, command, tickets, now)
            }
            Message::RegistrationChanged(changed) => routes::free_old(event, changed, tickets, now),
            Message::RegistrationCancelled(cancelled) => routes::free(cancelled, tickets, now),
            other => return Err(Unexpected::of::<Self>(other)),
        })
    }

    /// Whatever was refused later, and by whom: the message says which ticket and why.
    fn undo(
        &self,
        event: &Event,
        done: Option<&Message>,
        tickets: &mut Tickets,
        moment: Moment,
    ) -> Result<Verdict<Effect>, Unexpected> {
        match &event.message {
            Message::NotRegistered(refused) => {
                return Ok(routes::release(event, refused, tickets, moment.now));
            }
            Message::RegistrationNotChanged(refused) => {
                return Ok(routes::release_new(event, refused, tickets, moment.now));
            }
            _ => {}
        }
        let refusal = event.message.particulars();
        let (Some(named), Some(cause)) = (refusal.user_ticket_id, refusal.reason) else {
            return Err(Unexpected::of::<Self>(&event.message));
        };
        // Without a purchase of this saga its tombstone is all there is to write.
        let own = match done {
            Some(Message::TicketPurchased(own)) => Some(own.user_ticket_id),
            _ => None,
        };
        Ok(Verdict {
            reply: TicketDeleted {
                user_ticket_id: own.unwrap_or(named),
                cause: cause.clone(),
            }
            .into(),
            effect: own.map(|id| Effect::Delete {
                id,
                saga_id: event.saga_id,
                at: moment.now,
            }),
        })
    }
}

fn purchase(event: &Event, command: &PurchaseAndRegister, now: Timestamp) -> Verdict<Effect> {
    let PurchaseAndRegister {
        user_id,
        ticket_id,
        user_ticket_id,
    } = *command;
    if event.is_late(now) {
        let reason = Reason::DEADLINE_EXCEEDED;
        let reply = PurchaseRejected {
            user_id,
            ticket_id,
            user_ticket_id,
            reason,
        }
        .into();
        return Verdict {
            reply,
            effect: None,
        };
    }
    Verdict {
        reply: TicketPurchased {
            user_id,
            ticket_id,
            user_ticket_id,
        }
        .into(),
        effect: Some(Effect::Create(NewTicket {
            id: user_ticket_id,
            user_id,
            ticket_id,
            saga_id: event.saga_id,
            created_at: now,
            held_by: Some(event.saga_id),
        })),
    }
}
