//! What every binary does around its service: settings, logging, signals, a polite stop, an exit
//! code. Keeps each `main` a few lines long.

mod settings;
mod worker;

pub use settings::{RuntimeConfig, RuntimeFlags};
pub use worker::{BackendConfig, BackendFlags, run_worker};

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::bus::{Bus, Health};
use crate::config::Settings;
use crate::tasks::{SHUTDOWN_LIMIT, Tasks};
use crate::telemetry::init_logging;

pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// Runs a whole process: settings, logging, then `start`, then until a signal or a crash, then the
/// stop.
pub fn run<S>(name: &'static str, command: Command, start: S) -> ExitCode
where
    S: AsyncFnOnce(Settings, Tasks) -> Result<Running, StartError>,
{
    match try_run(name, command, start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error: &(dyn std::error::Error + 'static) = error.as_ref();
            eprintln!("{name}: {}", crate::failure::chain(error));
            ExitCode::FAILURE
        }
    }
}

fn try_run<S>(name: &'static str, command: Command, start: S) -> Result<(), StartError>
where
    S: AsyncFnOnce(Settings, Tasks) -> Result<Running, StartError>,
{
    let settings = Settings::read(command)?;
    let logging: RuntimeConfig = settings.get()?;
    init_logging(&logging.log, logging.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let tasks = Tasks::new();
        stop_on_signal(&tasks)?;
        let running = match start(settings, tasks.clone()).await {
            // A stop while it still waited for its dependencies is no failure; a crash is one.
            Err(_) if tasks.stop_token().is_cancelled() => return Ok(tasks.crash()?),
            started => started?,
        };
        running.until_stopped(name, &tasks).await
    })
}

/// Longer than the stop of a started process, which tells better what it waits for.
const EXIT_AFTER: Duration = SHUTDOWN_LIMIT.saturating_add(Duration::from_secs(1));

/// The first signal asks politely, the second does not ask, and time does not ask either: a start
/// that hears no stop must not outlive it.
fn stop_on_signal(tasks: &Tasks) -> std::io::Result<()> {
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let stopping = tasks.clone();
    tasks.spawn("signals", async move {
        let stop = stopping.stop_token();
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = stop.cancelled() => {}
        }
        info!("stopping: finishing what is in hand (once more to stop at once)");
        stopping.stop();
        tokio::select! {
            _ = interrupt.recv() => warn!("stopped at once; what was in hand is delivered again"),
            _ = terminate.recv() => warn!("stopped at once; what was in hand is delivered again"),
            () = tokio::time::sleep(EXIT_AFTER) => error!("the stop took too long; stopped at once"),
        }
        std::process::exit(1);
    });
    Ok(())
}

/// A started service, or several.
pub struct Running {
    pub bus: Arc<dyn Bus>,
    /// What has to end before the bus may be closed: whatever still publishes or settles.
    pub loops: Vec<JoinHandle<()>>,
    /// Exists exactly while every dependency is up, for container health checks.
    pub ready_file: Option<PathBuf>,
    /// By name: what has to be up for this process to be ready, besides the bus.
    pub dependencies: Vec<watch::Receiver<Health>>,
}

impl Running {
    async fn until_stopped(self, name: &str, tasks: &Tasks) -> Result<(), StartError> {
        let Self {
            bus,
            loops,
            ready_file,
            mut dependencies,
        } = self;
        dependencies.push(bus.health());
        if let Some(path) = ready_file {
            keep_ready_file(path, dependencies, tasks);
        }
        info!(service = name, "started");
        let stop = tasks.stop_token();
        stop.cancelled().await;
        let drained = async {
            for running in loops {
                // A crash is reported by its task; here only the end matters.
                drop(running.await);
            }
            bus.close().await;
        };
        if tokio::time::timeout(SHUTDOWN_LIMIT, drained).await.is_err() {
            error!("the stop took too long; what is in hand is delivered again");
            return Err(crate::TasksError::StillRunning {
                limit: SHUTDOWN_LIMIT,
            }
            .into());
        }
        let ended = tasks.crash();
        info!(service = name, "stopped");
        ended.map_err(Into::into)
    }
}

fn keep_ready_file(path: PathBuf, dependencies: Vec<watch::Receiver<Health>>, tasks: &Tasks) {
    let stop = tasks.stop_token();
    tasks.spawn("ready file", async move {
        let mut changes: Vec<_> = dependencies.clone();
        loop {
            let up = dependencies
                .iter()
                .all(|dependency| dependency.borrow().is_up());
            let done = if up {
                std::fs::write(&path, "")
            } else {
                remove(&path)
            };
            if let Err(error) = done {
                warn!(path = %path.display(), %error, "the ready file cannot be kept");
            }
            let changed = futures_util::future::select_all(
                changes
                    .iter_mut()
                    .map(|dependency| Box::pin(dependency.changed())),
            );
            // An error means that the dependency's task ended, which it does at the stop.
            if !matches!(stop.run_until_cancelled(changed).await, Some((Ok(()), ..))) {
                break;
            }
        }
        drop(remove(&path));
    });
}

fn remove(path: &std::path::Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
