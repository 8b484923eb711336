//! An embedded bus on whose file messages were parked, for gateways that show them.

use std::sync::Arc;

use events::Event;
use events::choreography::{self, Step};
use saga::Tasks;
use saga::bus::{Bus, Consumer, Queue, Settlement};
use saga::embedded::{EmbeddedBus, EmbeddedConfig, JournalRetention};
use saga::retry::RetryPolicy;
use tempfile::TempDir;

use crate::fake_bus::FakeBus;
use crate::stories::command;

pub(crate) fn step() -> &'static Step {
    choreography::steps().next().unwrap()
}

/// A bus on which messages were parked.
pub(crate) struct Shelf {
    pub(crate) folder: TempDir,
    bus: Arc<EmbeddedBus>,
    tasks: Tasks,
    pub(crate) parked: Vec<Event>,
}

impl Shelf {
    pub(crate) async fn with(failures: &[&str]) -> Self {
        let (folder, tasks) = (tempfile::tempdir().unwrap(), Tasks::new());
        let config = EmbeddedConfig {
            path: folder.path().join("bus.db"),
            retry: RetryPolicy::default(),
            prefetch: 100,
            journal: JournalRetention::default(),
        };
        let bus = EmbeddedBus::open(config, &tasks).await.unwrap();
        let parked: Vec<Event> = failures.iter().map(|_| command()).collect();
        bus.publish(&parked).await.unwrap();
        let mut consumer = bus.consume(Queue::Work(step())).await.unwrap();
        let mut failures = failures.iter();
        while failures.len() > 0 {
            settle_some(&mut *consumer, || park(failures.next().unwrap())).await;
        }
        Self {
            folder,
            bus,
            tasks,
            parked,
        }
    }

    /// Settles all that comes from now on.
    pub(crate) async fn settling(&self, settlement: Settlement) {
        let mut consumer = self.bus.consume(Queue::Work(step())).await.unwrap();
        self.tasks.spawn("worker", async move {
            loop {
                settle_some(&mut *consumer, || settlement.clone()).await;
            }
        });
    }

    pub(crate) fn id(&self, place: usize) -> String {
        self.parked[place].id.to_string()
    }

    /// A bus for a gateway.
    pub(crate) fn shown(&self) -> Arc<FakeBus> {
        let bus = FakeBus::without_workers();
        *bus.parked_in.lock().unwrap() = Some(self.folder.path().join("bus.db"));
        bus
    }
}

pub(crate) fn park(failure: &str) -> Settlement {
    let failure = failure.to_owned();
    Settlement::DeadLetter { failure }
}

async fn settle_some(consumer: &mut dyn Consumer, mut settlement: impl FnMut() -> Settlement) {
    let taken = consumer.receive(100).await;
    let settled = taken.iter().map(|delivery| (delivery.tag, settlement()));
    let settled: Vec<_> = settled.collect();
    consumer.settle(settled).await;
}
