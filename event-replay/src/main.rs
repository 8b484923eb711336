//! `event-replay`: recordings of what the system did, and what can be learned from them.
//!
//! Only the command is here; what it does is the library's, so that a test can do it too.

mod command;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::run()
}
