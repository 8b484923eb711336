//! The rules of registering for an event. Pure: no clock, no I/O, no randomness of its own. That a
//! decision is made once and repeated when asked again is `saga::decision`'s doing.

use std::collections::HashSet;

use events::choreography::{REGIST_WORKER, Service};
use events::{
    Event, Message, Reason, RegistId, RegistrationCompleted, RegistrationFailed, SagaId, TicketId,
    TicketPurchased, Timestamp, UserId, UserTicketId,
};
use saga::decision::{Decider, Moment, Unexpected, Verdict};

#[derive(Debug)]
pub struct RegistDecider;

/// A registration about to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regist {
    pub id: RegistId,
    pub user_id: UserId,
    pub user_ticket_id: UserTicketId,
    pub ticket_id: TicketId,
    pub saga_id: SagaId,
    pub created_at: Timestamp,
}

/// The users and tickets of a batch that have a live registration already.
#[derive(Debug, Default)]
pub struct Registered(pub HashSet<(UserId, TicketId)>);

impl Decider for RegistDecider {
    const SERVICE: Service = REGIST_WORKER;
    type Facts = Registered;
    type Effect = Regist;

    fn decide(
        &self,
        event: &Event,
        registered: &mut Registered,
        moment: Moment,
    ) -> Result<Verdict<Regist>, Unexpected> {
        match &event.message {
            Message::TicketPurchased(ticket) => Ok(register(event, ticket, registered, moment)),
            other => Err(Unexpected::of::<Self>(other)),
        }
    }
}

fn register(
    event: &Event,
    ticket: &TicketPurchased,
    registered: &mut Registered,
    Moment { now, fresh_id }: Moment,
) -> Verdict<Regist> {
    let TicketPurchased {
        user_id,
        ticket_id,
        user_ticket_id,
    } = *ticket;
    let refuse = |reason| Verdict {
        reply: RegistrationFailed {
            user_id,
            ticket_id,
            user_ticket_id,
            reason,
        }
        .into(),
        effect: None,
    };
    if event.is_late(now) {
        return refuse(Reason::DEADLINE_EXCEEDED);
    }
    // Inserting at once is what makes the second of two in one batch the refused one.
    if !registered.0.insert((user_id, ticket_id)) {
        return refuse(Reason::ALREADY_REGISTERED);
    }
    let id = RegistId(fresh_id);
    Verdict {
        reply: RegistrationCompleted {
            regist_id: id,
            user_id,
            ticket_id,
            user_ticket_id,
        }
        .into(),
        effect: Some(Regist {
            id,
            user_id,
            user_ticket_id,
            ticket_id,
            saga_id: event.saga_id,
            created_at: now,
        }),
    }
}
