//! Every task of a process, in one place: a task that crashes stops the process, and a stop waits
//! for what is running, first politely and then not at all.

use std::future::Future;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

/// How long a stop may take before it is cut short: longer than a batch with its confirms, shorter
/// than the ten seconds after which container runtimes kill.
pub const SHUTDOWN_LIMIT: Duration = Duration::from_secs(8);

/// Spawns and outlives the tasks of a process. Clones share the same tasks.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    /// Cancelled when the process is asked to stop.
    asked: CancellationToken,
    /// What these tasks see of it: the same, or a later one.
    stop: CancellationToken,
    crashed: watch::Sender<Option<String>>,
}

/// Why a process did not end well.
#[derive(Debug, thiserror::Error)]
pub enum TasksError {
    #[error("the task {name:?} crashed")]
    Crashed { name: String },
    #[error("tasks were still running {limit:?} after the stop; what they held is delivered again")]
    StillRunning { limit: Duration },
}

impl Tasks {
    pub fn new() -> Self {
        let asked = CancellationToken::new();
        Self {
            tracker: TaskTracker::new(),
            stop: asked.clone(),
            asked,
            crashed: watch::Sender::new(None),
        }
    }

    /// The same process, for tasks that others need to finish what they have in hand: a stop reaches
    /// these when `needed` is over.
    pub fn stopping_after(&self, needed: impl Future<Output = ()> + Send + 'static) -> Self {
        let later = Self {
            stop: CancellationToken::new(),
            ..self.clone()
        };
        let (before, stop) = (self.stop.clone(), later.stop.clone());
        self.spawn("later stop", async move {
            before.cancelled().await;
            needed.await;
            stop.cancel();
        });
        later
    }

    /// Cancelled when the process is asked to stop, or when a task crashed.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Asks every task to finish what it has in hand and take no more.
    pub fn stop(&self) {
        self.asked.cancel();
    }

    /// Runs the future as a task. If it panics, the whole process is asked to stop and fails.
    pub fn spawn(
        &self,
        name: impl Into<String>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let (name, stop, crashed) = (name.into(), self.asked.clone(), self.crashed.clone());
        self.tracker.spawn(async move {
            // The panic hook has reported it; the state it left behind is not looked at again.
            if std::panic::AssertUnwindSafe(task)
                .catch_unwind()
                .await
                .is_err()
            {
                error!(task = name, "a task crashed; stopping the process");
                crashed.send_replace(Some(name));
                stop.cancel();
            }
        })
    }

    /// Waits for every task to end, at most for `limit`; call [`Self::stop`] before.
    pub async fn join(&self, limit: Duration) -> Result<(), TasksError> {
        self.tracker.close();
        let ended = tokio::time::timeout(limit, self.tracker.wait()).await;
        self.crash()?;
        ended.map_err(|_| TasksError::StillRunning { limit })
    }

    /// An error if a task has crashed.
    pub fn crash(&self) -> Result<(), TasksError> {
        match self.crashed.borrow().clone() {
            Some(name) => Err(TasksError::Crashed { name }),
            None => Ok(()),
        }
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_crashed_task_stops_the_process_and_fails_it() {
        let tasks = Tasks::new();
        tasks.spawn("fine", tasks.stop_token().cancelled_owned());
        tasks.spawn("broken", async { panic!("on purpose") });
        let error = tasks.join(SHUTDOWN_LIMIT).await.unwrap_err();
        assert!(matches!(error, TasksError::Crashed { name } if name == "broken"));
    }

    #[tokio::test]
    async fn a_stop_reaches_those_who_are_needed_when_they_are_no_longer() {
        let tasks = Tasks::new();
        let drained = CancellationToken::new();
        let needed = tasks.stopping_after(drained.clone().cancelled_owned());
        let working = needed.spawn("working", needed.stop_token().cancelled_owned());
        tasks.stop();
        tokio::task::yield_now().await;
        assert!(!working.is_finished());
        drained.cancel();
        tasks.join(SHUTDOWN_LIMIT).await.unwrap();
    }

    #[tokio::test]
    async fn a_crash_of_one_who_is_needed_stops_the_process() {
        let tasks = Tasks::new();
        let needed = tasks.stopping_after(std::future::ready(()));
        needed.spawn("broken", async { panic!("on purpose") });
        let error = tasks.join(SHUTDOWN_LIMIT).await.unwrap_err();
        assert!(matches!(error, TasksError::Crashed { name } if name == "broken"));
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_given_up_after_the_limit() {
        let tasks = Tasks::new();
        tasks.spawn("stuck", std::future::pending());
        tasks.stop();
        let error = tasks.join(Duration::from_millis(10)).await.unwrap_err();
        assert!(matches!(error, TasksError::StillRunning { .. }));
    }
}
