//! `dlq`: what the system gave up on, listed, shown, put back where it came from, or dropped.
//!
//! Only the command is here; what it does is `saga::dead_letters`, so that a gateway can do it too.

mod arguments;
mod print;

use std::process::ExitCode;

use clap::Parser;
use events::Timestamp;
use saga::dead_letters::{
    Action, DeadLetterError, DeadLetters, Deed, Outcome, Parked, Progress, Selection, discard,
    entries, find, groups, newest, requeue,
};
use saga::embedded::EmbeddedDeadLetters;
use saga::failure::chain;
use saga::rabbitmq::{RabbitMqConfig, RabbitMqDeadLetters};
use tokio_util::sync::CancellationToken;

use crate::arguments::{Arguments, Command, DropFlags, ListFlags, Place, RequeueFlags};

/// What was put back failed again, or was not handled: the rest is still parked.
const STOPPED: u8 = 3;

/// The file of the embedded bus in the data folder of the system.
const BUS_FILE: &str = "bus.db";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Like any command that only prints: whoever closes the pipe, as `head` does, ends it without a
    // word. A deed is not to be ended by that, nor by a connection that breaks.
    if !matches!(arguments.command, Command::Requeue(_) | Command::Drop(_)) {
        sigpipe::reset();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(&arguments)),
        Err(error) => {
            eprintln!("dlq: {error}");
            return ExitCode::FAILURE;
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("dlq: {}", chain(&error));
        ExitCode::FAILURE
    })
}

async fn run(arguments: &Arguments) -> Result<ExitCode, DeadLetterError> {
    let json = arguments.place.json;
    let mut letters = open(&arguments.place).await?;
    let letters = letters.as_mut();
    match &arguments.command {
        Command::List(flags) => list(letters, flags, json).await,
        Command::Show { id, queue } => show(letters, id, queue.clone(), json).await,
        Command::Requeue(flags) => put_back(letters, flags, json).await,
        Command::Drop(flags) => drop_selected(letters, flags, json).await,
        Command::Log { limit } => {
            let (_total, newest) = newest(letters, *limit).await?;
            print::entries(&newest, json);
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn open(place: &Place) -> Result<Box<dyn DeadLetters>, DeadLetterError> {
    Ok(match &place.amqp_url {
        Some(url) => {
            let mut config = RabbitMqConfig::new(url, "dlq");
            config.namespace.clone_from(&place.namespace);
            config.topology = place.topology;
            Box::new(RabbitMqDeadLetters::open(config).await?)
        }
        None => Box::new(EmbeddedDeadLetters::open(&place.data_dir.join(BUS_FILE)).await?),
    })
}

async fn list(
    letters: &mut dyn DeadLetters,
    flags: &ListFlags,
    json: bool,
) -> Result<ExitCode, DeadLetterError> {
    let selection = flags.selection.to_selection();
    if flags.messages {
        let found = find(letters, &selection, 0, flags.limit).await?;
        print::messages(&found.messages, json);
    } else {
        print::groups(&groups(letters, &selection).await?, json);
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(
    letters: &mut dyn DeadLetters,
    id: &str,
    queue: Option<String>,
    json: bool,
) -> Result<ExitCode, DeadLetterError> {
    let selection = Selection {
        queue,
        ids: [id.to_owned()].into(),
        ..Selection::default()
    };
    let found = find(letters, &selection, 0, usize::MAX).await?.messages;
    let history = entries(letters, |entry| entry.id == id).await?;
    if found.is_empty() && history.is_empty() {
        eprintln!("dlq: nothing with the id {id} is parked, or ever was put back or dropped");
        return Ok(ExitCode::FAILURE);
    }
    print::story(&found, &history, json);
    Ok(ExitCode::SUCCESS)
}

async fn put_back(
    letters: &mut dyn DeadLetters,
    flags: &RequeueFlags,
    json: bool,
) -> Result<ExitCode, DeadLetterError> {
    let selection = flags.which.selection.to_selection();
    let reason = flags.reason.as_deref().unwrap_or_default();
    let deed = Deed::new(Action::Requeue, &flags.by, reason);
    let mut report = |progress: Progress<'_>| {
        if !json {
            println!(
                "{}  {}",
                print::time(Timestamp::now()),
                print::progress(&progress)
            );
        }
    };
    let (ramp, stop) = (flags.ramp(), never());
    let outcome = requeue(letters, &selection, &deed, &ramp, &stop, &mut report).await?;
    print::outcome(&outcome, json);
    Ok(exit_code(&outcome, selection.ids.len()))
}

/// Who stops the command kills it, which loses nothing.
fn never() -> CancellationToken {
    CancellationToken::new()
}

fn exit_code(outcome: &Outcome, asked: usize) -> ExitCode {
    if !outcome.came_back.is_empty() || outcome.unfinished > 0 {
        ExitCode::from(STOPPED)
    } else if outcome.requeued < asked {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

async fn drop_selected(
    letters: &mut dyn DeadLetters,
    flags: &DropFlags,
    json: bool,
) -> Result<ExitCode, DeadLetterError> {
    let selection = flags.which.selection.to_selection();
    let deed = Deed::new(Action::Drop, &flags.by, &flags.reason);
    let mut dropped = Vec::new();
    let mut keep = |some: &[Parked]| dropped.extend_from_slice(some);
    discard(letters, &selection, &deed, &never(), &mut keep).await?;
    print::dropped(&dropped, json);
    let all = dropped.len() >= selection.ids.len();
    Ok(if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
