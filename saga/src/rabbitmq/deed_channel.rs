//! Where an operator's deeds are recorded and messages put back: a channel with confirms.

use std::time::Duration;

use futures_util::future::try_join_all;
use lapin::message::Delivery;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};

use super::connection::{Settings, Trouble, short};
use super::pack::PERSISTENT;
use super::shelf::{Shelf, Target};
use super::{operations, parked};
use crate::dead_letters::{Action, DeadLetterError, Deed, Parked};

/// A broker that took nothing for so long is not taking anything.
const CONFIRM_LIMIT: Duration = Duration::from_secs(30);

pub(super) type Taken = (Parked, Delivery);

type Message = (Target, Vec<u8>, BasicProperties);

pub(super) struct DeedChannel<'a> {
    channel: Channel,
    shelf: &'a Shelf,
    operations: Target,
    deed: &'a Deed,
}

impl<'a> DeedChannel<'a> {
    pub(super) async fn open(
        channel: Channel,
        settings: &Settings,
        shelf: &'a Shelf,
        deed: &'a Deed,
    ) -> Result<Self, DeadLetterError> {
        operations::declare(&channel, settings).await?;
        let confirms = ConfirmSelectOptions::default();
        channel.confirm_select(confirms).await?;
        Ok(Self {
            channel,
            shelf,
            operations: Target::queue(&settings.names.operations()),
            deed,
        })
    }

    /// Records the deed, then does it. Once this returned, the originals may be acknowledged.
    pub(super) async fn act(&self, chunk: &[Taken]) -> Result<(), DeadLetterError> {
        self.record(chunk).await?;
        match self.deed.action {
            Action::Requeue => self.put_back(chunk).await,
            Action::Drop => Ok(()),
        }
    }

    async fn record(&self, chunk: &[Taken]) -> Result<(), DeadLetterError> {
        let entries = chunk.iter().map(|(parked, _)| {
            let properties = BasicProperties::default()
                .with_delivery_mode(PERSISTENT)
                .with_content_type("application/json".into());
            let entry = self.deed.entry(parked).to_json().into_bytes();
            (self.operations.clone(), entry, properties)
        });
        self.publish(entries.collect()).await
    }

    async fn put_back(&self, chunk: &[Taken]) -> Result<(), DeadLetterError> {
        let copies = chunk.iter().map(|(_, delivery)| {
            let properties = parked::put_back(delivery, self.shelf);
            (
                self.shelf.target(delivery),
                delivery.data.clone(),
                properties,
            )
        });
        self.publish(copies.collect()).await
    }

    /// Unless every message was stored it is an error: lapin pairs a returned message with any
    /// confirm, so one that came back condemns them all.
    async fn publish(&self, messages: Vec<Message>) -> Result<(), DeadLetterError> {
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let mut confirms = Vec::new();
        for (Target { exchange, key }, body, properties) in &messages {
            let (exchange, key) = (short(exchange)?, short(key)?);
            let sent = self
                .channel
                .basic_publish(exchange, key, options, body, properties.clone());
            confirms.push(sent.await?);
        }
        let confirmed = tokio::time::timeout(CONFIRM_LIMIT, try_join_all(confirms)).await;
        let confirmed = confirmed.map_err(|_| Trouble::Stalled)??;
        if confirmed
            .iter()
            .all(|c| matches!(c, Confirmation::Ack(None)))
        {
            return Ok(());
        }
        Err(DeadLetterError::Refused {
            queue: self.shelf.name(),
        })
    }
}
