//! The ticket-worker as a process of its own.

use std::process::ExitCode;

use events::choreography::TICKET_WORKER;

fn main() -> ExitCode {
    let about = "Sells tickets: creates a user_ticket, and deletes it when the registration fails";
    saga::process::run_worker(TICKET_WORKER, about, ticket_worker::start)
}
