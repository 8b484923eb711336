//! The bare relay: the broker's own ceiling at one event per message. The real events' bytes take
//! the real number of hops over the real kinds of queues, journal included, with publisher confirms
//! and acknowledgements, but nobody decodes them and no database is involved.
//!
//! What the system gains by packing events is measured against this, so it has to be the best that
//! one message per event allows.

mod hop;
mod names;
mod template;

use std::time::{Duration, Instant};

use events::MessageType;
use events::choreography::{REGIST_WORKER, TICKET_WORKER};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::message::Delivery;
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};

use self::hop::WINDOW;
pub(crate) use self::hop::run as run_hop;
use self::names::Names;
use self::template::{INSTANCE, Template};
use crate::failure::BenchError;
use crate::meter::{Load, Measured, Meter};
use crate::process::Process;

/// How long after its load a relayed saga may still be on its way.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running relay: its processes, and the load generator's side of it.
pub(crate) struct Relay {
    names: Names,
    pub(crate) hops: Vec<Process>,
    connections: [Connection; 2],
    publisher: Channel,
    replies: Consumer,
    command: Template,
}

impl Relay {
    /// Declares the relay's queues, starts its hops, and sends one saga through.
    pub(crate) async fn start(url: &str, namespace: &str) -> Result<Self, BenchError> {
        let names = Names::new(namespace);
        let publishing = hop::connect(url, "bench relay load, publishing").await?;
        let consuming = hop::connect(url, "bench relay load, consuming").await?;
        let publisher = hop::confirming(&publishing).await?;
        names::declare(&publisher, &names).await?;
        let channel = consuming.create_channel().await?;
        names::declare_replies(&channel, &names, INSTANCE).await?;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let replies = channel
            .basic_consume(
                names.replies(),
                "bench".into(),
                options,
                FieldTable::default(),
            )
            .await?;
        let hops = [TICKET_WORKER, REGIST_WORKER]
            .map(|service| Process::relay_hop(service.0, url, namespace));
        let mut relay = Self {
            command: template::templates(&names)[&MessageType::PurchaseAndRegister].clone(),
            hops: hops.into_iter().collect::<Result<_, _>>()?,
            connections: [publishing, consuming],
            names,
            publisher,
            replies,
        };
        relay.run(Load::PROBE).await?;
        Ok(relay)
    }

    /// Runs one closed loop: a new saga starts when one has ended.
    pub(crate) async fn run(&mut self, load: Load) -> Result<Measured, BenchError> {
        let mut meter = Meter::start(load);
        let mut began = vec![None; load.in_flight];
        let mut free: Vec<usize> = (0..load.in_flight).collect();
        let mut unconfirmed = FuturesUnordered::new();
        let limit = load.warm_up + load.seconds + PATIENCE;
        let mut too_late = std::pin::pin!(tokio::time::sleep(limit));
        loop {
            let room = unconfirmed.len() < WINDOW && !free.is_empty();
            let starting = room && meter.is_open();
            if !starting && unconfirmed.is_empty() && !meter.is_open() && meter.open_sagas() == 0 {
                return Ok(meter.measured());
            }
            tokio::select! {
                biased;
                Some(confirmed) = unconfirmed.next() => confirmed?,
                reply = self.replies.next() => {
                    let slot = slot_of(reply.transpose()?, &began)?;
                    if let Some(began) = began[slot].take() {
                        meter.end(began);
                    }
                    free.push(slot);
                }
                () = std::future::ready(()), if starting => {
                    if let Some(slot) = free.pop() {
                        began[slot] = Some(Instant::now());
                        let saga = template::correlation_id(slot, meter.begin());
                        unconfirmed.push(self.command.publish(&self.publisher, saga, ()));
                    }
                }
                () = &mut too_late => {
                    let open = free.capacity() - free.len();
                    return Err(BenchError::Unended { open, after: PATIENCE });
                }
            }
        }
    }

    /// Ends the hops and removes everything from the broker.
    pub(crate) async fn stop(self) -> Result<(), BenchError> {
        for hop in self.hops {
            hop.stop().await?;
        }
        names::delete(&self.publisher, &self.names).await?;
        for connection in self.connections {
            connection
                .close(200, "the measurement is over".into())
                .await?;
        }
        Ok(())
    }
}

/// The saga that a reply ends; one that is not on its way is a fault of the relay.
fn slot_of(reply: Option<Delivery>, began: &[Option<Instant>]) -> Result<usize, BenchError> {
    let Some(reply) = reply else {
        return Err(BenchError::Cancelled {
            queue: "replies".to_owned(),
        });
    };
    let found = reply
        .properties
        .correlation_id()
        .clone()
        .unwrap_or_default();
    let slot = template::slot_of(&found);
    slot.filter(|slot| matches!(began.get(*slot), Some(Some(_))))
        .ok_or_else(|| BenchError::Stray {
            found: found.to_string(),
        })
}
