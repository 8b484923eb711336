//! The bus inside the process: durable queues in one SQLite file, for a system that needs nothing
//! installed. A `kill -9` at any moment loses nothing.
//!
//! It means what RabbitMQ means: routing by pattern from the choreography table, at-least-once
//! delivery with a delivery limit, retry delays, dead letters, prefetch, a journal. The [`engine`]
//! is the only writer; publishers and consumers talk to it over one bounded queue.

mod batch;
mod beside;
mod consumer;
mod consumers;
mod dead_letters;
mod engine;
mod file;
mod journal;
mod place;
mod questions;
mod request;
mod retention;
mod settle;
mod storage;
mod topology;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use events::choreography::Service;
use events::{Event, choreography};
use tokio::sync::{mpsc, oneshot, watch};

use self::consumer::EmbeddedConsumer;
use self::consumers::Consumers;
use self::engine::Engine;
use self::file::BusFile;
use self::journal::EmbeddedJournal;
use self::questions::QuestionDesk;
use self::request::{Publish, Request, Source, Subscribe};
use self::retention::{Readers, Retention};
use self::storage::Storage;
use self::topology::Topology;
use crate::Tasks;
use crate::bus::{
    AskError, Bus, Consumer, Health, JournalPosition, JournalReader, JournalStart, PublishError,
    Questions, Queue, TopologyError,
};
use crate::dead_letters::{DeadLetterError, DeadLetters};
use crate::failure::chain;
use crate::retry::RetryPolicy;

pub use self::beside::EmbeddedJournalFile;
pub use self::dead_letters::EmbeddedDeadLetters;
pub use self::file::OpenError;
pub use self::retention::JournalRetention;

/// How many requests wait for the engine before those who ask wait, too. More than the engine takes
/// into one transaction in practice, and small enough to be no memory worth mentioning.
const REQUESTS: usize = 1_024;

/// How many replies wait for a gateway that does not read them: more than it can have callers.
const REPLIES: usize = 16_384;

/// Where the embedded bus keeps its events, and how it hands them out.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// The database file; its folder is created.
    pub path: PathBuf,
    pub retry: RetryPolicy,
    /// How many events a consumer may have in hand.
    pub prefetch: usize,
    /// How long the journal keeps what nobody needs any more.
    pub journal: JournalRetention,
}

/// The bus of one process. One process at a time may have the file open.
pub struct EmbeddedBus {
    topology: Topology,
    requests: mpsc::Sender<Request>,
    health: watch::Receiver<Health>,
    journal_end: watch::Receiver<i64>,
    journal_readers: Readers,
    config: EmbeddedConfig,
    last_consumer: AtomicU64,
    questions: QuestionDesk,
}

impl EmbeddedBus {
    /// Opens the file, creating it if need be; what an earlier process left is handed out again.
    ///
    /// The bus outlives a stop of the tasks, so that what is in hand then can be settled: it ends
    /// with [`Bus::close`], or when it and its consumers are dropped.
    pub async fn open(config: EmbeddedConfig, tasks: &Tasks) -> Result<Arc<Self>, OpenError> {
        let mut storage = Storage::new(BusFile::open(config.path.clone()).await?);
        let found = storage.connect().await.map_err(|source| {
            let path = config.path.clone();
            OpenError::Database { path, source }
        })?;
        let (requests, taken) = mpsc::channel(REQUESTS);
        let consumers = Consumers::new(config.retry.clone());
        let journal_readers = Readers::default();
        let retention = Retention::new(config.journal, journal_readers.clone());
        let (engine, health, journal_end) =
            Engine::new(storage, found, taken, consumers, retention);
        tasks.spawn("embedded bus", engine.run());
        Ok(Arc::new(Self {
            topology: Topology::new(choreography::steps()),
            requests,
            health,
            journal_end,
            journal_readers,
            config,
            last_consumer: AtomicU64::new(0),
            questions: QuestionDesk::default(),
        }))
    }

    fn source(&self, queue: Queue) -> Result<Source, TopologyError> {
        match queue {
            Queue::Replies { instance } => Ok(Source::Replies(instance)),
            Queue::Work(step) => match self.topology.queue_of(step) {
                Some(queue) => Ok(Source::Work(queue)),
                None => Err(TopologyError {
                    what: step.queue(),
                    reason: "it is not in the choreography table".into(),
                }),
            },
        }
    }

    async fn subscribe(&self, source: Source) -> Option<Result<EmbeddedConsumer, TopologyError>> {
        let prefetch = match source {
            Source::Work(_) => self.config.prefetch.max(1),
            Source::Replies(_) => REPLIES,
        };
        let (sender, arrivals) = mpsc::channel(prefetch);
        let goodbye = self.requests.clone().reserve_owned().await.ok()?;
        let consumer = EmbeddedConsumer {
            id: self.last_consumer.fetch_add(1, Ordering::Relaxed) + 1,
            source,
            arrivals,
            requests: self.requests.clone(),
            goodbye: Some(goodbye),
        };
        let (answer, answered) = oneshot::channel();
        let subscribe = Subscribe {
            consumer: consumer.id,
            source: consumer.source.clone(),
            arrivals: sender,
            answer,
        };
        let request = Request::Subscribe(subscribe);
        self.requests.send(request).await.ok()?;
        Some(answered.await.ok()?.map(|()| consumer))
    }
}

#[async_trait]
impl Bus for EmbeddedBus {
    async fn publish(&self, events: &[Event]) -> Result<(), PublishError> {
        if events.is_empty() {
            return Ok(());
        }
        let events = events.iter().map(|event| self.topology.address(event));
        let (done, published) = oneshot::channel();
        let request = Request::Publish(Publish {
            events: events.collect(),
            done,
        });
        // A lost answer leaves it open whether they are published, as every error of publish does.
        let closed = || PublishError::Unavailable {
            reason: "the bus is closed".into(),
        };
        self.requests.send(request).await.map_err(|_| closed())?;
        published.await.map_err(|_| closed())?
    }

    async fn consume(&self, queue: Queue) -> Result<Box<dyn Consumer>, TopologyError> {
        let source = self.source(queue)?;
        match self.subscribe(source).await {
            Some(subscribed) => Ok(Box::new(subscribed?)),
            None => Err(TopologyError {
                what: "the embedded bus".into(),
                reason: "it is closed".into(),
            }),
        }
    }

    async fn read_journal(
        &self,
        from: JournalStart,
    ) -> Result<Box<dyn JournalReader>, TopologyError> {
        let (path, end) = (self.config.path.clone(), self.journal_end.clone());
        let following = EmbeddedJournal::follow(path, end, from, &self.journal_readers).await;
        Ok(Box::new(following.map_err(|error| unreadable(&error))?))
    }

    async fn journal_end(&self) -> Result<Option<JournalPosition>, TopologyError> {
        let end = *self.journal_end.borrow();
        Ok((end > 0).then_some(JournalPosition(end)))
    }

    async fn dead_letters(&self) -> Result<Box<dyn DeadLetters>, DeadLetterError> {
        let letters = EmbeddedDeadLetters::open(&self.config.path).await?;
        Ok(Box::new(letters))
    }

    async fn ask(
        &self,
        service: Service,
        question: String,
        limit: Duration,
    ) -> Result<String, AskError> {
        self.questions.ask(service, question, limit).await
    }

    async fn questions(&self, service: Service) -> Result<Box<dyn Questions>, TopologyError> {
        Ok(self.questions.questions(service))
    }

    fn health(&self) -> watch::Receiver<Health> {
        let mut health = self.health.clone();
        // A receiver tells of changes from now on, as that of the other bus does.
        health.mark_unchanged();
        health
    }

    async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.requests.send(Request::Close(done)).await.is_ok() {
            // An error says that it was closed already.
            let _ = closed.await;
        }
    }
}

fn unreadable(error: &sqlx::Error) -> TopologyError {
    TopologyError {
        what: "the journal of the embedded bus".into(),
        reason: chain(error),
    }
}
