//! The benchmark: see [`arguments::Arguments`], or run it with `--help`.

mod arguments;
mod bare;
mod connection;
mod cpu;
mod databases;
mod drain;
mod failure;
mod finished;
mod invariants;
mod listening;
mod load;
mod meter;
mod open_files;
mod process;
mod relay;
mod report;
mod rounds;
mod sample;
mod summary;
mod system;
mod variant;

use std::process::ExitCode;

use clap::Parser;
use saga::failure::chain;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{Arguments, Role};
use crate::failure::BenchError;
use crate::rounds::{Findings, Run, clean_up};
use crate::summary::Summary;
use crate::system::Names;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.role {
        Some(Role::RelayHop { service, namespace }) => {
            relay::run_hop(&arguments.amqp_url, namespace, service).await
        }
        None => measure(&arguments).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> Result<(), BenchError> {
    let names = Names::fresh();
    let found = tokio::select! {
        found = Box::pin(Run::new(arguments, &names).measure()) => found,
        () = asked_to_stop() => Err(BenchError::Interrupted),
    };
    // Dropping the run has killed its processes, so nobody declares anything again.
    eprintln!("bench: removing the queues and databases of this run (Ctrl-C leaves them)");
    let cleaned = tokio::select! {
        cleaned = clean_up(arguments, &names) => cleaned,
        () = asked_to_stop() => Err(BenchError::LeftBehind { run: names.run().to_owned() }),
    };
    let done = found.and_then(|found| print(&found, arguments));
    let logs = names.logs();
    if matches!(&done, Ok(()) | Err(BenchError::Interrupted)) {
        // Nobody will ask for them; without services there are none.
        let _ = std::fs::remove_dir_all(logs);
    } else if logs.exists() {
        eprintln!("bench: what the services said is in {}", logs.display());
    }
    match (done, cleaned) {
        // Of two interruptions the second one left something behind.
        (Err(BenchError::Interrupted), Err(left)) => Err(left),
        (done, cleaned) => done.and(cleaned),
    }
}

fn print(findings: &Findings, arguments: &Arguments) -> Result<(), BenchError> {
    let summary = Summary::of(findings, arguments);
    let json = serde_json::to_string(&summary).expect("a summary has string keys");
    println!("{}\n{json}", report::table(&summary));
    match summary.violations.len() {
        0 => Ok(()),
        count => Err(BenchError::Violated { count }),
    }
}

async fn asked_to_stop() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => terminate.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated => {}
    }
}
