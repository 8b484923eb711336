//! The rules of registering for an event, and in [`routes`] of changing and cancelling. Pure: no
//! clock, no I/O, no randomness of its own. That a decision is made once and repeated when asked
//! again is `saga::decision`'s doing.

mod routes;

use std::collections::{HashMap, HashSet};

use events::choreography::{REGIST_WORKER, Service};
use events::{
    Event, Message, Reason, RegistId, RegistrationCompleted, RegistrationFailed, SagaId, TicketId,
    TicketPurchased, Timestamp, UserId, UserTicketId,
};
use saga::decision::{Decider, Moment, Unexpected, Verdict};

#[derive(Debug)]
pub struct RegistDecider;

/// A live registration, or one about to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regist {
    pub id: RegistId,
    pub user_id: UserId,
    pub user_ticket_id: UserTicketId,
    pub ticket_id: TicketId,
    /// The saga that gave it its ticket, and holds the ticket for it.
    pub saga_id: SagaId,
    pub created_at: Timestamp,
}

/// A live registration as a decision found it. Its saga changes exactly when its ticket does, so
/// after a move, even one there and back, no registration is the one that was seen: the decision
/// is a lost race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub id: RegistId,
    pub saga_id: SagaId,
}

/// A change of `regist`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Create(Regist),
    /// Gives a live registration another ticket.
    Move {
        from: Seen,
        to: Regist,
        at: Timestamp,
    },
    /// Marks a live registration deleted; its ticket may be registered with again.
    Cancel {
        of: Seen,
        at: Timestamp,
    },
    /// Sees to it that nobody is ever registered with the ticket again.
    Close(Closing),
}

/// Stands in the place of the registration that a deleted ticket had, or would have had. Its column is
/// `is_tombstone`, from when that word was not yet kept for decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    pub user_ticket_id: UserTicketId,
    /// The live registration whose row it takes; none: a new row.
    pub of: Option<Seen>,
    /// The id of that row.
    pub fresh_id: RegistId,
    pub saga_id: SagaId,
    pub at: Timestamp,
}

impl Regist {
    pub(crate) fn seen(&self) -> Seen {
        let Self { id, saga_id, .. } = *self;
        Seen { id, saga_id }
    }
}

/// What there is of what a batch is about.
#[derive(Debug, Default)]
pub struct Registrations {
    /// The users and tickets on sale of live registrations.
    pub registered: HashSet<(UserId, TicketId)>,
    /// The bought tickets that nobody will ever be registered with again.
    pub closed: HashSet<UserTicketId>,
    /// The live registrations that are to be changed or cancelled.
    pub live: HashMap<RegistId, Regist>,
}

impl Decider for RegistDecider {
    const SERVICE: Service = REGIST_WORKER;
    type Facts = Registrations;
    type Effect = Effect;

    fn decide(
        &self,
        event: &Event,
        known: &mut Registrations,
        moment: Moment,
    ) -> Result<Verdict<Effect>, Unexpected> {
        Ok(match &event.message {
            Message::TicketPurchased(ticket) => purchased(event, ticket, known, moment),
            Message::TicketHeld(ticket) => routes::held(event, ticket, known, moment),
            Message::NewTicketHeld(ticket) => routes::change(event, ticket, known, moment),
            Message::CancelRegistration(command) => routes::cancel(event, command, known, moment),
            Message::RemoveTicket(command) => routes::close(event, command, known, moment),
            other => return Err(Unexpected::of::<Self>(other)),
        })
    }
}

/// A ticket to register its user with.
struct Request {
    user_id: UserId,
    ticket_id: TicketId,
    user_ticket_id: UserTicketId,
}

/// The new registration, or why there is none.
fn register(
    event: &Event,
    request: &Request,
    known: &mut Registrations,
    Moment { now, fresh_id }: Moment,
) -> Result<Regist, Reason> {
    let Request {
        user_id,
        ticket_id,
        user_ticket_id,
    } = *request;
    if event.is_late(now) {
        return Err(Reason::DEADLINE_EXCEEDED);
    }
    if known.closed.contains(&user_ticket_id) {
        return Err(Reason::TICKET_DELETED);
    }
    // Inserting at once is what makes the second of two in one batch the refused one.
    if !known.registered.insert((user_id, ticket_id)) {
        return Err(Reason::ALREADY_REGISTERED);
    }
    Ok(Regist {
        id: RegistId(fresh_id),
        user_id,
        user_ticket_id,
        ticket_id,
        saga_id: event.saga_id,
        created_at: now,
    })
}

fn purchased(
    event: &Event,
    ticket: &TicketPurchased,
    known: &mut Registrations,
    moment: Moment,
) -> Verdict<Effect> {
    let TicketPurchased {
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
            RegistrationCompleted {
                regist_id: regist.id,
                user_id,
                ticket_id,
                user_ticket_id,
            },
            Some(Effect::Create(regist)),
        ),
        Err(reason) => says(
            RegistrationFailed {
                user_id,
                ticket_id,
                user_ticket_id,
                reason,
            },
            None,
        ),
    }
}

fn says(reply: impl Into<Message>, effect: Option<Effect>) -> Verdict<Effect> {
    let reply = reply.into();
    Verdict { reply, effect }
}
