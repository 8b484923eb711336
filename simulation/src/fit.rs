//! Whether tickets and registrations fit together, however they came to be.

use std::collections::{BTreeMap, BTreeSet};

use regist_worker::decide::Regist;
use ticket_worker::memory::Row;

use crate::check::Violation;

/// Every registration has a live ticket of its user, which its saga holds; and a live ticket is held
/// for no other reason.
pub(crate) fn misfits(tickets: &[Row], regists: &[Regist]) -> Vec<Violation> {
    let live = tickets.iter().map(|row| &row.ticket);
    let live = live.filter(|ticket| ticket.deleted_at.is_none());
    let live: BTreeMap<_, _> = live.map(|ticket| (ticket.id, ticket)).collect();
    let regist = |regist: &Regist| {
        let Some(ticket) = live.get(&regist.user_ticket_id) else {
            return Some(Violation::RegistrationWithoutTicket(regist.saga_id));
        };
        let of_this = (ticket.user_id, ticket.ticket_id) == (regist.user_id, regist.ticket_id);
        if !of_this {
            return Some(Violation::RegistrationOfAnotherTicket(regist.saga_id));
        }
        let held = ticket.held_by == Some(regist.saga_id);
        (!held).then_some(Violation::TicketNotHeld(regist.saga_id))
    };
    let holders: BTreeSet<_> = regists
        .iter()
        .map(|regist| (regist.user_ticket_id, regist.saga_id))
        .collect();
    let held = live
        .values()
        .filter_map(|ticket| Some((ticket.id, ticket.held_by?)));
    let idle = held.filter(|hold| !holders.contains(hold));
    let idle = idle.map(|(_, saga)| Violation::HeldForNothing(saga));
    regists.iter().filter_map(regist).chain(idle).collect()
}
