//! What `dlq` says, as tables for a person or as JSON for a program.

use events::Timestamp;
use saga::dead_letters::{Entry, Group, Outcome, Parked, Progress};
use serde_json::{Value, json};

/// Unknown or not there.
const NONE: &str = "-";

pub(crate) fn groups(groups: &[Group], as_json: bool) {
    let one = |group: &Group| {
        json!({
            "queue": group.queue,
            "cause": group.cause.key(),
            "text": group.cause.to_string(),
            "count": group.count,
            "oldest": group.oldest,
            "newest": group.newest,
            "example": group.example.id,
        })
    };
    if as_json {
        return print(&groups.iter().map(one).collect());
    }
    let mut rows =
        vec![["CAUSE", "COUNT", "OLDEST", "NEWEST", "QUEUE", "EXAMPLE"].map(str::to_owned)];
    for group in groups {
        rows.push([
            group.cause.key(),
            group.count.to_string(),
            group.oldest.map_or_else(|| NONE.to_owned(), time),
            group.newest.map_or_else(|| NONE.to_owned(), time),
            group.queue.clone(),
            group.example.id.clone(),
        ]);
    }
    let mut lines = table(&rows).into_iter();
    println!("{}", lines.next().unwrap_or_default());
    for (line, group) in lines.zip(groups) {
        println!("{line}\n          {}", group.cause);
    }
}

pub(crate) fn messages(messages: &[Parked], as_json: bool) {
    if as_json {
        return print(&messages.iter().map(message).collect());
    }
    let mut rows = vec![
        [
            "ID",
            "TYPE",
            "ATTEMPTS",
            "REQUEUED",
            "LAST FAILURE",
            "QUEUE",
            "FAILURE",
        ]
        .map(str::to_owned),
    ];
    for parked in messages {
        rows.push([
            parked.id.clone(),
            parked.message_type().unwrap_or_else(|| NONE.to_owned()),
            parked.attempts.to_string(),
            parked.requeued.to_string(),
            parked.last_failed_at.map_or_else(|| NONE.to_owned(), time),
            parked.queue.clone(),
            parked.failure.clone(),
        ]);
    }
    table(&rows).iter().for_each(|line| println!("{line}"));
}

fn message(parked: &Parked) -> Value {
    json!({
        "id": parked.id,
        "queue": parked.queue,
        "type": parked.message_type(),
        "saga": parked.saga_id(),
        "failure": parked.failure,
        "cause": parked.cause().key(),
        "attempts": parked.attempts,
        "requeued": parked.requeued,
        "firstFailedAt": parked.first_failed_at,
        "lastFailedAt": parked.last_failed_at,
        "exchange": parked.exchange,
        "routingKey": parked.routing_key,
        "body": parked.text(),
        "readable": parked.event().is_ok(),
    })
}

/// A message wherever it is parked, and what operators did to it.
pub(crate) fn story(found: &[Parked], history: &[Entry], as_json: bool) {
    if as_json {
        let parked: Vec<_> = found.iter().map(message).collect();
        return print(&json!({ "parked": parked, "history": history }));
    }
    for parked in found {
        one(parked);
    }
    println!("history");
    if history.is_empty() {
        println!("  no operator has touched it");
    }
    for entry in history {
        println!("  {}", line(entry));
    }
}

fn one(parked: &Parked) {
    let known = |at: Option<Timestamp>| at.map_or_else(|| NONE.to_owned(), time);
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| NONE.to_owned());
    let readable = match parked.event() {
        Ok(_) => "yes".to_owned(),
        Err(error) => format!("no: {}", saga::failure::chain(&error)),
    };
    for (name, value) in [
        ("id", parked.id.clone()),
        ("queue", parked.queue.clone()),
        ("saga", text(&parked.saga_id())),
        ("failure", parked.failure.clone()),
        (
            "cause",
            format!("{}  {}", parked.cause().key(), parked.cause()),
        ),
        ("attempts", parked.attempts.to_string()),
        ("requeued", parked.requeued.to_string()),
        ("first failure", known(parked.first_failed_at)),
        ("last failure", known(parked.last_failed_at)),
        ("exchange", text(&parked.exchange)),
        ("routing key", text(&parked.routing_key)),
        ("readable", readable),
    ] {
        println!("{name:<14} {value}");
    }
    let body = parked.text();
    let pretty =
        serde_json::from_str(&body).and_then(|event: Value| serde_json::to_string_pretty(&event));
    println!(
        "envelope\n{}\n",
        pretty.unwrap_or_else(|_| body.into_owned())
    );
}

pub(crate) fn entries(entries: &[Entry], as_json: bool) {
    if as_json {
        return print(&json!(entries));
    }
    entries
        .iter()
        .for_each(|entry| println!("{}  {}  {}", line(entry), entry.queue, entry.id));
}

fn line(entry: &Entry) -> String {
    let Entry {
        by,
        action,
        reason,
        failure,
        ..
    } = entry;
    format!(
        "{}  {action:<7}  {by}: {reason:?}  (was parked for: {failure})",
        time(entry.at)
    )
}

pub(crate) fn progress(progress: &Progress<'_>) -> String {
    match progress {
        Progress::PutBack { queue, count } => format!("put back {count} of {queue}"),
        Progress::Watching { limit, .. } => {
            format!(
                "watching for up to {} whether they fail again",
                humantime::format_duration(*limit)
            )
        }
        Progress::Held { .. } => "none came back".to_owned(),
    }
}

pub(crate) fn outcome(outcome: &Outcome, as_json: bool) {
    let Outcome {
        requeued,
        came_back,
        unfinished,
        cut_short: _,
    } = outcome;
    if as_json {
        let came_back: Vec<_> = came_back.iter().map(message).collect();
        return print(
            &json!({ "requeued": requeued, "cameBack": came_back, "unfinished": unfinished }),
        );
    }
    println!("{requeued} put back");
    if !came_back.is_empty() {
        println!(
            "stopped: {} failed again and are parked again; the rest was left",
            came_back.len()
        );
        messages(came_back, false);
    }
    if *unfinished > 0 {
        println!(
            "stopped: {unfinished} were not handled while they were watched; is the system running?"
        );
    }
}

pub(crate) fn dropped(dropped: &[Parked], as_json: bool) {
    if as_json {
        return print(&dropped.iter().map(message).collect());
    }
    println!(
        "{} dropped; the record keeps them (dlq log --json)",
        dropped.len()
    );
}

/// To the second.
pub(crate) fn time(at: Timestamp) -> String {
    let text = at.to_string();
    match text.get(..19) {
        Some(seconds) => format!("{seconds}Z"),
        None => text,
    }
}

fn table<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &[String; N]| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn print(value: &Value) {
    println!("{value:#}");
}
