//! What must hold once every call is answered, whatever was called in whatever order.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use crate::caller::Caller;

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap().to_owned()
}

/// No registration without its user's live ticket, no ticket with two registrations, no user with
/// two registrations for one ticket on sale; and a ticket is held exactly if it has a registration.
pub(crate) fn check(caller: &mut Caller) -> (usize, usize) {
    let tickets = caller.all("/userTicket/list");
    let regists = caller.all("/regist/list");
    let by_id: HashMap<String, &Value> = tickets.iter().map(|row| (text(row, "id"), row)).collect();
    let (mut used, mut registered) = (HashSet::new(), HashSet::new());
    for regist in &regists {
        let id = text(regist, "userTicketId");
        let ticket = by_id.get(&id);
        let ticket = ticket.unwrap_or_else(|| panic!("{regist} has no live ticket"));
        assert_eq!(ticket["userId"], regist["userId"], "{regist} has {ticket}");
        let key = (ticket["userId"].as_u64(), ticket["ticketId"].as_u64());
        assert!(
            registered.insert(key),
            "{regist} is a second one for {ticket}"
        );
        assert!(used.insert(id), "{regist} is a second one with {ticket}");
    }
    for ticket in &tickets {
        let id = text(ticket, "id");
        let user = ticket["userId"].as_u64().unwrap();
        let ticket_id = ticket["ticketId"].as_u64();
        let change = json!({"id": id, "ticketId": ticket_id});
        let changed = caller.call("PUT", "/userTicket", &change);
        if used.contains(&id) {
            assert_eq!(changed.reason(), "ticket_in_use", "{ticket}: {changed:?}");
            continue;
        }
        assert_eq!(
            changed.status, 200,
            "{ticket} is held by nobody: {changed:?}"
        );
        let answer = caller.register(user, &id);
        let first = registered.insert((Some(user), ticket_id));
        let expected = if first { "" } else { "already_registered" };
        assert_eq!(answer.reason(), expected, "{ticket}: {answer:?}");
    }
    (tickets.len(), regists.len())
}
