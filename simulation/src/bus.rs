//! The bus port as one process sees it: a connection to the broker that may be cut, and a process
//! that may be killed, between any two steps.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use events::Event;
use saga::bus::{
    Bus, Consumer, Delivery, DeliveryTag, Health, JournalReader, JournalStart, PublishError, Queue,
    Settlement, TopologyError,
};
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::broker::{Broker, ConsumerId, LineId, Nothing};
use crate::fault::Fault;
use crate::life::Life;

/// The broker, as everybody holds it.
#[derive(Clone)]
pub(crate) struct SharedBroker(Arc<Mutex<Broker>>);

impl SharedBroker {
    pub(crate) fn new(broker: Broker) -> Self {
        Self(Arc::new(Mutex::new(broker)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Broker> {
        self.0
            .lock()
            .expect("nothing panics with the broker in hand")
    }
}

pub(crate) struct SimulatedBus {
    pub(crate) broker: SharedBroker,
    pub(crate) life: Arc<Life>,
}

struct SimulatedConsumer {
    broker: SharedBroker,
    life: Arc<Life>,
    line: LineId,
    id: ConsumerId,
}

impl SimulatedBus {
    /// Stores the events, perhaps not all of them.
    fn store(&self, events: &[Event]) -> Result<u64, PublishError> {
        let mut broker = self.broker.lock();
        let in_part = self.life.strikes(Fault::PublishedInPart);
        let taken = match in_part {
            true => self.life.fate.chance.number(0..events.len() + 1),
            false => events.len(),
        };
        for event in &events[..taken] {
            let stored = broker.publish(event, self.life.who);
            stored.map_err(|_away| unavailable("the broker is away"))?;
        }
        match in_part {
            true => Err(unavailable("the connection was lost")),
            false => Ok(broker.epoch),
        }
    }
}

fn unavailable(reason: &str) -> PublishError {
    PublishError::Unavailable {
        reason: reason.to_owned(),
    }
}

#[async_trait]
impl Bus for SimulatedBus {
    async fn publish(&self, events: &[Event]) -> Result<(), PublishError> {
        self.life.fate.moment().await;
        let stored = self.store(events);
        self.life.may_end(Fault::CrashAfterPublish).await;
        self.life.fate.moment().await;
        let epoch = stored?;
        if self.broker.lock().epoch != epoch || self.life.strikes(Fault::ConfirmLost) {
            return Err(unavailable("the confirm was lost"));
        }
        for event in events {
            self.life.note("got the confirm of", event);
        }
        self.life.may_end(Fault::CrashAfterConfirm).await;
        Ok(())
    }

    async fn consume(&self, queue: Queue) -> Result<Box<dyn Consumer>, TopologyError> {
        let absent = |what| TopologyError {
            what,
            reason: "the simulation has work queues only".to_owned(),
        };
        let Queue::Work(step) = queue else {
            return Err(absent(format!("{queue:?}")));
        };
        let line = self.broker.lock().line(step);
        Ok(Box::new(SimulatedConsumer {
            broker: self.broker.clone(),
            life: Arc::clone(&self.life),
            line: line.ok_or_else(|| absent(step.queue()))?,
            id: ConsumerId(self.life.fate.chance.seed()),
        }))
    }

    async fn read_journal(&self, _: JournalStart) -> Result<Box<dyn JournalReader>, TopologyError> {
        unreachable!("a participant reads no journal")
    }

    fn health(&self) -> watch::Receiver<Health> {
        watch::channel(Health::Up).1
    }

    async fn close(&self) {}
}

#[async_trait]
impl Consumer for SimulatedConsumer {
    async fn receive(&mut self, max: usize) -> Vec<Delivery> {
        loop {
            let found = self.broker.lock().hand_out(self.line, self.id, max);
            let Nothing { until, arrived } = match found {
                Ok(deliveries) => return self.received(deliveries).await,
                Err(nothing) => nothing,
            };
            let due = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = arrived.notified() => {}
                () = due => {}
            }
        }
    }

    async fn settle(&mut self, settlements: Vec<(DeliveryTag, Settlement)>) {
        self.life.fate.moment().await;
        let lost = self.life.strikes(Fault::AcknowledgementLost);
        if lost || self.broker.lock().is_away() {
            self.broker.lock().give_back(self.line, self.id);
            return;
        }
        let pause = self.life.fate.chance.number(0..settlements.len() + 1);
        for (index, (tag, settlement)) in settlements.into_iter().enumerate() {
            if index == pause {
                self.life.may_end(Fault::CrashWithinAcknowledgements).await;
            }
            if !matches!(settlement, Settlement::Done) {
                self.broker.lock().copy(self.line, tag, &settlement);
                self.life.may_end(Fault::CrashAfterCopy).await;
            }
            let mut broker = self.broker.lock();
            broker.acknowledge(self.line, tag, &settlement, self.life.who);
        }
    }
}

impl SimulatedConsumer {
    async fn received(&self, deliveries: Vec<Delivery>) -> Vec<Delivery> {
        for event in deliveries.iter().filter_map(|d| d.event.as_ref().ok()) {
            self.life.note("received", event);
        }
        self.life.may_end(Fault::CrashAfterReceive).await;
        if self.life.strikes(Fault::ConnectionLost) {
            self.broker.lock().give_back(self.line, self.id);
        }
        deliveries
    }
}

impl Drop for SimulatedConsumer {
    fn drop(&mut self) {
        self.broker.lock().give_back(self.line, self.id);
    }
}
