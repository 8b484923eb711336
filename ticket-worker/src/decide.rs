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

    fn undo(
        &self,
        event: &Event,
        done: Option<&Message>,
        (): &mut (),
        moment: Moment,
    ) -> Result<Verdict<Effect>, Unexpected> {
        match &event.message {
            Message::RegistrationFailed(failed) => {
                let reply = |user_ticket_id| {
                    TicketDeleted {
                        user_ticket_id,
                        cause: failed.reason.clone(),
                    }
                    .into()
                };
                Ok(match done {
                    Some(Message::TicketPurchased(own)) => Verdict {
                        reply: reply(own.user_ticket_id),
                        effect: Some(Effect::Delete {
                            id: own.user_ticket_id,
                            saga_id: event.saga_id,
                            at: moment.now,
                        }),
                    },
                    // Nothing of this saga exists: its tombstone is all there is to write.
                    _ => Verdict {
                        reply: reply(failed.user_ticket_id),
                        effect: None,
                    },
                })
            }
            other => Err(Unexpected::of::<Self>(other)),
        }
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
