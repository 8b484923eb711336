//! `event-replay show`: what happened in one saga, as a sequence diagram.

use std::path::PathBuf;

use clap::Args;
use event_replay::timeline::Timeline;
use events::{SagaId, Timestamp};
use serde_json::json;
use uuid::Uuid;

use super::one_saga::{in_file, in_journal};
use super::place::{Place, block_on};
use super::{Done, Outcome};

#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(flatten)]
    place: Place,
    /// The saga
    #[arg(value_name = "SAGA")]
    saga: Uuid,
    /// From this recording and not from the live journal
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// As a mermaid diagram
    #[arg(long)]
    mermaid: bool,
}

pub(super) fn run(flags: &Flags, as_json: bool) -> Outcome {
    let saga = SagaId(flags.saga);
    let found = match &flags.file {
        Some(file) => in_file(saga, file)?,
        None => block_on(async {
            let journal = flags.place.open().await?;
            let found = in_journal(saga, journal.as_ref()).await;
            journal.close().await;
            found
        })??,
    };
    let events = found.into_iter().map(|(_, event)| event).collect();
    let timeline = Timeline::of(events).expect("a saga that was found has messages");
    let now = Timestamp::now();
    if as_json {
        println!("{:#}", to_json(&timeline, now));
    } else if flags.mermaid {
        print!("{}", timeline.to_mermaid(now));
    } else {
        println!("{}\n\n{}", timeline.headline(now), timeline.to_text());
    }
    Ok(Done::AsExpected)
}

fn to_json(timeline: &Timeline, now: Timestamp) -> serde_json::Value {
    let messages = timeline.messages.iter().map(|message| {
        let event = serde_json::from_slice::<serde_json::Value>(&message.event.to_json());
        json!({"times": message.times, "event": event.expect("an event is JSON")})
    });
    json!({
        "saga": timeline.saga_id,
        "status": timeline.progress.status().as_str(),
        "isOverdue": timeline.progress.is_overdue(now),
        "messages": messages.collect::<Vec<_>>(),
    })
}
