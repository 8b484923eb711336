//! The engine: the one task that writes. It takes the requests that are already there, carries them
//! out in one transaction (so that all of them share one sync of the disk), and answers them all.
//!
//! Invariant: nothing is answered or handed out before it is committed. A request whose content
//! SQLite refuses fails alone; while the disk fails, publishing fails and settlements are kept.

use std::time::Duration;

use events::{Event, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::batch::{Batch, Committed};
use super::consumers::Consumers;
use super::request::{Publish, Request, Settle, Settled, Work};
use super::retention::Retention;
use super::storage::{self, Found, Storage};
use crate::bus::{Health, PublishError};
use crate::failure::chain;
use crate::retry::Backoff;

/// What one transaction carries out at most, in events: bounds its memory, and how long a request
/// waits behind it.
const GROUP_EVENTS: usize = 4_096;

/// How long a plain settlement may wait for company. It need not be on the disk before anyone goes
/// on: with the next publishing it costs no sync of its own, and what a crash forgets of it is
/// delivered again. Short enough that a crash forgets little.
const SETTLE_WITHIN: Duration = Duration::from_millis(10);

/// How often to look whether an operator's command has put something back: nobody waits for it with
/// a stopwatch, and an idle system hardly notices.
const LOOK_FOR_OTHERS: Duration = Duration::from_secs(1);

pub(super) struct Engine {
    requests: mpsc::Receiver<Request>,
    storage: Storage,
    consumers: Consumers,
    health: watch::Sender<Health>,
    journal_end: watch::Sender<i64>,
    /// When the next waiting event is due.
    next_due: Option<Timestamp>,
    /// Settlements that wait for company, or that could not be written yet.
    unwritten: Vec<Work>,
    /// When those that wait for company are written without it.
    settle_at: Option<Instant>,
    /// When to look next whether somebody else wrote to the file.
    look_at: Instant,
    retention: Retention,
    /// Set while writing fails: when it is tried again even if nobody asks.
    trouble: Option<Trouble>,
    closing: Option<oneshot::Sender<()>>,
}

struct Trouble {
    backoff: Backoff,
    retry_at: Instant,
}

enum Wake {
    Request(Request),
    /// Something is due.
    Timer,
    /// Nobody can ask for anything any more.
    Abandoned,
}

impl Engine {
    /// An engine on a connected storage, and what tells others of its health and of the journal.
    pub(super) fn new(
        storage: Storage,
        found: Found,
        requests: mpsc::Receiver<Request>,
        consumers: Consumers,
        retention: Retention,
    ) -> (Self, watch::Receiver<Health>, watch::Receiver<i64>) {
        let (health, health_seen) = watch::channel(Health::Up);
        let (journal_end, journal_end_seen) = watch::channel(storage.last_position());
        let mut engine = Self {
            requests,
            storage,
            consumers,
            health,
            journal_end,
            next_due: None,
            unwritten: Vec::new(),
            settle_at: None,
            look_at: Instant::now(),
            retention,
            trouble: None,
            closing: None,
        };
        engine.recover(found);
        (engine, health_seen, journal_end_seen)
    }

    /// Runs until the bus is closed, or until nobody is left who could ask for something. A stop of
    /// the process does not end it: what others have in hand then is still to be settled.
    pub(super) async fn run(mut self) {
        // What an earlier process had in hand is given back before anyone asks for it.
        let mut work = std::mem::take(&mut self.unwritten);
        loop {
            self.look_for_others().await;
            if self.may_wait(&work) {
                self.unwritten = work;
            } else {
                self.settle_at = None;
                self.carry_out(work).await;
            }
            if self.closing.is_some() {
                break;
            }
            self.trim_journal().await;
            work = match self.wait().await {
                Wake::Request(request) => self.gather(Some(request)),
                Wake::Timer => self.gather(None),
                Wake::Abandoned => break,
            };
        }
        self.end().await;
    }

    async fn wait(&mut self) -> Wake {
        let timer = wait_for(self.next_wake());
        tokio::select! {
            request = self.requests.recv() => request.map_or(Wake::Abandoned, Wake::Request),
            () = timer => Wake::Timer,
        }
    }

    /// How long until there is something to do without being asked.
    fn next_wake(&self) -> Option<Duration> {
        if let Some(trouble) = &self.trouble {
            return Some(trouble.retry_at.saturating_duration_since(Instant::now()));
        }
        let due = self.next_due.map(|due| due.since(Timestamp::now()));
        let settle_at = self.settle_at;
        let settle = settle_at.map(|at| at.saturating_duration_since(Instant::now()));
        let look = self.look_at.saturating_duration_since(Instant::now());
        let trim = self.retention.due.saturating_duration_since(Instant::now());
        due.into_iter().chain(settle).chain([look, trim]).min()
    }

    /// Lets a batch of old entries go, if it is time for that.
    async fn trim_journal(&mut self) {
        if self.trouble.is_some() || Instant::now() < self.retention.due {
            return;
        }
        if let Err(error) = self.storage.trim(&mut self.retention).await {
            self.retention.put_off();
            warn!(
                error = chain(&error),
                "old entries of the journal are not removed"
            );
        }
    }

    /// Notes, now and then, that an operator's command may have put events back into any queue.
    async fn look_for_others(&mut self) {
        if Instant::now() < self.look_at {
            return;
        }
        self.look_at = Instant::now() + LOOK_FOR_OTHERS;
        match self.storage.was_written_by_others().await {
            Ok(true) => self.consumers.all_refilled(),
            Ok(false) => {}
            Err(error) => warn!(
                error = chain(&error),
                "it cannot be seen whether dead letters were put back"
            ),
        }
    }

    /// Whether the work is nothing but plain settlements that make room for nobody, and not for
    /// too long.
    fn may_wait(&mut self, work: &[Work]) -> bool {
        let plain = |item: &Work| matches!(item, Work::Settle(s) if s.settled.is_plain());
        let is_due = self.next_due.is_some_and(|due| due <= Timestamp::now());
        if work.is_empty()
            || !work.iter().all(plain)
            || is_due
            || self.trouble.is_some()
            || self.closing.is_some()
            || !self.consumers.claims().is_empty()
        {
            return false;
        }
        let now = Instant::now();
        now < *self.settle_at.get_or_insert(now + SETTLE_WITHIN)
    }

    /// What is there to be done now, bounded.
    fn gather(&mut self, first: Option<Request>) -> Vec<Work> {
        let mut work = std::mem::take(&mut self.unwritten);
        let mut events = 0;
        let mut next = first.or_else(|| self.requests.try_recv().ok());
        while let Some(request) = next {
            events += request.events();
            work.extend(self.admit(request));
            if events >= GROUP_EVENTS || self.closing.is_some() {
                break;
            }
            next = self.requests.try_recv().ok();
        }
        work
    }

    /// Takes the request up; returns what it needs written.
    fn admit(&mut self, request: Request) -> Option<Work> {
        match request {
            Request::Publish(publish) => Some(Work::Publish(publish)),
            Request::Subscribe(subscribe) => {
                self.consumers.add(subscribe);
                None
            }
            Request::Settle {
                consumer,
                queue,
                settlements,
                done,
            } => {
                let now = Timestamp::now();
                let settled = self.consumers.settle(consumer, &queue, settlements, now);
                Some(Work::Settle(Settle {
                    queue,
                    settled,
                    done: Some(done),
                }))
            }
            Request::Gone { consumer, source } => self.consumers.remove(consumer, source),
            Request::Close(closed) => {
                self.closing = Some(closed);
                None
            }
        }
    }

    /// Carries out the work, all of it in one transaction if its content allows that.
    async fn carry_out(&mut self, mut work: Vec<Work>) {
        if let Err(error) = self.reconnect().await {
            return self.fail(work, &error);
        }
        work.append(&mut self.unwritten);
        // The halves of what failed together. The first is on top, which keeps the order.
        let mut groups = vec![work];
        while let Some(mut group) = groups.pop() {
            let batch = self.batch(&group);
            if batch.is_empty() && self.trouble.is_none() {
                self.answer(group);
                continue;
            }
            match self.storage.commit(&batch).await {
                Ok(committed) => self.complete(group, &batch, committed),
                Err(error) if group.len() > 1 && storage::is_about_content(&error) => {
                    groups.push(group.split_off(group.len() / 2));
                    groups.push(group);
                }
                Err(error) => self.fail(group, &error),
            }
        }
    }

    async fn reconnect(&mut self) -> Result<(), sqlx::Error> {
        if !self.storage.is_connected() {
            let found = self.storage.connect().await?;
            self.recover(found);
        }
        Ok(())
    }

    /// Takes up what the file holds. What it says is in hand, and nobody has, is given back.
    fn recover(&mut self, found: Found) {
        self.next_due = found.next_due;
        for (queue, mut returned) in found.in_hand {
            returned.retain(|position| !self.consumers.holds(&queue, *position));
            let settled = Settled {
                returned,
                ..Settled::default()
            };
            self.unwritten.push(Work::Settle(Settle {
                queue,
                settled,
                done: None,
            }));
        }
    }

    fn batch(&mut self, work: &[Work]) -> Batch {
        let mut batch = Batch::new(work, Timestamp::now());
        let consumers = &mut self.consumers;
        batch.filled().for_each(|queue| consumers.filled(queue));
        batch.refilled().for_each(|queue| consumers.refilled(queue));
        if self.next_due.is_some_and(|due| due <= batch.now) {
            batch.wake_due = true;
            consumers.all_refilled();
        }
        batch.claims = consumers.claims();
        batch
    }

    fn complete(&mut self, work: Vec<Work>, batch: &Batch, committed: Committed) {
        if self.trouble.take().is_some() {
            info!("the bus database can be written again");
            self.health.send_replace(Health::Up);
        }
        // First, for who gets a message, or hears that it is confirmed, may ask where the journal ends.
        self.journal_end.send_replace(self.storage.last_position());
        for (claim, claimed) in batch.claims.iter().zip(committed.claimed) {
            self.consumers.hand_out(claim, claimed);
        }
        if let Some(next_due) = committed.next_due {
            self.next_due = next_due;
        }
        for event in committed.exhausted {
            report_exhausted(&event);
        }
        self.answer(work);
    }

    /// Tells everyone that it is done. Who does not wait for the answer any more does not need it.
    fn answer(&mut self, work: Vec<Work>) {
        for item in work {
            match item {
                Work::Publish(Publish { events, done }) => {
                    for event in events {
                        if let Some(instance) = event.instance {
                            self.consumers.reply(&instance, event.json);
                        }
                    }
                    let _ = done.send(Ok(()));
                }
                Work::Settle(Settle { done, .. }) => {
                    let _ = done.map(|done| done.send(()));
                }
            }
        }
    }

    /// Publishers are told; settlements are kept for the next try.
    fn fail(&mut self, work: Vec<Work>, error: &sqlx::Error) {
        let reason = chain(error);
        error!(error = reason, "the bus database cannot be written");
        let publish_alone = storage::is_about_content(error) && matches!(*work, [Work::Publish(_)]);
        for item in work {
            match item {
                Work::Publish(Publish { done, .. }) => {
                    let reason = reason.clone();
                    let _ = done.send(Err(PublishError::Unavailable { reason }));
                }
                settle @ Work::Settle(_) => self.unwritten.push(settle),
            }
        }
        if !publish_alone {
            self.storage.disconnect();
            self.back_off(&reason);
        }
    }

    fn back_off(&mut self, reason: &str) {
        let mut backoff = self.trouble.take().map(|t| t.backoff).unwrap_or_default();
        let retry_at = Instant::now() + backoff.next_delay();
        self.trouble = Some(Trouble { backoff, retry_at });
        self.health.send_replace(Health::Down {
            waiting_for: format!("the bus database: {reason}"),
        });
    }

    async fn end(self) {
        if let Err(error) = self.storage.close().await {
            warn!(
                error = chain(&error),
                "the bus database was not closed in good order"
            );
        }
        if let Some(closed) = self.closing {
            let _ = closed.send(());
        }
    }
}

async fn wait_for(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

fn report_exhausted(json: &str) {
    let text = "an event was handed out again and again and never settled; it is parked";
    match Event::from_json(json.as_bytes()) {
        Ok(event) => error!(
            saga_id = %event.saga_id,
            message_id = %event.id,
            message_type = %event.message_type(),
            "{text}"
        ),
        Err(error) => error!(error = chain(&error), "{text}, and it cannot be decoded"),
    }
}
