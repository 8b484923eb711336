//! What the gateway does with dead letters for operators. Nothing here hangs on the request that asked
//! for it: a caller that goes away takes nothing out of our hands half-way, so a look is finished
//! without it, and a [`Run`] goes on and can be asked after.

mod run;
mod summary;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use saga::Tasks;
use saga::bus::Bus;
use saga::dead_letters::{DeadLetterError, DeadLetters};
use saga::retry::RetryPolicy;
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub(crate) use self::run::{Order, Run, State, Status};
pub(crate) use self::summary::Summary;

/// How long one look waits for another. What one has in hand on RabbitMQ, no other sees.
const LOOK_AFTER: Duration = Duration::from_secs(10);
/// Each has a connection of its own.
const MOST_RUNNING: usize = 16;
/// How many runs that ended are remembered; of older ones the record tells.
const MOST_ENDED: usize = 100;

/// A mistake of this build. The log has more.
const PANICKED: &str = "the gateway made a mistake at it, which its log tells of";

/// Where dead letters are looked at, put back, and dropped.
pub(crate) struct DeadLetterOffice {
    bus: Arc<dyn Bus>,
    retry: RetryPolicy,
    tasks: Tasks,
    /// The runs that have not ended.
    at_work: TaskTracker,
    /// Opened by the first look, and again after trouble.
    letters: Arc<AsyncMutex<Option<Box<dyn DeadLetters>>>>,
    /// Oldest first.
    runs: Mutex<VecDeque<Arc<Run>>>,
}

/// Why there is nothing to tell, or nothing begun.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OfficeError {
    #[error("the dead letters are being looked at; ask again")]
    Busy,
    #[error(
        "{MOST_RUNNING} requeues and drops run on this gateway already; wait for one, or stop one"
    )]
    TooManyRuns,
    #[error("the gateway stops; ask again")]
    Stopping,
    #[error("{PANICKED}")]
    Panicked,
    /// The run with this id was asked for otherwise.
    #[error("the run was another one")]
    OtherOrder,
    #[error(transparent)]
    DeadLetters(#[from] DeadLetterError),
}

impl DeadLetterOffice {
    pub(crate) fn new(bus: Arc<dyn Bus>, retry: RetryPolicy, tasks: Tasks) -> Self {
        Self {
            bus,
            retry,
            tasks,
            at_work: TaskTracker::new(),
            letters: Arc::default(),
            runs: Mutex::default(),
        }
    }

    /// The delays that the workers retry with.
    pub(crate) fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// Looks, one caller at a time.
    pub(crate) async fn look<T, L>(&self, look: L) -> Result<T, OfficeError>
    where
        T: Send + 'static,
        L: for<'a> FnOnce(&'a mut dyn DeadLetters) -> BoxFuture<'a, Result<T, DeadLetterError>>
            + Send
            + 'static,
    {
        let free = timeout(LOOK_AFTER, Arc::clone(&self.letters).lock_owned()).await;
        let Ok(mut letters) = free else {
            return Err(OfficeError::Busy);
        };
        let bus = Arc::clone(&self.bus);
        let (tell, told) = oneshot::channel();
        self.tasks.spawn("look at dead letters", async move {
            // A panic has closed what it had open, and is no reason to stop the gateway.
            let looking = AssertUnwindSafe(look_at(&mut letters, bus.as_ref(), look));
            let looked = looking.catch_unwind().await;
            // Whoever asked may be gone.
            drop(tell.send(looked));
        });
        let looked = told.await.map_err(|_| OfficeError::Stopping)?;
        Ok(looked.map_err(|_| OfficeError::Panicked)??)
    }

    /// Begins to put back or to drop; or finds it, if that was begun already.
    pub(crate) fn start(&self, order: Order) -> Result<Arc<Run>, OfficeError> {
        let stop = self.tasks.stop_token().child_token();
        if stop.is_cancelled() {
            return Err(OfficeError::Stopping);
        }
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = runs.iter().find(|run| run.id == order.deed.run());
        if let Some(begun) = begun {
            let is_same = begun.order == order;
            return is_same
                .then(|| Arc::clone(begun))
                .ok_or(OfficeError::OtherOrder);
        }
        let running = runs.iter().filter(|run| run.state().is_running()).count();
        if running >= MOST_RUNNING {
            return Err(OfficeError::TooManyRuns);
        }
        let mut ended = runs.len() - running;
        runs.retain(|run| {
            let kept = ended < MOST_ENDED || run.state().is_running();
            ended -= usize::from(!kept);
            kept
        });
        let run = Arc::new(Run::new(order, stop));
        runs.push_back(Arc::clone(&run));
        let begun = Arc::clone(&run).carry_out(Arc::clone(&self.bus));
        let begun = self.at_work.track_future(begun);
        self.tasks.spawn("deed to dead letters", begun);
        Ok(run)
    }

    /// When the process is asked to stop and the last run has finished what it had in hand.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let (stop, at_work) = (self.tasks.stop_token(), self.at_work.clone());
        async move {
            stop.cancelled().await;
            at_work.close();
            at_work.wait().await;
        }
    }

    /// The runs of this gateway but for those that ended long ago, newest first.
    pub(crate) fn runs(&self) -> Vec<Arc<Run>> {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.iter().rev().cloned().collect()
    }

    /// A run of this gateway, unless it ended long ago.
    pub(crate) fn find(&self, id: Uuid) -> Option<Arc<Run>> {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.iter().find(|run| run.id == id).cloned()
    }
}

async fn look_at<T, L>(
    letters: &mut Option<Box<dyn DeadLetters>>,
    bus: &dyn Bus,
    look: L,
) -> Result<T, DeadLetterError>
where
    L: for<'a> FnOnce(&'a mut dyn DeadLetters) -> BoxFuture<'a, Result<T, DeadLetterError>>,
{
    let mut open = match letters.take() {
        Some(open) => open,
        None => bus.dead_letters().await?,
    };
    let looked = look(open.as_mut()).await;
    // What is away is opened again by the next one.
    if !matches!(looked, Err(DeadLetterError::Away(_))) {
        *letters = Some(open);
    }
    looked
}
