//! The regist-worker as a process of its own.

use std::process::ExitCode;

use events::choreography::REGIST_WORKER;

fn main() -> ExitCode {
    let about = "Registers users for events with the tickets they bought";
    saga::process::run_worker(REGIST_WORKER, about, regist_worker::start)
}
