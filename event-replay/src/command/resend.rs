//! `event-replay resend`: messages of a saga, or of every overdue one, back on the live bus.

use std::path::PathBuf;

use clap::Args;
use event_replay::live::{Rate, Resend, find_overdue, resend, sendable};
use events::{SagaId, Timestamp};
use indicatif::ProgressBar;
use saga::journal::Journal;
use serde_json::json;
use uuid::Uuid;

use super::one_saga::{in_file, in_journal};
use super::place::{Place, block_on, journal_bar, watch};
use super::{Done, Outcome};

// Nothing is sent by forgetting to say what.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["saga", "overdue"]))]
pub(super) struct Flags {
    #[command(flatten)]
    place: Place,
    /// All messages of this saga that somebody reacts to
    #[arg(long, value_name = "ID")]
    saga: Option<Uuid>,
    /// Of every saga whose step has not answered in its time, the message that the step waits for
    #[arg(long)]
    overdue: bool,
    /// The messages of the saga from this recording of the system, and not from its journal
    #[arg(long, value_name = "FILE", requires = "saga")]
    file: Option<PathBuf>,
    /// Send them; without it they are only listed
    #[arg(long)]
    yes: bool,
    /// How many in a second at most
    #[arg(long, value_name = "MESSAGES", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
}

pub(super) fn run(flags: &Flags, as_json: bool) -> Outcome {
    let messages = block_on(async {
        let journal = flags.place.open().await?;
        let done = find_and_send(journal.as_ref(), flags).await;
        journal.close().await;
        done
    })??;
    match as_json {
        true => println!("{:#}", to_json(&messages, flags.yes)),
        false => print(&messages, flags.yes),
    }
    Ok(Done::AsExpected)
}

async fn find_and_send(
    journal: &dyn Journal,
    flags: &Flags,
) -> Result<Vec<Resend>, Box<dyn std::error::Error>> {
    let messages = find(journal, flags).await?;
    if flags.yes {
        let bar = ProgressBar::new(messages.len() as u64).with_message("sending");
        let sent = |count: usize| bar.set_position(count as u64);
        resend(journal, &messages, Rate(flags.rate), &sent).await?;
        bar.finish_and_clear();
    }
    Ok(messages)
}

async fn find(
    journal: &dyn Journal,
    flags: &Flags,
) -> Result<Vec<Resend>, Box<dyn std::error::Error>> {
    let found = match (flags.saga.map(SagaId), &flags.file) {
        (Some(saga), Some(file)) => in_file(saga, file)?,
        (Some(saga), None) => in_journal(saga, journal).await?,
        (None, _) => {
            let bar = journal_bar("looking for overdue sagas");
            let overdue = find_overdue(journal, Timestamp::now(), &watch(&bar)).await?;
            bar.finish_and_clear();
            let overdue = overdue.into_iter();
            return Ok(overdue.map(Resend::from).collect());
        }
    };
    Ok(sendable(found))
}

fn print(messages: &[Resend], are_sent: bool) {
    for one in messages {
        println!(
            "{}  {:<24}  to {}, of {}",
            one.message.saga_id,
            one.message.message_type().name(),
            one.step.queue(),
            one.message.time
        );
    }
    match (messages.len(), are_sent) {
        (0, _) => println!("There is nothing to send."),
        (count, true) => println!("{count} sent."),
        (count, false) => println!("{count} would be sent; --yes sends them."),
    }
}

fn to_json(messages: &[Resend], are_sent: bool) -> serde_json::Value {
    let messages = messages.iter().map(|one| {
        json!({
            "saga": one.message.saga_id,
            "id": one.message.id,
            "type": one.message.message_type().name(),
            "time": one.message.time,
            "queue": one.step.queue(),
        })
    });
    json!({"sent": are_sent, "messages": messages.collect::<Vec<_>>()})
}
