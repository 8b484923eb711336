//! The invariants of the whole system, over what is left in the three databases.
//!
//! Whatever was killed on the way: every saga that anyone ever heard of has ended, with one outcome;
//! a completed one left one live ticket and the live registration that names it, any other nothing;
//! and what callers were told agrees. The check itself is pure; [`Databases::read`] fetches for it.

mod databases;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::load::{Answer, Call, Pair};

pub use databases::Databases;

/// Between two readings of all three databases, which take some of the machine's time themselves.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// The status of an answer that promises nothing: a server is away.
const UNAVAILABLE: u16 = 503;
/// The reason of a refusal that takes another request for the same pair.
const ALREADY_REGISTERED: &str = "already_registered";
/// How many violations a failure shows.
const SHOWN: usize = 10;

/// What the three databases hold.
#[derive(Debug, Default, Clone)]
pub struct World {
    /// Rows of `user_ticket` that are not deleted.
    pub tickets: Vec<LiveTicket>,
    /// Rows of `regist` that are not deleted.
    pub registrations: Vec<LiveRegistration>,
    /// Sagas with a decision of the ticket-worker or the regist-worker.
    pub decided: HashSet<Uuid>,
    /// Status by saga.
    pub ledger: HashMap<Uuid, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveTicket {
    pub id: Uuid,
    pub saga: Uuid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveRegistration {
    pub user_ticket: Uuid,
    pub saga: Uuid,
    pub user: i64,
    pub ticket: i64,
}

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// The ledger does not know it, or says that it still runs.
    NotEnded { saga: Uuid, status: Option<String> },
    /// It completed, but there is not exactly one live ticket and one registration of that ticket.
    CompletedWithout {
        saga: Uuid,
        tickets: usize,
        registrations: usize,
    },
    /// It did not complete, but something of it is live.
    LeftBehind {
        saga: Uuid,
        tickets: usize,
        registrations: usize,
    },
    /// The live registration names another ticket than the live one of its saga.
    WrongTicket { saga: Uuid },
    /// The business rule: one live registration of a user for a ticket.
    RegisteredTwice { user: i64, ticket: i64 },
    /// A caller was told something else.
    ToldOtherwise {
        saga: Uuid,
        told: Answer,
        status: Option<String>,
    },
    /// A caller got two successes for one pair.
    SucceededTwice { pair: Pair },
    /// A pair was refused as registered already, although nothing else was ever sent for it.
    RefusedWithoutARival { saga: Uuid, pair: Pair },
    /// A good request was answered with neither an outcome nor 503.
    WrongStatus {
        pair: Pair,
        status: u16,
        body: String,
    },
}

/// How the sagas ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    pub completed: usize,
    pub rejected: usize,
    pub compensated: usize,
}

/// Checks everything; the calls are what callers were told, and name the sagas that were accepted.
pub fn check(world: &World, calls: &[Call]) -> Result<Totals, Vec<Violation>> {
    let mut found = Vec::new();
    let tickets = count(world.tickets.iter().map(|ticket| ticket.saga));
    let registrations = count(world.registrations.iter().map(|regist| regist.saga));
    let mut totals = Totals::default();
    for saga in sagas(world, calls) {
        let status = world.ledger.get(&saga);
        let tickets = tickets.get(&saga).copied().unwrap_or(0);
        let registrations = registrations.get(&saga).copied().unwrap_or(0);
        let nothing_left = (tickets, registrations) == (0, 0);
        match status.map(String::as_str) {
            Some("completed") if (tickets, registrations) == (1, 1) => totals.completed += 1,
            Some("completed") => found.push(Violation::CompletedWithout {
                saga,
                tickets,
                registrations,
            }),
            Some("rejected") if nothing_left => totals.rejected += 1,
            Some("compensated") if nothing_left => totals.compensated += 1,
            Some("rejected" | "compensated") => found.push(Violation::LeftBehind {
                saga,
                tickets,
                registrations,
            }),
            _ => found.push(Violation::NotEnded {
                saga,
                status: status.cloned(),
            }),
        }
    }
    found.extend(wrong_tickets(world));
    found.extend(registered_twice(world));
    found.extend(calls.iter().filter_map(|call| told_otherwise(world, call)));
    found.extend(succeeded_twice(calls));
    found.extend(refused_without_a_rival(calls));
    found.extend(calls.iter().filter_map(wrong_status));
    match found.is_empty() {
        true => Ok(totals),
        false => Err(found),
    }
}

/// Waits until every saga that anyone knows has ended, then checks everything; panics when that takes
/// longer than `limit`, or with the first violations.
pub fn settle(databases: &Databases, calls: &[Call], limit: Duration) -> Totals {
    let since = Instant::now();
    let world = loop {
        let world = databases.read();
        let unfinished = unfinished(&world, calls);
        if unfinished == 0 {
            break world;
        }
        assert!(
            since.elapsed() < limit,
            "{unfinished} sagas have not ended within {limit:?}: {:?}",
            first(check(&world, calls).expect_err("they have not ended"))
        );
        std::thread::sleep(LOOK_AGAIN);
    };
    check(&world, calls).unwrap_or_else(|found| {
        panic!("{} broken invariants: {:#?}", found.len(), first(found));
    })
}

fn first(mut violations: Vec<Violation>) -> Vec<Violation> {
    violations.truncate(SHOWN);
    violations
}

/// How many sagas, of those that a service or a caller knows, have not ended by the ledger.
pub fn unfinished(world: &World, calls: &[Call]) -> usize {
    let ended = |saga: &Uuid| {
        let status = world.ledger.get(saga).map(String::as_str);
        matches!(status, Some("completed" | "rejected" | "compensated"))
    };
    sagas(world, calls)
        .iter()
        .filter(|saga| !ended(saga))
        .count()
}

/// Every saga that anyone knows: a caller, a worker, the ledger.
fn sagas(world: &World, calls: &[Call]) -> HashSet<Uuid> {
    let accepted = calls.iter().filter_map(|call| call.answer.saga());
    let live = world.tickets.iter().map(|ticket| ticket.saga);
    let registered = world.registrations.iter().map(|regist| regist.saga);
    let known = world.ledger.keys().chain(&world.decided).copied();
    accepted
        .chain(live)
        .chain(registered)
        .chain(known)
        .collect()
}

fn count(sagas: impl Iterator<Item = Uuid>) -> HashMap<Uuid, usize> {
    let mut counts = HashMap::new();
    sagas.for_each(|saga| *counts.entry(saga).or_default() += 1);
    counts
}

fn wrong_tickets(world: &World) -> impl Iterator<Item = Violation> {
    let live: HashMap<Uuid, Uuid> = world.tickets.iter().map(|t| (t.saga, t.id)).collect();
    let wrong = world.registrations.iter().filter(move |regist| {
        live.get(&regist.saga)
            .is_some_and(|id| *id != regist.user_ticket)
    });
    wrong.map(|regist| Violation::WrongTicket { saga: regist.saga })
}

fn registered_twice(world: &World) -> impl Iterator<Item = Violation> {
    let mut seen = HashSet::new();
    let pairs = world.registrations.iter().map(|r| (r.user, r.ticket));
    pairs
        .filter(move |pair| !seen.insert(*pair))
        .map(|(user, ticket)| Violation::RegisteredTwice { user, ticket })
}

fn told_otherwise(world: &World, call: &Call) -> Option<Violation> {
    let saga = call.answer.saga()?;
    let status = world.ledger.get(&saga).map(String::as_str);
    let agrees = match call.answer {
        Answer::Completed { .. } => status == Some("completed"),
        Answer::Refused { .. } => matches!(status, Some("rejected" | "compensated")),
        _ => true,
    };
    (!agrees).then(|| Violation::ToldOtherwise {
        saga,
        told: call.answer.clone(),
        status: status.map(str::to_owned),
    })
}

fn succeeded_twice(calls: &[Call]) -> impl Iterator<Item = Violation> {
    let mut seen = HashSet::new();
    let succeeded = calls
        .iter()
        .filter(|call| matches!(call.answer, Answer::Completed { .. }));
    succeeded
        .filter(move |call| !seen.insert(call.pair))
        .map(|call| Violation::SucceededTwice { pair: call.pair })
}

fn refused_without_a_rival(calls: &[Call]) -> impl Iterator<Item = Violation> {
    let mut sent = HashMap::new();
    let pairs = calls.iter().map(|call| call.pair);
    pairs.for_each(|pair| *sent.entry(pair).or_insert(0) += 1);
    calls.iter().filter_map(move |call| match &call.answer {
        Answer::Refused { saga, reason } if reason == ALREADY_REGISTERED => {
            let (saga, pair) = (*saga, call.pair);
            (sent[&pair] == 1).then_some(Violation::RefusedWithoutARival { saga, pair })
        }
        _ => None,
    })
}

/// Every request of the load is a good one, so all that may be wrong is that something is away.
fn wrong_status(call: &Call) -> Option<Violation> {
    match &call.answer {
        Answer::NotTaken { status, body } if *status != UNAVAILABLE => {
            Some(Violation::WrongStatus {
                pair: call.pair,
                status: *status,
                body: body.clone(),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
