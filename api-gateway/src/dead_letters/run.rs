//! One requeue or drop: goes on without its caller, tells how far it is, and can be stopped.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use events::Timestamp;
use futures_util::FutureExt;
use saga::bus::Bus;
use saga::dead_letters::{
    Action, DeadLetterError, Deed, Outcome, Parked, Progress, Ramp, Selection, discard, requeue,
};
use saga::failure::chain;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::summary::Summary;

/// As many of those that came back are shown.
const MOST_SHOWN: usize = 100;

/// What an operator wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) deed: Deed,
    pub(crate) selection: Selection,
    /// How fast it is put back.
    pub(crate) ramp: Ramp,
}

/// A requeue or drop that was begun.
pub(crate) struct Run {
    /// By which the record has its entries.
    pub(crate) id: Uuid,
    pub(crate) order: Order,
    pub(crate) started_at: Timestamp,
    state: watch::Sender<State>,
    stop: CancellationToken,
}

/// How far it is.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) status: Status,
    /// How many messages were put back or dropped so far.
    pub(crate) count: usize,
    pub(crate) came_back: Vec<Summary>,
    /// How many were not handled while they were watched.
    pub(crate) unfinished: usize,
    pub(crate) ended_at: Option<Timestamp>,
    /// What a person should know besides.
    pub(crate) detail: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Running,
    Done,
    /// Some failed again; the rest was left.
    CameBack,
    /// Nobody took them from their queue, or not fast enough; the rest was left.
    NotHandled,
    /// By an operator, or with its gateway.
    Stopped,
    /// The dead letters could not be reached any more.
    Failed,
    /// The record knows it and this gateway does not.
    Elsewhere,
}

impl Status {
    pub(crate) const ALL: [Self; 7] = [
        Self::Running,
        Self::Done,
        Self::CameBack,
        Self::NotHandled,
        Self::Stopped,
        Self::Failed,
        Self::Elsewhere,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::CameBack => "cameBack",
            Self::NotHandled => "notHandled",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Elsewhere => "elsewhere",
        }
    }
}

impl State {
    pub(crate) fn is_running(&self) -> bool {
        self.status == Status::Running
    }

    fn of(outcome: Outcome) -> Self {
        let Outcome {
            requeued,
            came_back,
            unfinished,
            cut_short,
        } = outcome;
        let failed_again = came_back.len();
        let shown = came_back.iter().take(MOST_SHOWN);
        let (status, detail) = match (failed_again, unfinished, cut_short) {
            (1.., _, _) => (
                Status::CameBack,
                Some(format!(
                    "{failed_again} failed again and are parked again; the rest was left"
                )),
            ),
            (0, 1.., _) => (
                Status::NotHandled,
                Some(format!(
                    "{unfinished} were not handled while they were watched, and the rest was left; \
                     do the workers run?"
                )),
            ),
            (0, 0, true) => (Status::Stopped, Some("the rest was left".to_owned())),
            (0, 0, false) => (Status::Done, None),
        };
        Self {
            status,
            count: requeued,
            came_back: shown.map(Summary::of).collect(),
            unfinished,
            ended_at: None,
            detail,
        }
    }
}

impl Run {
    pub(super) fn new(order: Order, stop: CancellationToken) -> Self {
        Self {
            id: order.deed.run(),
            order,
            started_at: Timestamp::now(),
            state: watch::Sender::new(State {
                status: Status::Running,
                ..State::of(Outcome::default())
            }),
            stop,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Leaves what is not put back or dropped yet.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// How far it is when it has ended, or after so long.
    pub(crate) async fn ended(&self, limit: Duration) -> State {
        let mut state = self.state.subscribe();
        let ended = state.wait_for(|state| !state.is_running());
        // Still running after the limit, or over: either way it is as it is.
        drop(timeout(limit, ended).await);
        self.state()
    }

    pub(super) async fn carry_out(self: Arc<Self>, bus: Arc<dyn Bus>) {
        let Deed { by, action, .. } = &self.order.deed;
        let (run, asked) = (self.id, self.order.selection.ids.len());
        let trying = AssertUnwindSafe(self.try_carry_out(bus.as_ref())).catch_unwind();
        let failed = match trying.await {
            Ok(Ok(outcome)) => Ok(State::of(outcome)),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(super::PANICKED.to_owned()),
        };
        let mut state = failed.unwrap_or_else(|error| {
            warn!(%run, by, %action, error, "dead letters are left as they are");
            State {
                status: Status::Failed,
                detail: Some(error),
                ..self.state()
            }
        });
        if state.status == Status::Done && state.count < asked {
            let there = state.count;
            state.detail = Some(format!("{there} of the {asked} that were named are parked"));
        }
        state.ended_at = Some(Timestamp::now());
        let (count, status) = (state.count, state.status.as_str());
        info!(%run, by, %action, count, status, "dead letters were dealt with");
        self.state.send_replace(state);
    }

    async fn try_carry_out(&self, bus: &dyn Bus) -> Result<Outcome, DeadLetterError> {
        let Order {
            deed,
            selection,
            ramp,
        } = &self.order;
        let mut letters = bus.dead_letters().await?;
        let letters = letters.as_mut();
        let add = |count| self.state.send_modify(|state| state.count += count);
        match deed.action {
            Action::Requeue => {
                let mut report = |progress: Progress<'_>| {
                    if let Progress::PutBack { count, .. } = progress {
                        add(count);
                    }
                };
                requeue(letters, selection, deed, ramp, &self.stop, &mut report).await
            }
            Action::Drop => {
                let mut report = |dropped: &[Parked]| add(dropped.len());
                discard(letters, selection, deed, &self.stop, &mut report).await?;
                Ok(Outcome {
                    requeued: self.state().count,
                    cut_short: self.stop.is_cancelled(),
                    ..Outcome::default()
                })
            }
        }
    }
}
