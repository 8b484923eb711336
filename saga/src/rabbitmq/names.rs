//! What everything on the broker is called.

use std::time::Duration;

use events::Class;
use events::choreography::{self, Service, Step};

use crate::dead_letters::UNROUTED;

/// What the names of retry tiers begin with.
pub(super) const RETRY: &str = "saga.retry.";

/// Names of everything on the broker, under one namespace.
#[derive(Clone, Debug)]
pub struct Names {
    prefix: String,
}

impl Names {
    pub fn new(namespace: &str) -> Self {
        let prefix = match namespace {
            "" => String::new(),
            namespace => format!("{namespace}."),
        };
        Self { prefix }
    }

    fn name(&self, local: &str) -> String {
        format!("{}{local}", self.prefix)
    }

    /// The exchange that messages of this class are published to.
    pub fn front(&self, class: Class) -> String {
        self.name(match class {
            Class::Command => "saga.commands",
            Class::Event => "saga.events",
        })
    }

    /// The topic exchange behind the front, where work queues are bound.
    pub fn router(&self, class: Class) -> String {
        format!("{}.router", self.front(class))
    }

    /// The exchange, and the queue, of a retry tier: `saga.retry.10s`. A routing key is the name of
    /// the work queue that what waits goes back to.
    pub fn tier(&self, delay: Duration) -> String {
        if delay.subsec_millis() == 0 {
            self.name(&format!("{RETRY}{}s", delay.as_secs()))
        } else {
            self.name(&format!("{RETRY}{}ms", delay.as_millis()))
        }
    }

    /// The exchange in front of the dead-letter queues; a routing key is the name of a work queue.
    pub fn dead_letter(&self) -> String {
        self.name("saga.dlx")
    }

    /// The exchange, and the queue, of what no queue wanted.
    pub fn unrouted(&self) -> String {
        self.name(UNROUTED)
    }

    pub fn journal(&self) -> String {
        self.name("saga.journal")
    }

    /// The stream of what operators did to dead letters. Only who operates them needs it, so it is
    /// no part of the topology that every service declares.
    pub fn operations(&self) -> String {
        self.name("saga.operations")
    }

    /// Exists while somebody has dead letters in hand.
    pub(super) fn operator(&self) -> String {
        self.name("saga.operator")
    }

    /// Who a process with these rights logs in as.
    pub(super) fn user(&self, role: &str) -> String {
        self.name(role)
    }

    pub fn work(&self, step: &Step) -> String {
        self.name(&step.queue())
    }

    pub fn questions(&self, service: Service) -> String {
        self.name(&service.queries())
    }

    pub fn replies(&self, instance: &str) -> String {
        let gateway = choreography::API_GATEWAY.0;
        self.name(&format!("{gateway}.replies.{instance}"))
    }
}

/// The dead-letter queue of a work queue.
pub fn parking(queue: &str) -> String {
    format!("{queue}.dlq")
}
