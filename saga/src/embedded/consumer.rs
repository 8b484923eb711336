//! A consumer's end of the bus. The engine pushes into its mailbox as much as it may have in hand,
//! so receiving is cancel-safe, and whoever waits is woken, not polled.

use async_trait::async_trait;
use events::Event;
use tokio::sync::{mpsc, oneshot};

use super::request::{Arrival, ConsumerId, Request, Source};
use crate::bus::{Consumer, Delivery, DeliveryTag, Settlement};

pub(super) struct EmbeddedConsumer {
    pub(super) id: ConsumerId,
    pub(super) source: Source,
    pub(super) arrivals: mpsc::Receiver<Arrival>,
    pub(super) requests: mpsc::Sender<Request>,
    /// A place in the engine's queue, kept so that the goodbye of a dropped consumer always fits.
    pub(super) goodbye: Option<mpsc::OwnedPermit<Request>>,
}

#[async_trait]
impl Consumer for EmbeddedConsumer {
    async fn receive(&mut self, max: usize) -> Vec<Delivery> {
        let mut arrivals = Vec::new();
        if self.arrivals.recv_many(&mut arrivals, max.max(1)).await == 0 {
            // The bus is closed. Nothing comes any more, and whoever waits is about to be stopped.
            std::future::pending::<()>().await;
        }
        arrivals.into_iter().map(Arrival::decode).collect()
    }

    async fn settle(&mut self, settlements: Vec<(DeliveryTag, Settlement)>) {
        let Source::Work(queue) = &self.source else {
            return;
        };
        let must_be_stored = settlements
            .iter()
            .any(|(_, settlement)| !matches!(settlement, Settlement::Done));
        let (done, stored) = oneshot::channel();
        let request = Request::Settle {
            consumer: self.id,
            queue: queue.clone(),
            settlements,
            done,
        };
        let on_its_way = self.requests.send(request).await.is_ok();
        if on_its_way && must_be_stored {
            // An error says that the bus was closed: the deliveries come again.
            let _ = stored.await;
        }
    }
}

impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        if let Some(permit) = self.goodbye.take() {
            permit.send(Request::Gone {
                consumer: self.id,
                source: self.source.clone(),
            });
        }
    }
}

impl Arrival {
    fn decode(self) -> Delivery {
        Delivery {
            tag: self.tag,
            event: Event::from_json(&self.json),
            attempts: self.attempts,
        }
    }
}
