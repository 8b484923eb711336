//! The plain routes: what callers do to tickets and registrations beside buying them, at the same
//! time and in any order.

use std::time::Duration;

use events::{
    AddTicket, CancelRegistration, ChangeRegistration, ChangeTicket, Message, Register,
    RemoveTicket, SagaId, TicketId, UserId, UserTicketId,
};

use crate::fate::Fate;
use crate::orders::Order;
use crate::replica::Ground;

/// One call of a plain route, a saga of its own.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) saga: SagaId,
    pub(crate) after: Duration,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Command(Message),
    /// Of whatever registration has the ticket then: the gateway reads first.
    ChangeRegistration {
        user_id: UserId,
        from: UserTicketId,
        to: UserTicketId,
    },
}

/// Whose ticket it is, at first.
type Known = (UserTicketId, UserId);

/// The calls of a world; in most worlds there are none, and everything is as the orders left it.
pub(crate) fn draw(fate: &Fate, orders: &[Order]) -> Vec<Call> {
    if !fate.plan.routes {
        return Vec::new();
    }
    let (chance, rush) = (&fate.chance, fate.plan.rush + fate.plan.tail);
    let rush = u64::try_from(rush.as_millis()).unwrap_or(u64::MAX);
    let mut known: Vec<Known> = orders
        .iter()
        .map(|order| (order.user_ticket, order.user))
        .collect();
    let call = |_| Call {
        saga: SagaId(chance.uuid()),
        after: chance.millis(0..rush + 1),
        what: what(fate, &mut known),
    };
    let mut calls: Vec<_> = (0..chance.number(1..orders.len() + 1)).map(call).collect();
    calls.sort_by_key(|call| call.after);
    calls
}

fn what(fate: &Fate, known: &mut Vec<Known>) -> What {
    let (plan, chance) = (&fate.plan, &fate.chance);
    let some_user = || UserId(chance.number(0..plan.users) as u64);
    let some_ticket = || TicketId(chance.number(0..plan.tickets) as u64);
    let (user_ticket_id, user_id) = known[chance.number(0..known.len())];
    let (to, owner) = known[chance.number(0..known.len())];
    What::Command(match chance.number(0..9) {
        0 => {
            let (user_ticket_id, user_id) = (UserTicketId(chance.uuid()), some_user());
            known.push((user_ticket_id, user_id));
            AddTicket {
                user_id,
                ticket_id: some_ticket(),
                user_ticket_id,
            }
            .into()
        }
        1..4 => Register {
            user_id,
            user_ticket_id,
        }
        .into(),
        4 => RemoveTicket {
            user_ticket_id,
            user_id: None,
        }
        .into(),
        5 | 6 => CancelRegistration {
            regist_id: None,
            user_id: None,
            user_ticket_id: Some(user_ticket_id),
        }
        .into(),
        7 => ChangeTicket {
            user_id: None,
            ticket_id: Some(some_ticket()),
            user_ticket_id,
        }
        .into(),
        _ => {
            return What::ChangeRegistration {
                user_id: owner,
                from: user_ticket_id,
                to,
            };
        }
    })
}

impl Call {
    /// The command, unless there is nothing to change.
    pub(crate) fn command(&self, ground: &Ground) -> Option<Message> {
        let (user_id, from, to) = match &self.what {
            What::Command(message) => return Some(message.clone()),
            What::ChangeRegistration { user_id, from, to } => (*user_id, *from, *to),
        };
        let regists = ground.regists.regists();
        let regist = regists.iter().find(|row| row.user_ticket_id == from)?;
        let change = ChangeRegistration {
            regist_id: regist.id,
            user_id,
            user_ticket_id: to,
            from,
        };
        Some(change.into())
    }
}
