//! A path through the model as a story that a reader can follow: one line for each action, and the
//! rows, messages and ends that it left behind.

use std::fmt::Write as _;

use events::{Event, SagaId};

use crate::model::{Action, Delivery, Step};
use crate::world::{Hand, SAGAS, Stage, World, too_late};

/// The states of a path, each with the action that follows it.
pub(crate) fn tell(path: &[(World, Option<Action>)]) -> String {
    let mut story = String::new();
    let first = path.first().map(|(world, _)| world);
    if first.is_some_and(|world| *world != World::started()) {
        story += "   0. the ticket-worker has lost the row of a saga that was refused since\n";
    }
    for (number, pair) in path.windows(2).enumerate() {
        let [(before, Some(action)), (after, _)] = pair else {
            unreachable!("two states have an action in between");
        };
        let line = describe(before, action, after);
        let _ = writeln!(story, "{:>4}. {line}", number + 1);
    }
    if let Some((world, _)) = path.last() {
        story += &summary(world);
    }
    story
}

fn describe(before: &World, action: &Action, after: &World) -> String {
    match action {
        Action::Take(service, batch) => {
            let batch: Vec<String> = batch.iter().map(delivery).collect();
            format!("{} takes {}", service.0, batch.join(", "))
        }
        Action::Step(service, index, step) => {
            let hands = &before.worker(*service).hands;
            let dropped = after.worker(*service).hands.len() < hands.len();
            let hand = &hands[*index];
            let batch: Vec<String> = hand.batch.iter().map(|event| name(event)).collect();
            let what = what_it_does(*step, hand, dropped);
            format!("{} {what} {}", service.0, batch.join(", "))
        }
    }
}

fn what_it_does(step: Step, hand: &Hand, dropped: bool) -> String {
    let replies: Vec<String> = hand.replies.iter().map(|reply| content(reply)).collect();
    let replies = replies.join(", ");
    match (step, &hand.stage) {
        (Step::Commit, _) if dropped => "loses the race and drops".to_owned(),
        (Step::Commit, _) => format!("commits {replies} on"),
        (Step::Publish, _) => format!("publishes {replies} on"),
        (Step::Acknowledge, _) => "acknowledges".to_owned(),
        (Step::Crash, Stage::Decided(_)) => "crashes before it commits".to_owned(),
        (Step::Crash, Stage::Committed) => "crashes after it committed".to_owned(),
        (Step::Crash, Stage::HalfSettled) => "crashes halfway through settling".to_owned(),
    }
}

fn delivery(Delivery { event, now }: &Delivery) -> String {
    let when = if *now == too_late() {
        "late"
    } else {
        "in time"
    };
    format!("{} ({when})", name(event))
}

fn name(event: &Event) -> String {
    format!("{} of {}", event.message_type(), letter(event.saga_id))
}

fn content(event: &Event) -> String {
    let reason = event.message.particulars().reason;
    reason.map_or_else(
        || event.message_type().to_string(),
        |reason| format!("{} ({reason})", event.message_type()),
    )
}

fn letter(saga: SagaId) -> char {
    if saga == SAGAS[0] { 'A' } else { 'B' }
}

fn summary(world: &World) -> String {
    let mut text = String::new();
    for saga in SAGAS {
        let ends: Vec<String> = world
            .ends_of(saga)
            .map(|end| end.message_type().to_string())
            .collect();
        let _ = writeln!(
            text,
            "      {}: ends [{}], ticket live: {}, registered: {}",
            letter(saga),
            ends.join(", "),
            world.tickets.database.has_live_ticket(saga),
            world.regists.database.has_registration(saga),
        );
    }
    let left = world.network.iter().filter(|(_, waiting)| **waiting);
    let left: Vec<String> = left.map(|(event, _)| name(event)).collect();
    text + &format!("      left to deliver: [{}]\n", left.join(", "))
}
