//! `event-replay record`: the journal into a file.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use event_replay::live::{Recorded, Selection, point_in_time, record};
use event_replay::recording::Header;
use events::{MessageType, SagaId, Timestamp};
use saga::journal::Journal;
use serde_json::json;
use uuid::Uuid;

use super::place::{Place, block_on, journal_bar, watch};
use super::{Done, Outcome};

#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(flatten)]
    place: Place,
    /// The recording; until it is whole, it is called FILE.part
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace FILE if it is there
    #[arg(long)]
    overwrite: bool,
    /// Only messages of this saga
    #[arg(long, value_name = "ID")]
    saga: Option<Uuid>,
    /// Only messages of these types, by their names
    #[arg(long = "type", value_name = "NAMES", value_delimiter = ',', value_parser = message_type)]
    types: Vec<MessageType>,
    /// Only messages of then or later: a time like 2026-11-26T10:00:00Z, or how long ago, like 10m
    #[arg(long, value_name = "TIME", value_parser = point)]
    from: Option<Timestamp>,
    /// Only messages of then or earlier
    #[arg(long, value_name = "TIME", value_parser = point)]
    to: Option<Timestamp>,
}

fn message_type(name: &str) -> Result<MessageType, String> {
    MessageType::from_name(name).ok_or_else(|| {
        let names: Vec<_> = MessageType::ALL.iter().map(|known| known.name()).collect();
        format!("there is no such message; there are {}", names.join(", "))
    })
}

fn point(text: &str) -> Result<Timestamp, String> {
    point_in_time(text, Timestamp::now()).map_err(|error| error.to_string())
}

impl Flags {
    fn selection(&self) -> Selection {
        Selection {
            saga: self.saga.map(SagaId),
            types: self.types.clone(),
            from: self.from,
            to: self.to,
        }
    }

    /// The selection as flags.
    fn told(&self) -> Option<String> {
        let types: Vec<_> = self.types.iter().map(|known| known.name()).collect();
        let told = [
            self.saga.map(|saga| format!("--saga {saga}")),
            (!types.is_empty()).then(|| format!("--type {}", types.join(","))),
            self.from.map(|from| format!("--from {from}")),
            self.to.map(|to| format!("--to {to}")),
        ];
        let told: Vec<_> = told.into_iter().flatten().collect();
        (!told.is_empty()).then(|| told.join(" "))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{} is there already; --overwrite replaces it", path.display())]
struct Exists {
    path: PathBuf,
}

pub(super) fn run(flags: &Flags, as_json: bool) -> Outcome {
    if flags.file.exists() && !flags.overwrite {
        let path = flags.file.clone();
        return Err(Exists { path }.into());
    }
    let began = Instant::now();
    let recorded = block_on(async {
        let journal = flags.place.open().await?;
        let recorded = record_from(journal.as_ref(), flags).await;
        journal.close().await;
        recorded
    })??;
    tell(flags, &recorded, began.elapsed().as_secs_f64(), as_json);
    Ok(Done::AsExpected)
}

async fn record_from(
    journal: &dyn Journal,
    flags: &Flags,
) -> Result<Recorded, Box<dyn std::error::Error>> {
    let header = Header {
        selection: flags.told(),
        ..Header::of(&journal.place())
    };
    let bar = journal_bar("recording");
    let (selection, watch) = (flags.selection(), watch(&bar));
    let recorded = record(journal, &selection, &header, &flags.file, &watch).await;
    bar.finish_and_clear();
    Ok(recorded?)
}

fn tell(flags: &Flags, recorded: &Recorded, seconds: f64, as_json: bool) {
    let (counts, file) = (&recorded.counts, flags.file.display());
    let rate = counts.messages as f64 / seconds;
    if recorded.unreadable > 0 {
        eprintln!(
            "event-replay: {} entries of the journal are no message that this build reads; they are \
             not in the recording",
            recorded.unreadable
        );
    }
    if as_json {
        let summary = json!({
            "file": file.to_string(),
            "bytes": recorded.bytes,
            "messages": counts.messages,
            "sagas": counts.sagas,
            "types": counts.types,
            "unreadable": recorded.unreadable,
            "seconds": seconds,
            "messagesPerSecond": rate,
        });
        return println!("{summary:#}");
    }
    println!(
        "{file}: {} messages of {} sagas, {} bytes, in {seconds:.1} s ({rate:.0} messages/s)",
        counts.messages, counts.sagas, recorded.bytes
    );
    for (name, count) in &counts.types {
        println!("{count:>10}  {name}");
    }
}
