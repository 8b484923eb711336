//! What must hold: in every state, in every state where nothing is left to do, and somewhere.
//!
//! "Always ends" is three claims about states, and no `eventually` property. Stateright checks
//! those on acyclic graphs only, and this graph has cycles: a message comes again, a replica
//! crashes. The claims are: no step but a fault fails to bring the end nearer (a number that cannot
//! fall for ever); whatever is left to do can be done without a fault; and where nothing is left to
//! do, every saga has its end. Together: once faults cease, every run ends, whatever its order.

use events::choreography::{Outcome, saga_of};
use events::{Message, MessageType, Reason, SagaId};
use saga::decision::Decision;
use stateright::{Model, Property};

use crate::database::Database;
use crate::model::{Scope, is_fault};
use crate::world::{SAGAS, Stage, World};

pub(crate) const ONE_END: &str = "no saga has two different ends";
pub(crate) const ONE_REGISTRATION: &str = "a user is registered for a ticket at most once";
pub(crate) const NOT_UNDONE: &str = "what is registered is not undone";
pub(crate) const STAYS_GONE: &str = "after its saga was rejected or compensated no ticket is live";
pub(crate) const KEPT: &str = "a stored decision never changes";
pub(crate) const STORED: &str = "no end is published before it is stored";
pub(crate) const NEARER: &str = "every step but a fault brings the end nearer";
pub(crate) const NOT_STUCK: &str = "whatever is left to do can be done without a fault";
pub(crate) const ENDED: &str = "with nothing left to do every saga has its one end";
pub(crate) const BALANCED: &str = "with nothing left to do the live tickets are the registered";
pub(crate) const ONE_COMPLETED: &str =
    "with nothing left to do one saga has completed, or deadlines refused both";

/// A property of the model.
pub(crate) type Claim = Property<Scope>;

pub(crate) fn properties(scope: &Scope) -> Vec<Claim> {
    let mut all = safety();
    all.extend(ending());
    all.extend(not_vacuous());
    if scope.deadlines {
        all.extend(not_vacuous_with_deadlines());
    }
    if scope.lost_purchase {
        all.push(not_vacuous_with_a_lost_purchase());
    }
    all
}

fn safety() -> Vec<Claim> {
    vec![
        Claim::always(ONE_END, |_, world| {
            SAGAS.iter().all(|&saga| world.ends_of(saga).count() <= 1)
        }),
        Claim::always(ONE_REGISTRATION, |_, world| {
            world.regists.database.registrations.len() <= 1
        }),
        Claim::always(NOT_UNDONE, |_, world| {
            let registered = |saga| world.regists.database.has_registration(saga);
            let bought = |saga| world.tickets.database.has_live_ticket(saga);
            SAGAS.iter().all(|&saga| !registered(saga) || bought(saga))
        }),
        Claim::always(STAYS_GONE, |_, world| {
            let gone = |end| outcome(end) != Some(Outcome::Completed);
            let is_gone = |saga| world.ends_of(saga).any(gone);
            let bought = |saga| world.tickets.database.has_live_ticket(saga);
            SAGAS.iter().all(|&saga| !is_gone(saga) || !bought(saga))
        }),
        Claim::always(KEPT, |_, world| !world.rewritten),
        Claim::always(STORED, |_, world| {
            let stored = |saga, end| {
                let databases = [&world.tickets.database, &world.regists.database];
                databases.iter().any(|rows| has_reply(rows, saga, end))
            };
            let mut ends = world.ends.iter();
            ends.all(|(saga, end)| stored(*saga, end))
        }),
    ]
}

fn ending() -> Vec<Claim> {
    vec![
        Claim::always(NEARER, |_, world| !world.stalled),
        Claim::always(NOT_STUCK, |scope: &Scope, world| {
            // What is in hand can always go on.
            if world.is_quiet() || world.hands().next().is_some() {
                return true;
            }
            let mut actions = Vec::new();
            scope.actions(world, &mut actions);
            actions.iter().any(|action| !is_fault(world, action))
        }),
        Claim::always(ENDED, |_, world| {
            let ends = |saga| world.ends_of(saga).count();
            !world.is_quiet() || SAGAS.iter().all(|&saga| ends(saga) == 1)
        }),
        Claim::always(BALANCED, |_, world| {
            let bought = |saga| world.tickets.database.has_live_ticket(saga);
            let registered = |saga| world.regists.database.has_registration(saga);
            let same = |&saga| bought(saga) == registered(saga);
            !world.is_quiet() || SAGAS.iter().all(same)
        }),
        Claim::always(ONE_COMPLETED, |_, world| {
            let completed = count(world, Outcome::Completed);
            let late = |&saga| refused_for(world, saga, &Reason::DEADLINE_EXCEEDED);
            !world.is_quiet() || completed == 1 || completed == 0 && SAGAS.iter().all(late)
        }),
    ]
}

fn not_vacuous() -> Vec<Claim> {
    vec![
        Claim::sometimes(
            "one saga completes and the other is compensated",
            |_, world| {
                world.is_quiet()
                    && count(world, Outcome::Completed) == 1
                    && count(world, Outcome::Compensated) == 1
            },
        ),
        Claim::sometimes(
            "a duplicate is answered from the stored decision",
            |_, world| {
                let again = |event| world.network.get(event) == Some(&false);
                let mut hands = world.hands().filter(|hand| hand.stage == Stage::Committed);
                hands.any(|hand| hand.batch.iter().all(again))
            },
        ),
        Claim::sometimes(
            "both sagas are purchased before one registers",
            |_, world| {
                let bought = |&saga: &SagaId| world.tickets.database.has_live_ticket(saga);
                world.regists.database.decisions.is_empty() && SAGAS.iter().all(bought)
            },
        ),
        Claim::sometimes("a crash loses a reply that is stored", |_, world| {
            let stored = world.tickets.database.replies() > 0;
            let published = world.network.len() > SAGAS.len() || !world.ends.is_empty();
            stored && !published && world.hands().next().is_none()
        }),
    ]
}

fn not_vacuous_with_deadlines() -> Vec<Claim> {
    vec![
        Claim::sometimes(
            "one saga completes and the other is rejected",
            |_, world| {
                world.is_quiet()
                    && count(world, Outcome::Completed) == 1
                    && count(world, Outcome::Rejected) == 1
            },
        ),
        Claim::sometimes("deadlines refuse both sagas", |_, world| {
            world.is_quiet() && count(world, Outcome::Completed) == 0
        }),
    ]
}

fn not_vacuous_with_a_lost_purchase() -> Claim {
    Claim::sometimes(
        "a late purchase meets the tombstone of its undo",
        |_, world| {
            world.tickets.hands.iter().any(|hand| {
                let pairs = hand.batch.iter().zip(&hand.replies);
                let mut pairs = pairs.map(|(on, reply)| (on.message_type(), reply.message_type()));
                pairs.any(|pair| {
                    pair == (MessageType::PurchaseAndRegister, MessageType::TicketDeleted)
                })
            })
        },
    )
}

fn outcome(end: &Message) -> Option<Outcome> {
    let message = end.message_type();
    saga_of(message)?.outcome_of(message)
}

/// How many sagas ended so.
fn count(world: &World, wanted: Outcome) -> usize {
    let ended = |&saga: &SagaId| world.ends_of(saga).any(|end| outcome(end) == Some(wanted));
    SAGAS.iter().copied().filter(ended).count()
}

fn refused_for(world: &World, saga: SagaId, reason: &Reason) -> bool {
    let mut ends = world.ends_of(saga);
    ends.any(|end| end.particulars().reason == Some(reason))
}

fn has_reply(rows: &Database, saga: SagaId, message: &Message) -> bool {
    rows.decisions.get(&saga).is_some_and(|row| {
        let Decision { step, undo, .. } = &**row;
        let mut replies = step.iter().chain(undo);
        replies.any(|reply| reply.message == *message)
    })
}
