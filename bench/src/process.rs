//! Processes that a measurement starts, and ends again whatever happens.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::failure::BenchError;

/// Longer than a service takes to finish what it has in hand.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A child process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    /// What reports call it.
    pub(crate) name: &'static str,
    child: Child,
}

impl Process {
    /// A hop of the bare relay: this program again, under its hidden command.
    pub(crate) fn relay_hop(
        name: &'static str,
        service: &str,
        url: &str,
        namespace: &str,
    ) -> Result<Self, BenchError> {
        let mut command = Command::new(this_program()?);
        command.args(["--amqp-url", url, "relay-hop"]);
        command.args(["--service", service, "--namespace", namespace]);
        Self::spawn(name, command)
    }

    /// A service, with all that it says added to a file.
    pub(crate) fn spawn_logging(
        name: &'static str,
        mut command: Command,
        log: &Path,
    ) -> Result<Self, BenchError> {
        let output = open(log).and_then(|file| Ok((file.try_clone()?, file)));
        let (out, err) = output.map_err(|source| fault(name, source))?;
        command.stdout(out).stderr(err);
        Self::spawn(name, command)
    }

    fn spawn(name: &'static str, mut command: Command) -> Result<Self, BenchError> {
        let child = command.stdin(Stdio::null()).kill_on_drop(true).spawn();
        let child = child.map_err(|source| fault(name, source))?;
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
            sent.map_err(|source| fault(self.name, source))?;
        }
        let ended = tokio::time::timeout(STOP_LIMIT, self.child.wait()).await;
        if ended.is_err() {
            let killed = self.child.kill().await;
            killed.map_err(|source| fault(self.name, source))?;
        }
        Ok(())
    }
}

fn open(log: &Path) -> std::io::Result<File> {
    log.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    File::options().create(true).append(true).open(log)
}

/// A binary of the same build: cargo puts them into the same folder.
pub(crate) fn program(name: &str) -> Result<PathBuf, BenchError> {
    let program = this_program()?.with_file_name(name);
    if program.exists() {
        Ok(program)
    } else {
        Err(BenchError::NotBuilt { program })
    }
}

fn this_program() -> Result<PathBuf, BenchError> {
    std::env::current_exe().map_err(|source| fault("the benchmark itself", source))
}

fn fault(what: &str, source: std::io::Error) -> BenchError {
    let what = what.to_owned();
    BenchError::Process { what, source }
}
