//! The queues whose messages wait for an operator, and where a message of each goes back to. Pure.

use events::Class;
use lapin::message::Delivery;

use super::names::{Names, RETRY, parking};

#[derive(Clone, Debug)]
pub(super) enum Shelf {
    /// What a work queue gave up on. It goes straight back into that queue.
    DeadLetters { work: String },
    /// What no queue was bound for. It goes to where it was published, so that the bindings of now
    /// decide; while the one it needs is still missing, it comes back here before its confirm does.
    Unrouted { names: Names },
}

/// An exchange and a routing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) exchange: String,
    pub(super) key: String,
}

impl Shelf {
    /// The shelf that operators know by this name: a work queue's, or that of unrouted messages.
    pub(super) fn of(names: &Names, name: &str) -> Self {
        if name == names.unrouted() {
            return Self::Unrouted {
                names: names.clone(),
            };
        }
        Self::DeadLetters {
            work: name.to_owned(),
        }
    }

    /// What operators call it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::DeadLetters { work } => work.clone(),
            Self::Unrouted { names } => names.unrouted(),
        }
    }

    /// The queue that holds its messages.
    pub(super) fn queue(&self) -> String {
        match self {
            Self::DeadLetters { work } => parking(work),
            Self::Unrouted { names } => names.unrouted(),
        }
    }

    /// Where a message of it goes back to: past the journal, which has it already.
    pub(super) fn target(&self, delivery: &Delivery) -> Target {
        match self {
            Self::DeadLetters { work } => Target::queue(work),
            Self::Unrouted { names } => {
                let exchange = delivery.exchange.as_str();
                let mut classes = [Class::Command, Class::Event].into_iter();
                let class = classes.find(|&class| names.front(class) == exchange);
                Target {
                    exchange: class
                        .map_or_else(|| exchange.to_owned(), |class| names.router(class)),
                    key: delivery.routing_key.to_string(),
                }
            }
        }
    }
}

impl Target {
    /// Exactly this queue.
    pub(super) fn queue(name: &str) -> Self {
        Self {
            exchange: String::new(),
            key: name.to_owned(),
        }
    }
}

/// What an unrouted message was published to, without the gateway instance that may wait for it: what
/// alarms and causes are grouped by.
pub(super) fn address(delivery: &Delivery) -> String {
    let kind = match delivery.routing_key.as_str() {
        // Keys of copies are names of queues.
        key if is_copy(delivery) => key,
        key => key.split('.').next().unwrap_or_default(),
    };
    let exchange = delivery.exchange.as_str();
    let exchange = exchange.strip_suffix(".router").unwrap_or(exchange);
    format!("{exchange} with key {kind}")
}

fn is_copy(delivery: &Delivery) -> bool {
    let exchange = delivery.exchange.as_str();
    exchange.contains(RETRY) || exchange.ends_with("saga.dlx")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unrouted(exchange: &str, key: &str) -> Delivery {
        Delivery::mock(1, exchange.into(), key.into(), false, Vec::new())
    }

    #[test]
    fn an_unrouted_message_goes_to_where_it_was_published_but_not_into_the_journal_again() {
        let names = Names::new("test");
        let shelf = Shelf::of(&names, "test.saga.unrouted");
        for (exchange, target) in [
            ("test.saga.commands", "test.saga.commands.router"),
            ("test.saga.events.router", "test.saga.events.router"),
            ("test.saga.retry.1s", "test.saga.retry.1s"),
        ] {
            let found = shelf.target(&unrouted(exchange, "Key.g1"));
            assert_eq!((&*found.exchange, &*found.key), (target, "Key.g1"));
        }
    }

    #[test]
    fn a_dead_letter_goes_to_its_work_queue_wherever_it_was_published() {
        let shelf = Shelf::of(&Names::new(""), "a.X");
        assert_eq!(shelf.queue(), "a.X.dlq");
        let target = shelf.target(&unrouted("saga.dlx", "a.X"));
        assert_eq!(target, Target::queue("a.X"));
    }

    #[test]
    fn an_address_names_no_gateway_instance_and_each_queue_wholly() {
        let told = |exchange, key| address(&unrouted(exchange, key));
        let ended = told("saga.events.router", "TicketDeleted.g1");
        assert_eq!(ended, "saga.events with key TicketDeleted");
        let copy = told("saga.retry.1s", "a.X");
        assert_eq!(copy, "saga.retry.1s with key a.X");
    }
}
