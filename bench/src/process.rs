//! Processes that a measurement starts, and ends again whatever happens.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::failure::BenchError;

/// Longer than a service takes to finish what it has in hand.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A child process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    child: Child,
}

impl Process {
    /// A hop of the bare relay: this program again, under its hidden command.
    pub(crate) fn relay_hop(service: &str, url: &str, namespace: &str) -> Result<Self, BenchError> {
        let mut command = Command::new(this_program()?);
        command.args(["relay-hop", "--service", service, "--amqp-url", url]);
        command.args(["--namespace", namespace]);
        Self::spawn(format!("{service} hop"), command)
    }

    pub(crate) fn spawn(name: String, mut command: Command) -> Result<Self, BenchError> {
        let child = command.stdin(Stdio::null()).kill_on_drop(true).spawn();
        let child = child.map_err(|source| fault(&name, source))?;
        Ok(Self { name, child })
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Asks the process to end, and ends it if it does not.
    pub(crate) async fn stop(mut self) -> Result<(), BenchError> {
        if let Some(pid) = self.pid() {
            let mut terminate = Command::new("kill");
            terminate.arg("-TERM").arg(pid.to_string());
            let sent = terminate.status().await;
            sent.map_err(|source| fault(&self.name, source))?;
        }
        let ended = tokio::time::timeout(STOP_LIMIT, self.child.wait()).await;
        if ended.is_err() {
            let killed = self.child.kill().await;
            killed.map_err(|source| fault(&self.name, source))?;
        }
        Ok(())
    }
}

pub(crate) fn this_program() -> Result<PathBuf, BenchError> {
    std::env::current_exe().map_err(|source| fault("the benchmark itself", source))
}

fn fault(what: &str, source: std::io::Error) -> BenchError {
    let what = what.to_owned();
    BenchError::Process { what, source }
}
