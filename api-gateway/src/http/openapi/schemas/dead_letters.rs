//! The shapes of dead letters and of what operators do to them.

use events::choreography;
use saga::dead_letters::UNROUTED;
use serde_json::{Value, json};

use super::{Field, has, many, object, or_null, refer};
use crate::dead_letters::Status;

const IN_LIST: [Field; 10] = [
    has("id", "Text").about("The message's: an event's own"),
    has("queue", "Text").about("Where it came from, and is put back to"),
    or_null("type", "Text"),
    or_null("sagaId", "Text"),
    has("failure", "Text").about("Why it was parked"),
    has("cause", "Text").about("The key of its group"),
    has("attempts", "Count").about("How often handling it has failed"),
    has("requeued", "Count").about("How often an operator put it back before"),
    or_null("firstFailedAt", "Timestamp"),
    or_null("lastFailedAt", "Timestamp"),
];

const OF_ONE: [Field; 5] = [
    EXCHANGE,
    ROUTING_KEY,
    or_null("unreadable", "Text").about("Why this build cannot read it, if it cannot"),
    has("envelope", "Any").about("The body as JSON; null if it is none"),
    has("body", "Text").about("The message as it lies there"),
];

const EXCHANGE: Field =
    or_null("exchange", "Text").about("Where it was published to; RabbitMQ alone keeps that");
const ROUTING_KEY: Field = or_null("routingKey", "Text");

const DEED: [Field; 11] = [
    has("run", "Uuid").about("The same for all messages of one request or command"),
    has("at", "Timestamp"),
    has("by", "Text").about("The `sub` of an operator's token, or who ran the command"),
    has("action", "DeadLetterAction"),
    has("reason", "Text"),
    has("id", "Text"),
    has("queue", "Text"),
    has("failure", "Text"),
    has("attempts", "Count"),
    has("requeued", "Count"),
    or_null("message", "DroppedMessage").about("All of a message that was dropped"),
];

const RUN: [Field; 11] = [
    has("run", "Uuid"),
    has("action", "DeadLetterAction"),
    has("by", "Text"),
    has("reason", "Text"),
    has("status", "RunStatus"),
    has("startedAt", "Timestamp"),
    or_null("endedAt", "Timestamp"),
    has("count", "Count").about("How many messages were put back or dropped so far"),
    many("cameBack", "DeadLetterInList").about("Those that failed again, 100 at most"),
    has("unfinished", "Count").about("How many were not handled while they were watched"),
    or_null("detail", "Text").about("What a person should know besides"),
];

pub(super) const OBJECTS: &[(&str, &str, &[Field])] = &[
    (
        "DeadLetterGroup",
        "The messages of one queue that were parked for the same cause",
        &[
            has("queue", "Text"),
            has("cause", "Text").about("Its key: what names the group in requests"),
            has("failure", "Text").about("What their failures have in common"),
            has("count", "Count"),
            or_null("oldest", "Timestamp"),
            or_null("newest", "Timestamp"),
            has("example", "Text").about("The id of one of them"),
        ],
    ),
    (
        "DeadLetterGroupList",
        "A page of groups",
        &[super::TOTAL, many("list", "DeadLetterGroup")],
    ),
    (
        "DeadLetterInList",
        "A dead letter without its body",
        &IN_LIST,
    ),
    (
        "DeadLetterList",
        "A page of dead letters",
        &[super::TOTAL, many("list", "DeadLetterInList")],
    ),
    (
        "DeadLetterStory",
        "A message wherever it is parked, and what operators did to it",
        &[many("parked", "DeadLetter"), many("history", "Deed")],
    ),
    ("Deed", "What an operator did to one message", &DEED),
    (
        "DroppedMessage",
        "A message that is nowhere else any more",
        &[
            or_null("body", "Text"),
            or_null("bytes", "Text").about("Hexadecimal, of one that is no text"),
            or_null("firstFailedAt", "Timestamp"),
            or_null("lastFailedAt", "Timestamp"),
            EXCHANGE,
            ROUTING_KEY,
        ],
    ),
    (
        "DeedList",
        "A page of the record, newest first",
        &[super::TOTAL, many("list", "Deed")],
    ),
    ("DeadLetterRun", "A requeue or drop", &RUN),
    (
        "DeadLetterRunList",
        "A page of runs",
        &[super::TOTAL, many("list", "DeadLetterRun")],
    ),
    (
        "DeadLetterRunning",
        "It is not over yet",
        &[has("run", "Uuid"), has("status", "StillRunning")],
    ),
];

/// Without the namespace, by which they may be named as well.
fn queues() -> Vec<String> {
    let work = choreography::steps().map(|step| step.queue());
    work.chain([UNROUTED.to_owned()]).collect()
}

/// A dead letter with its body.
pub(super) fn whole() -> Value {
    object(
        "A message that was parked",
        &[&IN_LIST[..], &OF_ONE].concat(),
    )
}

pub(super) fn scalars() -> Value {
    json!({
        "DeadLetterAction": {"type": "string", "enum": ["requeue", "drop"]},
        "RunStatus": {
            "type": "string",
            "enum": Status::ALL.map(Status::as_str),
            "description": "`cameBack`: some failed again; `notHandled`: nobody took them from their \
                            queue in time; both leave the rest parked. `failed`: the dead letters \
                            could not be reached any more. `elsewhere`: another gateway does it, or \
                            did",
        },
        "QueueName": {"type": "string", "enum": queues()},
        "IdList": {"type": "array", "items": refer("Text"), "minItems": 1, "maxItems": 100},
        "Ramp": {
            "type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 1000},
            "minItems": 1, "maxItems": 16,
        },
        "WatchSeconds": {"type": "integer", "minimum": 0, "maximum": 86400},
        "Reason": {"type": "string", "minLength": 1, "maxLength": 1000, "pattern": "\\S"},
    })
}
