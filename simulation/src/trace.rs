//! What happened in a world, in order, to be compared between two runs of one seed, and to be read
//! when a saga went wrong.

use std::fmt;
use std::time::Duration;

use events::{Event, MessageType, SagaId};

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Caller,
    Operator,
    Broker,
    Database(&'static str),
    /// `life` counts its restarts.
    Replica {
        service: &'static str,
        number: usize,
        life: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Since the beginning of the world.
    pub at: Duration,
    pub who: Who,
    pub what: &'static str,
    pub saga: Option<SagaId>,
    pub message: Option<MessageType>,
}

/// What an entry is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct About {
    saga: Option<SagaId>,
    message: Option<MessageType>,
}

impl From<&Event> for About {
    fn from(event: &Event) -> Self {
        Self {
            saga: Some(event.saga_id),
            message: Some(event.message_type()),
        }
    }
}

impl From<SagaId> for About {
    fn from(saga: SagaId) -> Self {
        Self {
            saga: Some(saga),
            message: None,
        }
    }
}

impl Entry {
    pub(crate) fn new(at: Duration, who: Who, what: &'static str, about: About) -> Self {
        let About { saga, message } = about;
        Self {
            at,
            who,
            what,
            saga,
            message,
        }
    }

    /// Whether it helps to understand this saga: its own, and what befell everybody.
    pub fn concerns(&self, saga: SagaId) -> bool {
        self.saga.is_none_or(|own| own == saga)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caller => f.write_str("caller"),
            Self::Operator => f.write_str("operator"),
            Self::Broker => f.write_str("broker"),
            Self::Database(service) => write!(f, "database of {service}"),
            Self::Replica {
                service,
                number,
                life,
            } => write!(f, "{service} {number}, life {life}"),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, who) = (self.at.as_secs_f64(), self.who.to_string());
        write!(f, "{at:>10.3} s  {who:<28} {}", self.what)?;
        self.message
            .map_or(Ok(()), |message| write!(f, ": {message}"))
    }
}
