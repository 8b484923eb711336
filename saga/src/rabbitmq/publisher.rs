//! The one task that publishes. A group commit: few messages are in flight, and what gathers
//! meanwhile goes into the next ones. No timer is in the path of a lone event, which leaves at once;
//! commands that come many at a time leave by groups ([`entrance`](super::entrance)).
//!
//! A call of `publish` resolves when each of its events is confirmed, or when the first of them is
//! known not to be. While the broker is away calls are held for a moment and then refused.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::connection::{Link, STABLE, Settings, Trouble};
use super::health::{Half, HealthBoard};
use super::in_flight::{Fate, Window};
use super::pack::{Backlog, CallId, Parcel};
use super::returns::Returns;
use crate::bus::PublishError;
use crate::retry::Backoff;

/// What all callers together may have waiting. Past it they wait for room, so that memory does not
/// grow with a broker that is slower than they are.
const WAITING_BYTES: usize = 32 * 1024 * 1024;
/// A reconnect within this is not noticed by callers.
const PATIENCE: Duration = Duration::from_secs(1);
/// A healthy broker confirms within milliseconds; a quorum queue that changes its leader, within
/// seconds.
const CONFIRM_LIMIT: Duration = Duration::from_secs(10);
/// How often confirms are checked against their limit.
const TICK: Duration = Duration::from_secs(1);
/// How long a closing bus goes on publishing what callers still wait for.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Publishes through the task. Clones share it.
#[derive(Clone)]
pub(super) struct Publisher {
    requests: mpsc::UnboundedSender<Request>,
    room: Arc<Semaphore>,
}

struct Request {
    parcels: Vec<Parcel>,
    done: oneshot::Sender<Result<(), PublishError>>,
    room: OwnedSemaphorePermit,
}

impl Publisher {
    pub(super) async fn publish(&self, parcels: Vec<Parcel>) -> Result<(), PublishError> {
        if parcels.is_empty() {
            return Ok(());
        }
        let bytes: usize = parcels.iter().map(Parcel::size).sum();
        let share = u32::try_from(bytes.min(WAITING_BYTES)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(share).await;
        let (done, answer) = oneshot::channel();
        let request = Request {
            parcels,
            done,
            room: room.map_err(|_| closed())?,
        };
        self.requests.send(request).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

fn closed() -> PublishError {
    unavailable("the bus is closed")
}

fn unavailable(reason: &str) -> PublishError {
    PublishError::Unavailable {
        reason: reason.to_owned(),
    }
}

pub(super) fn new(
    settings: &Arc<Settings>,
    health: &Arc<HealthBoard>,
    closing: &CancellationToken,
    returns: &Arc<Returns>,
) -> (Publisher, PublisherTask) {
    let (sender, requests) = mpsc::unbounded_channel();
    let publisher = Publisher {
        requests: sender,
        room: Arc::new(Semaphore::new(WAITING_BYTES)),
    };
    let task = PublisherTask {
        settings: Arc::clone(settings),
        health: Arc::clone(health),
        closing: closing.clone(),
        requests,
        pending: Pending::new(returns),
        away_since: Instant::now(),
    };
    (publisher, task)
}

pub(super) struct PublisherTask {
    settings: Arc<Settings>,
    health: Arc<HealthBoard>,
    closing: CancellationToken,
    requests: mpsc::UnboundedReceiver<Request>,
    pending: Pending,
    away_since: Instant,
}

/// The calls that wait, and their events that do.
struct Pending {
    backlog: Backlog,
    calls: HashMap<CallId, Call>,
    last: CallId,
}

struct Call {
    unconfirmed: usize,
    done: oneshot::Sender<Result<(), PublishError>>,
    _room: OwnedSemaphorePermit,
}

/// The bus is being closed, or nobody is left who could publish.
struct Closed;

impl PublisherTask {
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new();
        let mut trouble = "not connected yet".to_owned();
        loop {
            let settings = Arc::clone(&self.settings);
            let opening = Link::open(&settings, "publish");
            let opened = match self.refusing(&trouble, opening).await {
                Ok(opened) => opened,
                Err(Closed) => return,
            };
            let lost = match opened {
                Ok(link) => {
                    let since = Instant::now();
                    let lost = match self.serve(link).await {
                        ControlFlow::Continue(lost) => lost,
                        ControlFlow::Break(()) => return,
                    };
                    self.away_since = Instant::now();
                    if since.elapsed() > STABLE {
                        backoff = Backoff::new();
                    }
                    lost
                }
                Err(trouble) => trouble,
            };
            trouble = lost.to_string();
            self.health.down(Half::Publishing, trouble.clone());
            self.pending.refuse_all(&trouble);
            let pause = tokio::time::sleep(backoff.next_delay());
            if self.refusing(&trouble, pause).await.is_err() {
                return;
            }
        }
    }

    /// Waits for something, and refuses who has meanwhile lost patience.
    async fn refusing<T>(
        &mut self,
        trouble: &str,
        wait: impl Future<Output = T>,
    ) -> Result<T, Closed> {
        let mut wait = pin!(wait);
        let impatient = self.away_since + PATIENCE;
        loop {
            let patient = Instant::now() < impatient;
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return Err(Closed),
                done = &mut wait => return Ok(done),
                () = tokio::time::sleep_until(impatient), if patient => {}
                request = self.requests.recv(), if !patient => match request {
                    Some(request) => request.refuse(trouble),
                    None => return Err(Closed),
                },
            }
        }
    }

    /// Publishes until the connection is lost (continue, and why) or the bus is closed (break).
    async fn serve(&mut self, mut link: Link) -> ControlFlow<(), Trouble> {
        let mut window = match Window::open(&link.connection, &self.settings).await {
            Ok(window) => window,
            Err(trouble) => return ControlFlow::Continue(trouble),
        };
        self.health.up(Half::Publishing);
        let closing = self.closing.clone();
        let flow = tokio::select! {
            biased;
            trouble = self.publish_on(&mut link, &mut window) => ControlFlow::Continue(trouble),
            () = closing.cancelled() => ControlFlow::Break(()),
        };
        if flow.is_break() {
            let flushing = self.flush(&mut window);
            // What is not confirmed by then is not known to be published, and its callers hear so.
            let _ = tokio::time::timeout(FLUSH_LIMIT, flushing).await;
            self.pending.refuse_all("the bus is closed");
        }
        link.close("goodbye").await;
        flow
    }

    async fn publish_on(&mut self, link: &mut Link, window: &mut Window) -> Trouble {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.take_what_waits();
            window.fill(&mut self.pending.backlog);
            tokio::select! {
                biased;
                () = self.pending.backlog.opening() => self.pending.backlog.open_entrance(),
                landed = window.landed() => match landed {
                    Ok(fates) => self.pending.settle(fates),
                    Err(trouble) => return trouble,
                },
                event = link.events.next() => match event {
                    Some(lapin::Event::ConnectionBlocked(reason)) => {
                        if let Err(trouble) = self.sit_out(link, window, &reason).await {
                            return trouble;
                        }
                    }
                    Some(lapin::Event::Error(error)) => return error.into(),
                    Some(_) => {}
                    None => return Trouble::Lost,
                },
                request = self.requests.recv() => match request {
                    Some(request) => self.pending.take(request),
                    None => self.closing.cancel(),
                },
                _ = tick.tick() => {
                    if !link.is_alive() {
                        return Trouble::Lost;
                    }
                    if window.is_stalled(CONFIRM_LIMIT) {
                        return Trouble::Stalled;
                    }
                }
            }
        }
    }

    fn take_what_waits(&mut self) {
        while let Ok(request) = self.requests.try_recv() {
            self.pending.take(request);
        }
    }

    /// The broker is short of memory or disk and reads no more from this connection: refuse at once
    /// until it does, and do not drop the connection, which could not even say goodbye.
    async fn sit_out(
        &mut self,
        link: &mut Link,
        window: &mut Window,
        reason: &str,
    ) -> Result<(), Trouble> {
        let trouble = format!("it blocks publishers ({reason})");
        self.health.down(Half::Publishing, trouble.clone());
        self.pending.refuse_all(&trouble);
        loop {
            tokio::select! {
                biased;
                event = link.events.next() => match event {
                    Some(lapin::Event::ConnectionUnblocked) => break,
                    Some(lapin::Event::Error(error)) => return Err(error.into()),
                    Some(_) => {}
                    None => return Err(Trouble::Lost),
                },
                request = self.requests.recv() => match request {
                    Some(request) => request.refuse(&trouble),
                    None => self.closing.cancel(),
                },
            }
        }
        window.restart_clocks();
        self.health.up(Half::Publishing);
        Ok(())
    }

    /// Publishes what callers wait for by now.
    async fn flush(&mut self, window: &mut Window) {
        self.take_what_waits();
        while !(self.pending.backlog.is_empty() && window.is_empty()) {
            self.pending.backlog.open_entrance();
            window.fill(&mut self.pending.backlog);
            match window.landed().await {
                Ok(fates) => self.pending.settle(fates),
                Err(_) => return,
            }
        }
    }
}

impl Request {
    fn refuse(self, trouble: &str) {
        // A caller that no longer waits needs no answer.
        let _ = self.done.send(Err(unavailable(trouble)));
    }
}

impl Pending {
    fn new(returns: &Arc<Returns>) -> Self {
        Self {
            backlog: Backlog::new(returns),
            calls: HashMap::new(),
            last: 0,
        }
    }

    fn take(&mut self, request: Request) {
        self.last += 1;
        let call = Call {
            unconfirmed: request.parcels.len(),
            done: request.done,
            _room: request.room,
        };
        self.calls.insert(self.last, call);
        for parcel in request.parcels {
            self.backlog.push(self.last, parcel);
        }
    }

    fn settle(&mut self, fates: Vec<Fate>) {
        for Fate { calls, outcome } in fates {
            for (id, events) in calls {
                match &outcome {
                    Ok(()) => self.confirm(id, events),
                    Err(unpublished) => self.answer(id, Err(unpublished.to_error())),
                }
            }
        }
    }

    fn confirm(&mut self, id: CallId, events: usize) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.unconfirmed -= events;
        if call.unconfirmed == 0 {
            self.answer(id, Ok(()));
        }
    }

    fn answer(&mut self, id: CallId, result: Result<(), PublishError>) {
        if let Some(call) = self.calls.remove(&id) {
            // A caller that no longer waits needs no answer.
            let _ = call.done.send(result);
        }
    }

    /// Nothing that waits is known to be published.
    fn refuse_all(&mut self, trouble: &str) {
        self.backlog.clear();
        for (_, call) in self.calls.drain() {
            let _ = call.done.send(Err(unavailable(trouble)));
        }
    }
}

#[cfg(test)]
mod tests;
