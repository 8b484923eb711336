//! The dead letters on RabbitMQ, over plain AMQP and a connection of its own.
//!
//! Whoever looks takes each message without acknowledging it, and hands all of them back: if the
//! command is killed, the broker does that. What was done to a message is acknowledged last, after
//! the record and the copy are confirmed. One at a time looks ([`Lock`]), because what one has in
//! hand, nobody else sees.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use events::choreography;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, ErrorKind};
use tokio::time::Instant;

use super::compression::decompressed;
use super::connection::{Link, Settings, Trouble, short};
use super::deed_channel::{DeedChannel, Taken};
use super::pack::take_apart;
use super::shelf::Shelf;
use super::{RabbitMqConfig, operations, parked};
use crate::dead_letters::{
    Choice, Choose, DeadLetterError, DeadLetters, Deed, Parked, Recorded, Visit,
};

/// So many messages share the wait for the broker's confirms.
const CHUNK: usize = 64;
/// How long another command may have the dead letters in hand before we give up.
const LOCK_LIMIT: Duration = Duration::from_secs(10);
const LOCK_AGAIN: Duration = Duration::from_millis(100);
/// The broker takes back what was in hand a moment after it says so.
const RETURN_LIMIT: Duration = Duration::from_secs(5);
const RETURN_AGAIN: Duration = Duration::from_millis(10);
const RESOURCE_LOCKED: u16 = 405;

/// The [`DeadLetters`] of one namespace on a RabbitMQ.
pub struct RabbitMqDeadLetters {
    settings: Arc<Settings>,
    link: Link,
    /// What the last deed was done to.
    last: Option<Shelf>,
}

impl RabbitMqDeadLetters {
    /// Connects. Nothing but the record is ever declared here: what is to be operated is there.
    pub async fn open(config: RabbitMqConfig) -> Result<Self, DeadLetterError> {
        let settings = Settings::check(config).map_err(DeadLetterError::away)?;
        Self::connect(&Arc::new(settings)).await
    }

    pub(super) async fn connect(settings: &Arc<Settings>) -> Result<Self, DeadLetterError> {
        let link = Link::connect(settings, "dead-letters").await?;
        Ok(Self {
            settings: Arc::clone(settings),
            link,
            last: None,
        })
    }

    /// How many events are unrouted for each reason, by the oldest messages, up to the limit.
    pub(super) async fn peek_unrouted(
        &mut self,
        limit: usize,
    ) -> Result<BTreeMap<String, usize>, DeadLetterError> {
        let shelf = Shelf::of(&self.settings.names, &self.settings.names.unrouted());
        let (mut seen, mut events) = (0, BTreeMap::new());
        let mut count = |parked: &Parked| {
            *events.entry(parked.failure.clone()).or_default() += take_apart(&parked.body).len();
            seen += 1;
            if seen < limit {
                Choice::Leave
            } else {
                Choice::Stop
            }
        };
        self.visit(&shelf, None, &mut count).await?;
        Ok(events)
    }

    async fn channel(&mut self) -> Result<Channel, DeadLetterError> {
        if !self.link.is_alive() {
            self.link = Link::connect(&self.settings, "dead-letters").await?;
        }
        Ok(self.link.connection.create_channel().await?)
    }

    async fn visit(
        &mut self,
        shelf: &Shelf,
        deed: Option<&Deed>,
        choose: Choose<'_>,
    ) -> Result<Vec<Parked>, DeadLetterError> {
        let lock = self.lock().await?;
        let channel = self.channel().await?;
        let deeds = match deed {
            Some(deed) => {
                let channel = self.channel().await?;
                Some(DeedChannel::open(channel, &self.settings, shelf, deed).await?)
            }
            None => None,
        };
        let walk = Walk {
            channel: &channel,
            shelf,
            deeds: deeds.as_ref(),
        };
        let visited = walk.run(choose).await;
        // What an error left in hand goes back with the channel, and another may look with the lock.
        let closed = channel.close(200, "looked".into()).await;
        lock.release().await;
        let taken = visited?;
        closed?;
        Ok(taken)
    }

    /// Waits until nobody else has the dead letters in hand.
    async fn lock(&mut self) -> Result<Lock, DeadLetterError> {
        let (name, until) = (self.settings.names.operator(), Instant::now() + LOCK_LIMIT);
        let exclusive = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        loop {
            let channel = self.channel().await?;
            let queue = short(&name)?;
            let declared = channel.queue_declare(queue, exclusive, FieldTable::default());
            match declared.await {
                Ok(_) => return Ok(Lock { channel, name }),
                Err(error) if is_locked(&error) && Instant::now() >= until => {
                    return Err(DeadLetterError::Occupied { what: name });
                }
                Err(error) if is_locked(&error) => tokio::time::sleep(LOCK_AGAIN).await,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn is_locked(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(refusal) if refusal.get_id() == RESOURCE_LOCKED)
}

/// A queue that only its connection may have, and that dies with it, however it dies.
struct Lock {
    channel: Channel,
    name: String,
}

impl Lock {
    async fn release(self) {
        let options = QueueDeleteOptions::default();
        // Should it fail, the lock goes with the connection.
        if let Ok(name) = short(&self.name) {
            let _ = self.channel.queue_delete(name, options).await;
        }
        let _ = self.channel.close(200, "released".into()).await;
    }
}

/// One walk through a shelf.
struct Walk<'a> {
    channel: &'a Channel,
    shelf: &'a Shelf,
    deeds: Option<&'a DeedChannel<'a>>,
}

impl Walk<'_> {
    async fn run(&self, choose: Choose<'_>) -> Result<Vec<Parked>, DeadLetterError> {
        let there = depth(self.channel, self.shelf).await?;
        let (mut left, mut taken, mut chunk) = (0, Vec::new(), Vec::new());
        // What is parked meanwhile is for the next look.
        for _ in 0..there {
            let Some(delivery) = self.get().await? else {
                break;
            };
            let parked = parked::read(&delivery, self.shelf);
            let choice = choose(&parked);
            if choice == Choice::Take {
                chunk.push((parked, delivery));
            } else {
                left += 1;
            }
            if choice == Choice::Stop {
                break;
            }
            if chunk.len() == CHUNK {
                taken.extend(self.act(std::mem::take(&mut chunk)).await?);
            }
        }
        taken.extend(self.act(chunk).await?);
        self.hand_back(left).await?;
        Ok(taken)
    }

    async fn get(&self) -> Result<Option<Delivery>, DeadLetterError> {
        let queue = short(&self.shelf.queue())?;
        let unacknowledged = BasicGetOptions { no_ack: false };
        let got = self.channel.basic_get(queue, unacknowledged).await?;
        Ok(got.map(|message| decompressed(message.delivery)))
    }

    async fn act(&self, chunk: Vec<Taken>) -> Result<Vec<Parked>, DeadLetterError> {
        let (Some(deeds), false) = (self.deeds, chunk.is_empty()) else {
            return Ok(Vec::new());
        };
        deeds.act(&chunk).await?;
        for (_, delivery) in &chunk {
            let options = BasicAckOptions::default();
            self.channel
                .basic_ack(delivery.delivery_tag, options)
                .await?;
        }
        Ok(chunk.into_iter().map(|(parked, _)| parked).collect())
    }

    /// Returns all that is still in hand, and waits until it is seen again.
    async fn hand_back(&self, left: u32) -> Result<(), DeadLetterError> {
        const ALL: u64 = 0;
        if left == 0 {
            return Ok(());
        }
        let options = BasicNackOptions {
            multiple: true,
            requeue: true,
        };
        self.channel.basic_nack(ALL, options).await?;
        let until = Instant::now() + RETURN_LIMIT;
        while depth(self.channel, self.shelf).await? < left && Instant::now() < until {
            tokio::time::sleep(RETURN_AGAIN).await;
        }
        Ok(())
    }
}

async fn depth(channel: &Channel, shelf: &Shelf) -> Result<u32, DeadLetterError> {
    let name = shelf.queue();
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let found = channel.queue_declare(short(&name)?, passive, FieldTable::default());
    let found = found
        .await
        .map_err(|error| Trouble::with(format!("queue {name}"), error))?;
    Ok(found.message_count())
}

#[async_trait]
impl DeadLetters for RabbitMqDeadLetters {
    fn queues(&self) -> Vec<String> {
        let names = &self.settings.names;
        let work = choreography::steps().map(|step| names.work(step));
        work.chain([names.unrouted()]).collect()
    }

    async fn look(&mut self, queue: &str, visit: Visit<'_>) -> Result<(), DeadLetterError> {
        let mut leave = |parked: &Parked| {
            visit(parked);
            Choice::Leave
        };
        let shelf = Shelf::of(&self.settings.names, queue);
        self.visit(&shelf, None, &mut leave).await.map(drop)
    }

    async fn act(
        &mut self,
        queue: &str,
        deed: &Deed,
        choose: Choose<'_>,
    ) -> Result<Vec<Parked>, DeadLetterError> {
        let shelf = Shelf::of(&self.settings.names, queue);
        let taken = self.visit(&shelf, Some(deed), choose).await;
        self.last = Some(shelf);
        taken
    }

    async fn depth(&mut self, queue: &str) -> Result<u64, DeadLetterError> {
        let channel = self.channel().await?;
        let depth = depth(&channel, &Shelf::of(&self.settings.names, queue)).await?;
        channel.close(200, "seen".into()).await?;
        Ok(depth.into())
    }

    /// Over AMQP nobody sees what a consumer has in hand or what waits in a retry tier. An unrouted
    /// message is through when it is confirmed: a queue has it, or it is unrouted again.
    async fn unfinished(&mut self) -> Result<Option<usize>, DeadLetterError> {
        Ok(match self.last {
            Some(Shelf::Unrouted { .. }) => Some(0),
            Some(Shelf::DeadLetters { .. }) | None => None,
        })
    }

    async fn record(&mut self, visit: Recorded<'_>) -> Result<(), DeadLetterError> {
        self.channel().await?.close(200, "alive".into()).await?;
        Ok(operations::read(&self.link.connection, &self.settings, visit).await?)
    }
}

impl From<Trouble> for DeadLetterError {
    fn from(trouble: Trouble) -> Self {
        Self::away(trouble)
    }
}

impl From<lapin::Error> for DeadLetterError {
    fn from(error: lapin::Error) -> Self {
        Self::away(error)
    }
}
