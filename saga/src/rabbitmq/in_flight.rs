//! The messages that wait for the broker's confirm, at most so many at a time.
//!
//! lapin attaches a message that the broker returned as unroutable to *whichever* confirm completes
//! next, so the pairing means nothing: once one comes back, no confirm is believed until nothing is
//! in flight any more, when every return has been seen; then they are matched by message id.

use std::collections::{BTreeMap, HashSet};
use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, Connection};
use tokio::time::Instant;
use tracing::error;

use super::Packing;
use super::connection::{Settings, Trouble, short, shortened};
use super::pack::{Address, Backlog, CallId, Pack};
use super::topology::Names;
use crate::bus::PublishError;

pub(super) struct Window {
    /// Hands the broker a message, which has this number.
    send: Box<dyn Fn(u64, Pack) -> Sending + Send>,
    packing: Packing,
    sent: FuturesUnordered<Sending>,
    /// When each message in flight was sent, the oldest first.
    since: BTreeMap<u64, Instant>,
    last: u64,
    /// Ids of messages that came back; once there is one, `undecided` fills up.
    returned: HashSet<ShortString>,
    undecided: Vec<Landed>,
}

/// Resolves when the message has landed.
type Sending = Pin<Box<dyn Future<Output = Landed> + Send>>;

struct Landed {
    number: u64,
    message_id: Option<ShortString>,
    /// For who has to find out.
    to: String,
    calls: Vec<(CallId, usize)>,
    confirmation: Result<Confirmation, lapin::Error>,
}

/// What became of one message.
pub(super) struct Fate {
    pub(super) calls: Vec<(CallId, usize)>,
    pub(super) outcome: Result<(), Unpublished>,
}

pub(super) enum Unpublished {
    /// The broker said no, or was never asked to say yes.
    Refused,
    Unroutable {
        to: String,
    },
}

impl Unpublished {
    pub(super) fn to_error(&self) -> PublishError {
        match self {
            Self::Refused => PublishError::Unavailable {
                reason: "it refused a message".to_owned(),
            },
            Self::Unroutable { to } => PublishError::Unroutable { what: to.clone() },
        }
    }
}

impl Window {
    pub(super) async fn open(
        connection: &Connection,
        settings: &Settings,
    ) -> Result<Self, Trouble> {
        let channel = connection.create_channel().await?;
        // Without it every confirm resolves at once and means nothing.
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let names = settings.names.clone();
        let to_broker = move |number, pack: Pack| -> Sending {
            let (exchange, key) = destination(&names, &pack.address);
            Box::pin(send(channel.clone(), number, exchange, key, pack))
        };
        Ok(Self::sending(to_broker, settings.packing))
    }

    fn sending(send: impl Fn(u64, Pack) -> Sending + Send + 'static, packing: Packing) -> Self {
        Self {
            send: Box::new(send),
            packing,
            sent: FuturesUnordered::new(),
            since: BTreeMap::new(),
            last: 0,
            returned: HashSet::new(),
            undecided: Vec::new(),
        }
    }

    /// To a broker that confirms whatever it gets.
    #[cfg(test)]
    pub(super) fn confirming(packing: Packing) -> Self {
        let confirm = |number, pack: Pack| -> Sending {
            Box::pin(std::future::ready(Landed {
                number,
                message_id: None,
                to: String::new(),
                calls: pack.calls,
                confirmation: Ok(Confirmation::Ack(None)),
            }))
        };
        Self::sending(confirm, packing)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Sends what the window has room for.
    pub(super) fn fill(&mut self, backlog: &mut Backlog) {
        let room = match self.returned.is_empty() {
            true => self.packing.confirm_window.saturating_sub(self.sent.len()),
            false => 0,
        };
        for pack in backlog.leave(room, &self.packing) {
            let events: usize = pack.calls.iter().map(|(_, events)| events).sum();
            metrics::histogram!("saga_message_events").record(events as f64);
            self.last += 1;
            self.since.insert(self.last, Instant::now());
            self.sent.push((self.send)(self.last, pack));
        }
    }

    /// Waits for a confirm, then takes all that are there. Pending while nothing is in flight.
    pub(super) async fn landed(&mut self) -> Result<Vec<Fate>, Trouble> {
        let Some(first) = self.sent.next().await else {
            return std::future::pending().await;
        };
        let mut next = Some(first);
        while let Some(landed) = next {
            self.land(landed)?;
            next = self.sent.next().now_or_never().flatten();
        }
        if !self.returned.is_empty() && !self.sent.is_empty() {
            return Ok(Vec::new());
        }
        let returned = std::mem::take(&mut self.returned);
        let landed = self.undecided.drain(..);
        Ok(landed.map(|landed| landed.fate(&returned)).collect())
    }

    fn land(&mut self, mut landed: Landed) -> Result<(), Trouble> {
        self.since.remove(&landed.number);
        let returned = match &mut landed.confirmation {
            Ok(Confirmation::Ack(message) | Confirmation::Nack(message)) => message.take(),
            Ok(Confirmation::NotRequested) => None,
            Err(error) => return Err(error.clone().into()),
        };
        if let Some(message) = returned {
            let id = message.delivery.properties.message_id().clone();
            self.returned.insert(id.unwrap_or_default());
        }
        self.undecided.push(landed);
        Ok(())
    }

    /// Whether a message has waited for its confirm longer than the limit.
    pub(super) fn is_stalled(&self, limit: Duration) -> bool {
        let oldest = self.since.first_key_value();
        oldest.is_some_and(|(_, since)| since.elapsed() > limit)
    }

    /// Time in which the broker did not read does not count.
    pub(super) fn restart_clocks(&mut self) {
        self.since
            .values_mut()
            .for_each(|since| *since = Instant::now());
    }
}

impl Landed {
    fn fate(self, returned: &HashSet<ShortString>) -> Fate {
        let outcome = match self.confirmation {
            _ if returned.contains(&self.message_id.unwrap_or_default()) => {
                error!(
                    to = self.to,
                    "no queue is bound for a message, nor an alternate exchange"
                );
                Err(Unpublished::Unroutable { to: self.to })
            }
            Ok(Confirmation::Ack(_)) => Ok(()),
            Ok(Confirmation::Nack(_) | Confirmation::NotRequested) | Err(_) => {
                Err(Unpublished::Refused)
            }
        };
        Fate {
            calls: self.calls,
            outcome,
        }
    }
}

/// Exchange and key.
fn destination(names: &Names, address: &Address) -> (String, String) {
    match address {
        Address::Route(route) => (names.front(route.class), route.key.to_string()),
        Address::Queue { exchange, key } => (exchange.clone(), key.clone()),
    }
}

/// The exchange and what kind of message it does not route. Becomes a metric's label, so it names no
/// gateway instance.
fn kind_of(exchange: &str, address: &Address) -> String {
    let key = match address {
        Address::Route(route) => route.key.split('.').next().unwrap_or_default(),
        Address::Queue { key, .. } => key,
    };
    format!("{exchange} with key {key}")
}

/// Resolves when the broker has confirmed the message.
async fn send(channel: Channel, number: u64, exchange: String, key: String, pack: Pack) -> Landed {
    let message_id = pack.properties.message_id().clone();
    let to = kind_of(&exchange, &pack.address);
    let confirmation = async {
        // Returned if no queue takes it, rather than dropped.
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        // Queue names are shorter than that. A longer key of an event names a gateway that cannot
        // exist, so nothing is lost with its end.
        let (exchange, key) = (short(&exchange)?, shortened(&key));
        let sent = channel
            .basic_publish(exchange, key, options, &pack.body, pack.properties)
            .await?;
        sent.await
    };
    Landed {
        number,
        message_id,
        to,
        calls: pack.calls,
        confirmation: confirmation.await,
    }
}

#[cfg(test)]
mod tests {
    use events::{Class, Route};

    use super::*;

    #[test]
    fn what_is_unroutable_is_told_without_the_instance_that_waits_for_it() {
        let route = Address::Route(Route {
            class: Class::Event,
            key: "TicketDeleted.gateway-7".into(),
        });
        assert_eq!(
            kind_of("saga.events", &route),
            "saga.events with key TicketDeleted"
        );
        let copy = Address::Queue {
            exchange: "saga.dlx".into(),
            key: "ticket-worker.PurchaseAndRegister".into(),
        };
        let told = kind_of("saga.dlx", &copy);
        assert_eq!(told, "saga.dlx with key ticket-worker.PurchaseAndRegister");
    }
}
