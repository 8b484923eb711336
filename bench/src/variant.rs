//! What is compared: the system, two versions of it with one thing turned off, and the broker's own
//! ceiling at one event a message.

use clap::ValueEnum;
use saga::rabbitmq::Packing;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Variant {
    /// The real events' bytes over the real hops, without decoding and without a database
    Relay,
    /// As deployed
    System,
    /// The system with one event per AMQP message
    PackingOff,
    /// The system with one event per database transaction
    BatchLimit1,
    /// The system with many finished sagas in its tables
    #[value(skip)]
    Finished,
    /// The system as callers reach it: through the gateway, instead of beside it
    #[value(skip)]
    Http,
}

impl Variant {
    /// What is measured unless something else is asked for.
    pub(crate) const COMPARED: [Self; 4] = [
        Self::Relay,
        Self::System,
        Self::PackingOff,
        Self::BatchLimit1,
    ];
    pub(crate) const ALL: [Self; 6] = [
        Self::Relay,
        Self::System,
        Self::PackingOff,
        Self::BatchLimit1,
        Self::Finished,
        Self::Http,
    ];

    /// How reports call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Relay => "bare relay",
            Self::System => "system",
            Self::PackingOff => "packing off",
            Self::BatchLimit1 => "batch limit 1",
            Self::Finished => "finished sagas",
            Self::Http => "over HTTP",
        }
    }

    /// How names of databases and queues call it.
    pub(crate) fn slug(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::System => "system",
            Self::PackingOff => "packing-off",
            Self::BatchLimit1 => "batch-limit-1",
            Self::Finished => "finished",
            Self::Http => "http",
        }
    }

    /// What the services are started with, besides where their servers are.
    pub(crate) fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Relay | Self::System | Self::Finished | Self::Http => &[],
            Self::PackingOff => &["--max-events-per-message", "1"],
            Self::BatchLimit1 => &["--batch-limit", "1"],
        }
    }

    pub(crate) fn max_events_per_message(self) -> usize {
        match self {
            Self::PackingOff => 1,
            _ => Packing::default().max_events_per_message,
        }
    }
}
