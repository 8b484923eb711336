//! The rules of buying a ticket. Pure: no clock, no I/O. That a decision is made once, repeated
//! when asked again, and not started after its undo is `saga::decision`'s doing.

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
    Create(UserTicket),
    /// Marks the ticket deleted if this saga made it.
    Delete {
        id: UserTicketId,
        saga_id: SagaId,
        at: Timestamp,
    },
}

/// A ticket about to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserTicket {
    pub id: UserTicketId,
    pub user_id: UserId,
    pub ticket_id: TicketId,
    pub saga_id: SagaId,
    pub created_at: Timestamp,
}

impl Decider for TicketDecider {
    const SERVICE: Service = TICKET_WORKER;
    type Facts = ();
    type Effect = Effect;

    fn decide(
        &self,
        event: &Event,
        (): &mut (),
        moment: Moment,
    ) -> Result<Verdict<Effect>, Unexpected> {
        match &event.message {
            Message::PurchaseAndRegister(command) => Ok(purchase(event, command, moment.now)),
            other => Err(Unexpected::of::<Self>(other)),
        }
    }

    /// Whatever was refused later, and by whom: the message says which ticket and why.
    fn undo(
        &self,
        event: &Event,
        done: Option<&Message>,
        (): &mut (),
        moment: Moment,
    ) -> Result<Verdict<Effect>, Unexpected> {
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
        effect: Some(Effect::Create(UserTicket {
            id: user_ticket_id,
            user_id,
            ticket_id,
            saga_id: event.saga_id,
            created_at: now,
        })),
    }
}
