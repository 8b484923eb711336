//! Every exchange, queue and binding, as data, derived from the choreography table.
//!
//! A publisher addresses a *front* exchange, which hands each message to the journal and to a
//! *router*. Only the router carries the alternate exchange: behind the journal's catch-all binding
//! it would never see a message that nobody else wants. End events are bound to the journal once
//! more, behind the router (the broker delivers to a queue once however many bindings lead there),
//! so that a gateway that is gone does not look like a missing binding.

use std::time::Duration;

use events::Class;
use events::choreography::{self, Service, Step};

pub use super::names::{Names, parking};

/// Longer than any outage of ours and shorter than the patience of a disk. An operator tightens it
/// by a policy (`max-age`), of which the smaller value wins.
pub const JOURNAL_MAX_AGE: &str = "7D";
/// Some ten million sagas unpacked. An operator tightens it by a policy (`max-length-bytes`).
pub const JOURNAL_MAX_BYTES: i64 = 20_000_000_000;
/// A message that took this many consumers down with it is parked (N means N + 1 deliveries). High
/// enough that a broker which restarts a few times parks nothing.
pub const WORK_DELIVERY_LIMIT: i64 = 20;
/// Questions that nobody takes expire within seconds; more of them than this at a time are a fault,
/// and the oldest go.
pub const MOST_QUESTIONS: i64 = 10_000;
/// RabbitMQ 4 drops a message after 20 deliveries from any quorum queue without a limit of its own.
/// Looking at what is parked must never drop it, and 3.10 knows no "unlimited".
pub const PARKED_DELIVERY_LIMIT: i64 = 1_000_000;

/// All that has to be on the broker.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    pub exchanges: Vec<Exchange>,
    pub queues: Vec<QueueDefinition>,
    pub bindings: Vec<Binding>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub name: String,
    pub kind: ExchangeKind,
    /// The exchange that gets what this one cannot route.
    pub alternate: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    Direct,
    Fanout,
    Topic,
}

impl ExchangeKind {
    /// As RabbitMQ calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
        }
    }
}

/// A durable queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueDefinition {
    pub name: String,
    pub arguments: Vec<(&'static str, Argument)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    Text(String),
    Number(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub from: String,
    pub to: Destination,
    pub key: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Exchange(String),
    Queue(String),
}

impl Topology {
    /// What the choreography needs, with a retry tier for each delay.
    pub fn of_choreography(names: &Names, delays: &[Duration]) -> Self {
        let mut topology = Self::default();
        topology.add_unrouted(names);
        topology.add_journal(names);
        for class in [Class::Command, Class::Event] {
            topology.add_path(names, class);
        }
        topology.add_exchange(names, names.dead_letter(), ExchangeKind::Direct);
        for step in choreography::steps() {
            topology.add_work_queue(names, step);
        }
        for &delay in delays {
            topology.add_tier(names, delay);
        }
        let owners = choreography::OWNERS.into_iter();
        let queues = owners.map(|owner| questions(names, owner));
        topology.queues.extend(queues);
        topology
    }

    fn add_unrouted(&mut self, names: &Names) {
        self.exchanges.push(Exchange {
            name: names.unrouted(),
            kind: ExchangeKind::Fanout,
            alternate: None,
        });
        self.queues.push(parked(names.unrouted()));
        self.bind(names.unrouted(), Destination::Queue(names.unrouted()), "");
    }

    fn add_journal(&mut self, names: &Names) {
        self.queues.push(QueueDefinition {
            name: names.journal(),
            arguments: vec![
                ("x-queue-type", text("stream")),
                ("x-max-age", text(JOURNAL_MAX_AGE)),
                ("x-max-length-bytes", Argument::Number(JOURNAL_MAX_BYTES)),
            ],
        });
    }

    /// Front, journal, router, and a home for the events that end a saga.
    fn add_path(&mut self, names: &Names, class: Class) {
        let (front, router) = (names.front(class), names.router(class));
        self.add_exchange(names, front.clone(), ExchangeKind::Fanout);
        self.add_exchange(names, router.clone(), ExchangeKind::Topic);
        self.bind(front.clone(), Destination::Queue(names.journal()), "");
        self.bind(front, Destination::Exchange(router.clone()), "");
        let ends = choreography::SAGAS.iter().flat_map(|saga| saga.ends);
        for end in ends.filter(|end| end.on.class() == class) {
            let journal = Destination::Queue(names.journal());
            self.bind(router.clone(), journal, &format!("{}.#", end.on));
        }
    }

    fn add_work_queue(&mut self, names: &Names, step: &Step) {
        let (queue, dead_letter) = (names.work(step), names.dead_letter());
        let mut arguments = quorum(&dead_letter);
        arguments.push(("x-dead-letter-routing-key", text(&queue)));
        arguments.push(("x-delivery-limit", Argument::Number(WORK_DELIVERY_LIMIT)));
        self.queues.push(QueueDefinition {
            name: queue.clone(),
            arguments,
        });
        let router = names.router(step.on.class());
        let key = format!("{}.#", step.on);
        self.bind(router, Destination::Queue(queue.clone()), &key);
        self.queues.push(parked(parking(&queue)));
        self.bind(dead_letter, Destination::Queue(parking(&queue)), &queue);
    }

    /// One for all work queues, because a broker pays for each queue (a quorum queue has files of its
    /// own). What waits keeps its routing key, the name of a work queue, by which the default exchange
    /// leads back to exactly that one.
    fn add_tier(&mut self, names: &Names, delay: Duration) {
        let name = names.tier(delay);
        let mut arguments = quorum("");
        let millis = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        arguments.push(("x-message-ttl", Argument::Number(millis)));
        self.add_exchange(names, name.clone(), ExchangeKind::Fanout);
        self.bind(name.clone(), Destination::Queue(name.clone()), "");
        self.queues.push(QueueDefinition { name, arguments });
    }

    fn add_exchange(&mut self, names: &Names, name: String, kind: ExchangeKind) {
        self.exchanges.push(Exchange {
            name,
            kind,
            alternate: Some(names.unrouted()),
        });
    }

    fn bind(&mut self, from: String, to: Destination, key: &str) {
        self.bindings.push(Binding {
            from,
            to,
            key: key.to_owned(),
        });
    }
}

/// A quorum queue that loses nothing on the way to its dead-letter target: that needs the strategy
/// *and* the overflow setting, or the broker silently falls back to at-most-once.
fn quorum(dead_letter: &str) -> Vec<(&'static str, Argument)> {
    vec![
        ("x-queue-type", text("quorum")),
        ("x-dead-letter-exchange", text(dead_letter)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ]
}

/// Durable as a queue, because RabbitMQ 4 is giving up queues that are not; its messages are not.
pub(super) fn questions(names: &Names, service: Service) -> QueueDefinition {
    QueueDefinition {
        name: names.questions(service),
        arguments: vec![
            ("x-queue-type", text("classic")),
            ("x-max-length", Argument::Number(MOST_QUESTIONS)),
        ],
    }
}

/// Kept for ever: it has no limit of age or size, and grows with what operators do.
pub(super) fn operations(names: &Names) -> QueueDefinition {
    QueueDefinition {
        name: names.operations(),
        arguments: vec![("x-queue-type", text("stream"))],
    }
}

/// A queue for messages that wait for an operator.
fn parked(name: String) -> QueueDefinition {
    let limit = Argument::Number(PARKED_DELIVERY_LIMIT);
    QueueDefinition {
        name,
        arguments: vec![
            ("x-queue-type", text("quorum")),
            ("x-delivery-limit", limit),
        ],
    }
}

fn text(value: &str) -> Argument {
    Argument::Text(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::RetryPolicy;

    fn topology(namespace: &str) -> Topology {
        Topology::of_choreography(&Names::new(namespace), &RetryPolicy::default().delays)
    }

    fn queue<'a>(topology: &'a Topology, name: &str) -> &'a QueueDefinition {
        let found = topology.queues.iter().find(|queue| queue.name == name);
        found.unwrap_or_else(|| panic!("no queue {name}"))
    }

    fn argument<'a>(queue: &'a QueueDefinition, name: &str) -> Option<&'a Argument> {
        let found = queue.arguments.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| value)
    }

    fn is_bound(topology: &Topology, from: &str, to: &str, key: &str) -> bool {
        topology.bindings.iter().any(|binding| {
            let (Destination::Exchange(target) | Destination::Queue(target)) = &binding.to;
            binding.from == from && target == to && binding.key == key
        })
    }

    #[test]
    fn every_step_has_its_queue_and_its_dead_letter_queue() {
        let topology = topology("");
        for step in choreography::steps() {
            let name = step.queue();
            let work = queue(&topology, &name);
            assert_eq!(
                argument(work, "x-delivery-limit"),
                Some(&Argument::Number(20))
            );
            assert_eq!(
                argument(work, "x-dead-letter-strategy"),
                Some(&text("at-least-once"))
            );
            let dlq = format!("{name}.dlq");
            queue(&topology, &dlq);
            assert!(is_bound(&topology, "saga.dlx", &dlq, &name));
        }
    }

    #[test]
    fn a_retry_tier_leads_back_to_the_queue_that_its_routing_key_names() {
        let topology = topology("");
        for tier in ["saga.retry.1s", "saga.retry.10s", "saga.retry.60s"] {
            let waiting = queue(&topology, tier);
            let default_exchange = argument(waiting, "x-dead-letter-exchange");
            assert_eq!(default_exchange, Some(&text("")));
            assert_eq!(argument(waiting, "x-dead-letter-routing-key"), None);
            assert!(is_bound(&topology, tier, tier, ""));
        }
    }

    #[test]
    fn commands_and_events_reach_journal_and_router_and_then_the_work_queue() {
        let topology = topology("");
        for front in ["saga.commands", "saga.events"] {
            assert!(is_bound(&topology, front, "saga.journal", ""));
            assert!(is_bound(&topology, front, &format!("{front}.router"), ""));
        }
        assert!(is_bound(
            &topology,
            "saga.commands.router",
            "ticket-worker.PurchaseAndRegister",
            "PurchaseAndRegister.#"
        ));
        assert!(is_bound(
            &topology,
            "saga.events.router",
            "regist-worker.TicketPurchased",
            "TicketPurchased.#"
        ));
    }

    #[test]
    fn an_end_event_has_a_home_without_any_gateway() {
        let topology = topology("");
        for saga in choreography::SAGAS {
            for end in saga.ends {
                let key = format!("{}.#", end.on);
                assert!(is_bound(
                    &topology,
                    "saga.events.router",
                    "saga.journal",
                    &key
                ));
            }
        }
    }

    #[test]
    fn without_its_binding_no_message_of_a_step_has_a_queue_left_and_all_see_it() {
        let topology = topology("");
        for step in choreography::steps() {
            let (router, key) = (format!("{}.router", front(step)), format!("{}.#", step.on));
            let bindings = topology.bindings.iter();
            let bound = bindings.filter(|bound| bound.from == router && bound.key == key);
            assert_eq!(
                bound.count(),
                1,
                "{key} would be missed by one and had by another"
            );
        }
    }

    fn front(step: &Step) -> String {
        Names::new("").front(step.on.class())
    }

    #[test]
    fn every_exchange_but_the_last_has_an_alternate() {
        for exchange in topology("").exchanges {
            let is_last = exchange.name == "saga.unrouted";
            assert_eq!(exchange.alternate.is_none(), is_last, "{}", exchange.name);
        }
    }

    #[test]
    fn a_namespace_is_a_prefix_of_every_name() {
        let topology = topology("staging");
        let queues = topology.queues.iter().map(|queue| &queue.name);
        let exchanges = topology.exchanges.iter().map(|exchange| &exchange.name);
        for name in queues.chain(exchanges) {
            assert!(name.starts_with("staging."), "{name}");
        }
        let work = queue(&topology, "staging.ticket-worker.PurchaseAndRegister");
        assert_eq!(
            argument(work, "x-dead-letter-routing-key"),
            Some(&text("staging.ticket-worker.PurchaseAndRegister"))
        );
    }
}
