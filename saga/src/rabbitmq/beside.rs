//! The journal on RabbitMQ for who works beside the system. Nothing is declared here: what is to be
//! worked on is there.

use std::sync::Arc;

use async_trait::async_trait;
use events::Event;

use super::connection::{Link, Settings, Trouble};
use super::declare::TopologyMode;
use super::pack::{Address, Label, Parcel};
use super::place::count;
use super::topology::Names;
use super::{RabbitMqBus, RabbitMqConfig};
use crate::Tasks;
use crate::bus::{Bus, JournalPosition, JournalReader, JournalStart};
use crate::journal::{Journal, JournalError};
use crate::retry::RetryPolicy;

/// The [`Journal`] of one namespace on a RabbitMQ.
pub struct RabbitMqJournal {
    bus: Arc<RabbitMqBus>,
}

impl RabbitMqJournal {
    /// Connects; an error if the broker, or a journal on it, is not there now.
    pub async fn open(config: RabbitMqConfig, tasks: &Tasks) -> Result<Self, JournalError> {
        let config = RabbitMqConfig {
            topology: TopologyMode::Check,
            // Which tiers there are is the system's setting, and nothing is retried here.
            retry: RetryPolicy { delays: Vec::new() },
            ..config
        };
        let settings = Settings::check(config.clone()).map_err(JournalError::away)?;
        look(&settings).await?;
        let bus = RabbitMqBus::start(config, tasks).map_err(JournalError::away)?;
        Ok(Self { bus })
    }
}

async fn look(settings: &Settings) -> Result<(), JournalError> {
    let link = Link::connect(settings, "look").await?;
    let channel = link.connection.create_channel().await;
    let channel = channel.map_err(Trouble::from)?;
    let found = count(&channel, &settings.names.journal()).await;
    link.close("looked").await;
    Ok(found.map(drop)?)
}

/// Straight to where the bindings of now lead.
fn copy(names: &Names, event: &Event) -> Parcel {
    let route = events::route(event);
    Parcel {
        address: Address::Queue {
            exchange: names.router(route.class),
            key: route.key.into_owned(),
        },
        json: event.to_json(),
        label: Label::of(event),
    }
}

#[async_trait]
impl Journal for RabbitMqJournal {
    fn place(&self) -> String {
        let settings = &self.bus.settings;
        format!("{} on {}", settings.names.journal(), settings.broker())
    }

    async fn end(&self) -> Result<Option<JournalPosition>, JournalError> {
        self.bus.journal_end().await.map_err(JournalError::away)
    }

    async fn read(&self, from: JournalStart) -> Result<Box<dyn JournalReader>, JournalError> {
        self.bus
            .read_journal(from)
            .await
            .map_err(JournalError::away)
    }

    async fn resend(&self, messages: &[(JournalPosition, Event)]) -> Result<(), JournalError> {
        let names = &self.bus.settings.names;
        let copies = messages.iter().map(|(_, event)| copy(names, event));
        let publishing = self.bus.publisher.publish(copies.collect());
        publishing.await.map_err(JournalError::away)
    }

    async fn close(&self) {
        self.bus.close().await;
    }
}

impl From<Trouble> for JournalError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Missing { what } => Self::NoJournal { what },
            trouble => Self::away(trouble),
        }
    }
}
