//! The load on the real system: callers that each hand one command to the bus, wait until it is
//! confirmed and the event that ends the saga has come, and start over.
//!
//! Everything that is learnt of a saga goes into the [`Book`], for the invariants: what it was to
//! end with, what it ended with, and whether it was ever told otherwise.

pub(crate) mod callers;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use events::{Event, MessageType, SagaId, TicketId, UserId};
use futures_util::TryFutureExt;
use futures_util::future::try_join_all;
use saga::Tasks;
use saga::bus::{Bus, Consumer, Queue, Settlement};
use tokio::sync::oneshot;

use crate::failure::BenchError;
use crate::meter::{Load, Measured, Meter};
use crate::sample;

/// The gateway instance that the benchmark plays.
const INSTANCE: &str = "bench";
/// One ticket on sale: what matters is the pair of user and ticket.
const TICKET: TicketId = TicketId(7);
/// How long after its load a saga may still be on its way.
const PATIENCE: Duration = Duration::from_secs(30);
/// Replies taken at a time.
const REPLIES: usize = 1024;
/// Commands handed to the bus at a time when a backlog is published.
const BACKLOG_CHUNK: usize = 1000;

/// What is known of every saga of one system.
#[derive(Debug, Default)]
pub(crate) struct Book {
    waiting: HashMap<SagaId, Waiting>,
    pub(crate) ended: HashMap<SagaId, MessageType>,
    pub(crate) started: u64,
    /// Sagas that ended twice, differently.
    pub(crate) contradicted: u64,
    /// Sagas that ended otherwise than they had to.
    pub(crate) surprising: u64,
    registered: Vec<UserId>,
    users: u64,
    refusals: usize,
    last: Vec<SagaId>,
}

#[derive(Debug)]
struct Waiting {
    user: UserId,
    /// None in a backlog, where it depends on the order.
    expected: Option<MessageType>,
    ended: Option<oneshot::Sender<Instant>>,
}

/// The sagas that ended last, by which the ledger shows that it has caught up.
const LAST: usize = 64;

impl Book {
    /// A fresh command; refused ones repeat a user that is registered already.
    fn command(&mut self, refused: bool) -> (Event, oneshot::Receiver<Instant>) {
        let (user, expected) = self.next(refused);
        let (ended, end) = oneshot::channel();
        let command = self.enter(user, Some(expected), Some(ended));
        (command, end)
    }

    /// Whose saga is next, and what it has to end with.
    fn next(&mut self, refused: bool) -> (UserId, MessageType) {
        if refused && !self.registered.is_empty() {
            self.refusals += 1;
            let user = self.registered[self.refusals % self.registered.len()];
            (user, MessageType::TicketDeleted)
        } else {
            self.users += 1;
            (UserId(self.users), MessageType::RegistrationCompleted)
        }
    }

    /// A command of a backlog, in which nobody waits for one saga. Refused ones repeat a user of
    /// the same backlog.
    fn queued(&mut self, refused: bool) -> Event {
        if !refused {
            self.users += 1;
        }
        self.enter(UserId(self.users), None, None)
    }

    fn enter(
        &mut self,
        user: UserId,
        expected: Option<MessageType>,
        ended: Option<oneshot::Sender<Instant>>,
    ) -> Event {
        let command = sample::command(INSTANCE, user, TICKET);
        self.started += 1;
        let waiting = Waiting {
            user,
            expected,
            ended,
        };
        self.waiting.insert(command.saga_id, waiting);
        command
    }

    fn end(&mut self, event: &Event, at: Instant) {
        let end = event.message_type();
        let Some(waiting) = self.waiting.remove(&event.saga_id) else {
            let known = self.ended.get(&event.saga_id);
            self.contradicted += u64::from(known != Some(&end));
            return;
        };
        self.surprising += u64::from(waiting.expected.is_some_and(|expected| expected != end));
        self.close(event.saga_id, waiting.user, end);
        if let Some(ended) = waiting.ended {
            // A caller that gave up has failed the measurement already.
            let _ = ended.send(at);
        }
    }

    fn close(&mut self, saga_id: SagaId, user: UserId, end: MessageType) {
        let before = self.ended.insert(saga_id, end);
        self.contradicted += u64::from(before.is_some());
        if end == MessageType::RegistrationCompleted {
            self.registered.push(user);
        }
        if self.last.len() >= 2 * LAST {
            self.last.drain(..LAST);
        }
        self.last.push(saga_id);
    }

    /// Started and not ended.
    pub(crate) fn open_sagas(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn last_ended(&self) -> Vec<SagaId> {
        self.last.clone()
    }

    pub(crate) fn ended_with(&self, end: MessageType) -> usize {
        self.ended.values().filter(|known| **known == end).count()
    }
}

/// A book that several tasks write in.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedBook(Arc<Mutex<Book>>);

impl SharedBook {
    /// Every change of the book is one step, so it is whole even after a panic.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes load on one system.
pub(crate) struct Generator {
    bus: Arc<dyn Bus>,
    book: SharedBook,
}

impl Generator {
    pub(crate) async fn start(
        bus: Arc<dyn Bus>,
        book: SharedBook,
        tasks: &Tasks,
    ) -> Result<Self, BenchError> {
        let instance = INSTANCE.to_owned();
        let replies = bus.consume(Queue::Replies { instance }).await?;
        let (stop, receiver) = (tasks.stop_token(), receive(replies, book.clone()));
        tasks.spawn("replies", async move {
            stop.run_until_cancelled(receiver).await;
        });
        Ok(Self { bus, book })
    }

    /// Runs one closed loop: a new saga starts when one has ended.
    pub(crate) async fn run(&self, load: Load) -> Result<Measured, BenchError> {
        let meter = Mutex::new(Meter::start(load));
        let callers = try_join_all((0..load.in_flight).map(|_| self.call(&meter)));
        let limit = load.warm_up + load.seconds + PATIENCE;
        let done = tokio::time::timeout(limit, callers).await;
        done.map_err(|_| BenchError::Unended {
            open: self.book.lock().open_sagas(),
            after: PATIENCE,
        })??;
        Ok(lock(&meter).measured())
    }

    async fn call(&self, meter: &Mutex<Meter>) -> Result<(), BenchError> {
        loop {
            let refused = {
                let mut meter = lock(meter);
                if !meter.is_open() {
                    return Ok(());
                }
                meter.begin()
            };
            let began = Instant::now();
            let (command, end) = self.book.lock().command(refused);
            self.bus.publish(std::slice::from_ref(&command)).await?;
            let ended = end.map_err(|_| BenchError::RepliesEnded).await?;
            lock(meter).end(began, ended);
        }
    }

    /// Publishes so many commands and waits for none of the sagas.
    pub(crate) async fn publish_backlog(
        &self,
        sagas: u64,
        refusals: f64,
    ) -> Result<(), BenchError> {
        let mut meter = Meter::start(Load {
            refusals,
            most: Some(sagas),
            ..Load::UNLIMITED
        });
        while meter.is_open() {
            let mut chunk = Vec::with_capacity(BACKLOG_CHUNK);
            while chunk.len() < BACKLOG_CHUNK && meter.is_open() {
                chunk.push(self.book.lock().queued(meter.begin()));
            }
            self.bus.publish(&chunk).await?;
        }
        Ok(())
    }
}

async fn receive(mut replies: Box<dyn Consumer>, book: SharedBook) {
    loop {
        let deliveries = replies.receive(REPLIES).await;
        let at = Instant::now();
        {
            let mut book = book.lock();
            for delivery in &deliveries {
                match &delivery.event {
                    Ok(event) => book.end(event, at),
                    Err(_) => book.surprising += 1,
                }
            }
        }
        let tags = deliveries.iter().map(|delivery| delivery.tag);
        let done = tags.map(|tag| (tag, Settlement::Done)).collect();
        replies.settle(done).await;
    }
}

fn lock(meter: &Mutex<Meter>) -> MutexGuard<'_, Meter> {
    meter.lock().unwrap_or_else(PoisonError::into_inner)
}
