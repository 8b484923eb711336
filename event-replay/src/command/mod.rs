//! The command line. Each subcommand is a module: its flags, and what it does with them.
//!
//! To add one: its module, with `Flags` (clap) and a function from them to a [`Done`]; a variant of
//! [`Command`] with the line of help; an arm of the `match`.

mod coverage;
mod one_saga;
mod place;
mod progress;
mod record;
mod resend;
mod show;
mod verify;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use saga::failure::chain;

const EXIT_CODES: &str = "\
Exit codes: 0 done, and as expected; 1 an error; 2 wrong usage; 3 something else than expected was \
found: a difference, or too little coverage.";

/// Records what the system did, replays it and compares, saga by saga
#[derive(Debug, Parser)]
#[command(name = "event-replay", version, after_help = EXIT_CODES)]
struct Arguments {
    /// Print JSON, for a program
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The journal of a live system into a file
    Record(record::Flags),
    /// What happened in one saga, as a sequence diagram
    Show(show::Flags),
    /// Messages of a saga, or of every overdue one, back on the live bus: how a stuck saga is repaired
    Resend(resend::Flags),
    /// Which paths of the choreography table recordings contain
    Coverage(coverage::Flags),
    /// Replay recorded commands with the participants of this build, and compare
    Verify(verify::Flags),
}

/// What a subcommand found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    AsExpected,
    /// It did its work, and what it found is not as it should be.
    Otherwise,
}

type Outcome = Result<Done, Box<dyn Error>>;

/// Runs what the arguments of the process say.
pub(crate) fn run() -> ExitCode {
    let Arguments { json, command } = Arguments::parse();
    // Like any command that only prints: whoever closes the pipe, as `head` does, ends it without a
    // word. One that writes is not to be ended by that, nor by a connection that breaks.
    if !matches!(command, Command::Record(_) | Command::Resend(_)) {
        sigpipe::reset();
    }
    let outcome = match command {
        Command::Record(flags) => record::run(&flags, json),
        Command::Show(flags) => show::run(&flags, json),
        Command::Resend(flags) => resend::run(&flags, json),
        Command::Coverage(flags) => coverage::run(&flags, json),
        Command::Verify(flags) => verify::run(&flags, json),
    };
    match outcome {
        Ok(Done::AsExpected) => ExitCode::SUCCESS,
        Ok(Done::Otherwise) => ExitCode::from(3),
        Err(error) => {
            eprintln!("event-replay: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
