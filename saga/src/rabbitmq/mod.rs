//! The production bus: RabbitMQ 3.10 and 4.x, over lapin.
//!
//! Two connections, each with a supervisor of its own: one publishes ([`publisher`]), one consumes
//! ([`supervisor`]), because a broker that is short of memory or disk stops reading from a
//! connection that publishes, acknowledgements included. Either is opened again after a back-off
//! when it is lost. A third carries questions and answers ([`questions`]). [`topology`] is derived from the choreography table, as data. Events
//! travel packed ([`pack`]), which is nobody's business outside of this folder.

mod alarm;
#[cfg(test)]
mod asyncapi;
mod beside;
mod compression;
mod connection;
mod consumer;
mod copy;
mod dead_letters;
mod declare;
mod deed_channel;
mod definitions;
mod entrance;
mod health;
mod in_flight;
mod in_hand;
mod journal;
mod names;
mod operations;
mod pace;
mod pack;
mod parked;
mod place;
mod publisher;
mod questions;
mod returns;
mod rights;
mod shelf;
mod spec;
mod subscription;
mod supervisor;
pub mod topology;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use events::Event;
use events::choreography::Service;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::beside::RabbitMqJournal;
pub use self::dead_letters::RabbitMqDeadLetters;
pub use self::declare::TopologyMode;
pub use self::definitions::{Part, definitions};
pub use self::rights::Role;

use self::alarm::Alarm;
use self::connection::{Link, Settings};
use self::consumer::WorkConsumer;
use self::health::HealthBoard;
use self::journal::StreamReader;
use self::pack::Parcel;
use self::place::Place;
use self::publisher::Publisher;
use self::questions::Asker;
use self::returns::Returns;
use self::spec::Spec;
use self::subscription::Subscriber;
use crate::bus::{
    AskError, Bus, Consumer, Health, JournalPosition, JournalReader, JournalStart, PublishError,
    Questions, Queue, TopologyError,
};
use crate::dead_letters::{DeadLetterError, DeadLetters};
use crate::retry::RetryPolicy;
use crate::tasks::Tasks;

#[derive(Clone, Debug)]
pub struct RabbitMqConfig {
    /// `amqp://user:password@host:5672/vhost`, or `amqps://` for TLS.
    pub url: String,
    /// Prefix of every exchange and queue, so that several environments share a broker; "" for none.
    pub namespace: String,
    /// Who we are in the Management UI, e.g. `ticket-worker`.
    pub client_name: String,
    /// Whose part of the topology [`TopologyMode::Check`] looks at.
    pub role: Role,
    /// Each delay is a queue on the broker.
    pub retry: RetryPolicy,
    pub packing: Packing,
    /// How many unacknowledged messages (not events) a consumer holds; none: what suits the packing.
    /// Of work it takes one alone and then one less than this.
    pub prefetch: Option<u16>,
    pub topology: TopologyMode,
}

impl RabbitMqConfig {
    /// The defaults, without a namespace.
    pub fn new(url: impl Into<String>, client_name: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            namespace: String::new(),
            client_name: client_name.into(),
            role: Role::All,
            retry: RetryPolicy::default(),
            packing: Packing::default(),
            prefetch: None,
            topology: TopologyMode::Declare,
        }
    }
}

/// How many events travel in one message.
#[derive(Clone, Copy, Debug)]
pub struct Packing {
    /// 1 turns packing off.
    pub max_events_per_message: usize,
    /// Before they are compressed. One event that alone is larger travels alone.
    pub max_message_bytes: usize,
    /// How many messages may wait for the broker's confirm at a time. The fewer, the more events
    /// gather for the next one.
    pub confirm_window: usize,
}

/// As much as is compressed as one block, brackets included: about one frame then, as RabbitMQ
/// negotiates it by default.
const MESSAGE_BYTES: usize = compression::MOST - 1;

impl Packing {
    /// At most so many events in a message, with a window to match.
    pub fn of(max_events_per_message: usize) -> Self {
        Self {
            max_events_per_message,
            max_message_bytes: MESSAGE_BYTES,
            // Measured: at 256 in flight a quorum queue confirms 25 times as many messages as at
            // one; four packs in flight are past the knee.
            confirm_window: if max_events_per_message == 1 { 256 } else { 4 },
        }
    }
}

/// The next batch is there while one is being committed, and a consumer holds 8 MiB at most.
const PREFETCH_PACKS: u16 = 32;
/// Unpacked, a batch of events is as many messages.
const PREFETCH_EVENTS: u16 = 2_048;

impl Packing {
    fn prefetch(&self) -> u16 {
        if self.max_events_per_message == 1 {
            PREFETCH_EVENTS
        } else {
            PREFETCH_PACKS
        }
    }
}

impl Default for Packing {
    fn default() -> Self {
        Self::of(512)
    }
}

/// The configuration cannot work, whatever the broker says.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the AMQP URL is wrong: {reason}")]
    Url { reason: String },
    #[error(
        "the namespace {namespace:?} is not up to 64 letters, digits, dots, dashes, underscores, \
         or begins with `amq`, which is RabbitMQ's own"
    )]
    Namespace { namespace: String },
    #[error("events per message and messages in flight must be at least 1")]
    Packing,
}

/// Whether a broker may be there, so that a setting can be refused by its name.
pub fn check_url(url: &str) -> Result<(), ConfigError> {
    connection::parse_url(url).map(drop)
}

/// Whether it can be a prefix of names on the broker.
pub fn check_namespace(namespace: &str) -> Result<(), ConfigError> {
    connection::check_namespace(namespace)
}

/// A [`Bus`] on RabbitMQ.
pub struct RabbitMqBus {
    settings: Arc<Settings>,
    publisher: Publisher,
    returns: Arc<Returns>,
    subscriber: Subscriber,
    asker: Asker,
    health: Arc<HealthBoard>,
    closing: CancellationToken,
    tasks: Tasks,
    running: Mutex<Vec<JoinHandle<()>>>,
    /// Whether somebody here looks for what finds no queue.
    watches: AtomicBool,
}

impl RabbitMqBus {
    /// Returns at once and connects in the background. The bus runs until [`Bus::close`], not until
    /// the tasks are asked to stop, because what is in hand then still has to be published: close
    /// it when its users have ended, and before [`Tasks::join`].
    pub fn start(config: RabbitMqConfig, tasks: &Tasks) -> Result<Arc<Self>, ConfigError> {
        let settings = Arc::new(Settings::check(config)?);
        let health = Arc::new(HealthBoard::new(settings.broker()));
        let closing = CancellationToken::new();
        let returns = Arc::default();
        let (publisher, publishing) = publisher::new(&settings, &health, &closing, &returns);
        let (subscriber, consuming) = supervisor::new(&settings, &health, &closing);
        let (asker, asking) = questions::asker(&settings, &closing);
        let running = vec![
            tasks.spawn("publisher", publishing.run()),
            tasks.spawn("subscriber", consuming.run()),
            tasks.spawn("asker", asking.run()),
        ];
        Ok(Arc::new(Self {
            settings,
            publisher,
            returns,
            subscriber,
            asker,
            health,
            closing,
            tasks: tasks.clone(),
            running: Mutex::new(running),
            watches: AtomicBool::new(false),
        }))
    }

    /// Who takes work also says what finds no queue. Once is enough.
    async fn watch_for_the_unrouted(&self) {
        if self.watches.swap(true, Ordering::Relaxed) {
            return;
        }
        let (alarm, closing) = (Alarm::new(Arc::clone(&self.settings)), self.closing.clone());
        let watching = self.tasks.spawn("alarm", async move {
            closing.run_until_cancelled(alarm.watch()).await;
        });
        self.running.lock().await.push(watching);
    }

    /// The offset of the first message to read.
    async fn first_offset(&self, from: JournalStart) -> Result<i64, TopologyError> {
        let place = match from {
            JournalStart::First => return Ok(0),
            JournalStart::After(JournalPosition(last)) => return Ok(last.saturating_add(1)),
            JournalStart::Time(at) => Place::At(at),
            JournalStart::Last => Place::Last,
        };
        Ok(self.find(place).await?.unwrap_or(0))
    }

    /// The offset of a place in the journal; none if the journal is empty.
    async fn find(&self, place: Place) -> Result<Option<i64>, TopologyError> {
        let finding = place::find(&self.settings, place);
        let found = self.closing.run_until_cancelled(finding).await;
        found.unwrap_or_else(|| {
            Err(TopologyError {
                what: self.settings.names.journal(),
                reason: "the bus is closed".to_owned(),
            })
        })
    }

    /// Removes every exchange and queue of the namespace, with all messages: for tests and
    /// benchmarks, once nothing uses them any more.
    pub async fn delete_topology(config: RabbitMqConfig) -> Result<(), DeleteError> {
        let settings = Settings::check(config)?;
        let link = Link::connect(&settings, "delete").await;
        let link = link.map_err(|trouble| DeleteError::Broker(trouble.into()))?;
        let operations = settings.names.operations();
        let removed = declare::remove(&link.connection, settings.topology(), &operations).await;
        link.close("deleted").await;
        removed.map_err(|error| DeleteError::Broker(error.into()))
    }
}

/// The topology is not, or not wholly, deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the broker did not delete everything")]
    Broker(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Drop for RabbitMqBus {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

#[async_trait]
impl Bus for RabbitMqBus {
    async fn publish(&self, events: &[Event]) -> Result<(), PublishError> {
        self.publisher
            .publish(events.iter().map(Parcel::of).collect())
            .await
    }

    async fn consume(&self, queue: Queue) -> Result<Box<dyn Consumer>, TopologyError> {
        if matches!(queue, Queue::Work(_)) {
            self.watch_for_the_unrouted().await;
        }
        let spec = Spec::consuming(&self.settings, &queue);
        let subscription = self.subscriber.subscribe(spec).await?;
        Ok(match queue {
            Queue::Work(step) => Box::new(WorkConsumer::new(
                step.service.0,
                subscription,
                self.publisher.clone(),
                &self.settings,
            )),
            Queue::Replies { .. } => {
                Box::new(consumer::ReplyConsumer::new(subscription, &self.returns))
            }
        })
    }

    async fn read_journal(
        &self,
        from: JournalStart,
    ) -> Result<Box<dyn JournalReader>, TopologyError> {
        let next = Arc::new(AtomicI64::new(self.first_offset(from).await?));
        let spec = Spec::journal(&self.settings, Arc::clone(&next));
        let subscription = self.subscriber.subscribe(spec).await?;
        Ok(Box::new(StreamReader::new(subscription, next)))
    }

    async fn journal_end(&self) -> Result<Option<JournalPosition>, TopologyError> {
        let end = self.find(Place::Last).await?;
        Ok(end.map(JournalPosition))
    }

    async fn dead_letters(&self) -> Result<Box<dyn DeadLetters>, DeadLetterError> {
        let letters = RabbitMqDeadLetters::connect(&self.settings).await?;
        Ok(Box::new(letters))
    }

    async fn ask(
        &self,
        service: Service,
        question: String,
        limit: Duration,
    ) -> Result<String, AskError> {
        self.asker.ask(service, question, limit).await
    }

    async fn questions(&self, service: Service) -> Result<Box<dyn Questions>, TopologyError> {
        Ok(questions::answer(
            service,
            &self.settings,
            &self.closing,
            &self.tasks,
        ))
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.watch()
    }

    async fn close(&self) {
        self.closing.cancel();
        for task in self.running.lock().await.drain(..) {
            // A task that panicked has been reported, and stops the process.
            let _ = task.await;
        }
        self.health.closed();
    }
}
