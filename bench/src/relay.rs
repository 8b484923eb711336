//! The bare relay: the broker's own ceiling at one event per message. The real events' bytes take
//! the real number of hops over the real exchanges and queues (the RabbitMQ adapter declares them),
//! journal included, with publisher confirms and acknowledgements, but nobody decodes them and no
//! database is involved.
//!
//! What the system gains by packing events is measured against this, so it has to be the best that
//! one message per event allows.

mod hop;
mod template;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use events::choreography::{PURCHASE_AND_REGISTER, REGIST_WORKER, TICKET_WORKER};
use events::{Class, MessageType};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer};
use saga::Tasks;
use saga::bus::Bus;
use saga::rabbitmq::topology::Names;
use saga::rabbitmq::{RabbitMqBus, RabbitMqConfig};

use self::hop::WINDOW;
pub(crate) use self::hop::{confirming, connect, run as run_hop};
pub(crate) use self::template::PERSISTENT;
use self::template::{INSTANCE, Template};
use crate::failure::BenchError;
use crate::meter::{Load, Measured, Meter};
use crate::process::Process;
use crate::system::until_up;

/// How long after its load a relayed saga may still be on its way.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running relay: its processes, and the load generator's side of it.
pub(crate) struct Relay {
    pub(crate) hops: Vec<Process>,
    connections: [Connection; 2],
    publisher: Channel,
    replies: Consumer,
    command: Template,
}

impl Relay {
    /// Declares everything, starts the hops, and sends one saga through.
    pub(crate) async fn start(url: &str, namespace: &str) -> Result<Self, BenchError> {
        declare(url, namespace).await?;
        let names = Names::new(namespace);
        let publishing = connect(url, "bench relay load, publishing").await?;
        let consuming = connect(url, "bench relay load, consuming").await?;
        empty(&consuming, &names).await?;
        let hops = [("ticket", TICKET_WORKER), ("regist", REGIST_WORKER)]
            .map(|(name, service)| Process::relay_hop(name, service.0, url, namespace));
        let mut relay = Self {
            hops: hops.into_iter().collect::<Result<_, _>>()?,
            publisher: confirming(&publishing).await?,
            replies: replies(&consuming, &names).await?,
            command: template::templates(&names)[&MessageType::PurchaseAndRegister].clone(),
            connections: [publishing, consuming],
        };
        relay.run(Load::PROBE).await?;
        Ok(relay)
    }

    /// Runs one closed loop: a new saga starts when one has ended. A saga's time runs from when it
    /// could start, so waiting for room in the confirm window counts, as it does for a caller of
    /// the real system.
    pub(crate) async fn run(&mut self, load: Load) -> Result<Measured, BenchError> {
        let mut meter = Meter::start(load);
        let mut slots = Slots::new(load.in_flight);
        let mut unconfirmed = FuturesUnordered::new();
        let limit = load.warm_up + load.seconds + PATIENCE;
        let mut too_late = std::pin::pin!(tokio::time::sleep(limit));
        loop {
            let starting = unconfirmed.len() < WINDOW && slots.has_free() && meter.is_open();
            if !meter.is_open() && unconfirmed.is_empty() && meter.open_sagas() == 0 {
                return Ok(meter.measured());
            }
            tokio::select! {
                biased;
                Some(confirmed) = unconfirmed.next() => confirmed?,
                reply = self.replies.next() => {
                    let began = slots.end(reply.transpose()?)?;
                    meter.end(began, Instant::now());
                }
                () = std::future::ready(()), if starting => {
                    let saga = template::correlation_id(slots.begin(), meter.begin());
                    unconfirmed.push(self.command.publish(&self.publisher, saga, ()));
                }
                () = &mut too_late => {
                    let open = usize::try_from(meter.open_sagas()).unwrap_or(usize::MAX);
                    return Err(BenchError::Unended { open, after: PATIENCE });
                }
            }
        }
    }

    /// Ends the hops.
    pub(crate) async fn stop(self) -> Result<(), BenchError> {
        for hop in self.hops {
            hop.stop().await?;
        }
        for connection in self.connections {
            connection
                .close(200, "the measurement is over".into())
                .await?;
        }
        Ok(())
    }
}

/// Lets the adapter of the real system declare its topology.
async fn declare(url: &str, namespace: &str) -> Result<(), BenchError> {
    let tasks = Tasks::new();
    let config = RabbitMqConfig {
        namespace: namespace.to_owned(),
        ..RabbitMqConfig::new(url, "bench")
    };
    let bus = RabbitMqBus::start(config, &tasks)?;
    until_up(&*bus).await;
    bus.close().await;
    Ok(())
}

/// Removes what a round before may have left behind: the broker hands out again what its hops had
/// not acknowledged when they were ended, and it would end a saga of this round.
async fn empty(connection: &Connection, names: &Names) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    for step in PURCHASE_AND_REGISTER.steps {
        let queue = ShortString::from(names.work(step));
        channel
            .queue_purge(queue, QueuePurgeOptions::default())
            .await?;
    }
    Ok(())
}

/// Receives end events through an exclusive queue of this load generator.
async fn replies(connection: &Connection, names: &Names) -> lapin::Result<Consumer> {
    let channel = connection.create_channel().await?;
    let queue = ShortString::from(names.replies(INSTANCE));
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let none = FieldTable::default;
    channel
        .queue_declare(queue.clone(), options, none())
        .await?;
    let (router, key) = (names.router(Class::Event), format!("*.{INSTANCE}"));
    let options = QueueBindOptions::default();
    channel
        .queue_bind(queue.clone(), router.into(), key.into(), options, none())
        .await?;
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    channel
        .basic_consume(queue, "bench".into(), options, none())
        .await
}

/// The sagas in flight, by number.
struct Slots {
    began: Vec<Option<Instant>>,
    /// Those not in use, with the time from which on they could have been.
    free: VecDeque<(usize, Instant)>,
}

impl Slots {
    fn new(number: usize) -> Self {
        let now = Instant::now();
        Self {
            began: vec![None; number],
            free: (0..number).map(|slot| (slot, now)).collect(),
        }
    }

    fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    fn begin(&mut self) -> usize {
        let (slot, since) = self.free.pop_front().expect("the caller checks");
        self.began[slot] = Some(since);
        slot
    }

    /// The saga that this reply ends began then; one that is not in flight is a fault of the relay.
    fn end(&mut self, reply: Option<Delivery>) -> Result<Instant, BenchError> {
        let queue = || "replies".to_owned();
        let reply = reply.ok_or_else(|| BenchError::Cancelled { queue: queue() })?;
        let found = reply
            .properties
            .correlation_id()
            .clone()
            .unwrap_or_default();
        let slot = template::slot_of(&found).filter(|slot| *slot < self.began.len());
        let began = slot.and_then(|slot| Some((slot, self.began[slot].take()?)));
        let (slot, began) = began.ok_or_else(|| BenchError::Stray {
            found: found.to_string(),
        })?;
        self.free.push_back((slot, Instant::now()));
        Ok(began)
    }
}
