//! Which queues an event goes to, derived from the choreography table.
//!
//! The patterns are those of a topic exchange: a work queue is bound to `<message>` and to
//! `<message>.*`, the replies of a gateway instance to `*.<instance>`. An event that ends a saga is
//! at home in the journal, so a vanished gateway is no fault; any other event without a queue is
//! kept in [`UNROUTED`]. The table is compiled in, so no operator can take a binding away here.

use std::collections::HashMap;
use std::sync::Arc;

use events::choreography::{self, Step};
use events::{Event, MessageType};

use crate::dead_letters::UNROUTED;

pub(super) type QueueName = Arc<str>;

pub(super) struct Topology {
    /// The queues bound to a message, by the first word of its routing key.
    bindings: HashMap<&'static str, Vec<QueueName>>,
    unrouted: Vec<QueueName>,
}

/// An event on its way to its queues.
pub(super) struct Outgoing {
    pub(super) json: String,
    pub(super) queues: Vec<QueueName>,
    /// The gateway instance that waits for it.
    pub(super) instance: Option<String>,
}

impl Topology {
    pub(super) fn new(steps: impl Iterator<Item = &'static Step>) -> Self {
        let mut bindings: HashMap<_, Vec<_>> = HashMap::new();
        for step in steps {
            let bound = bindings.entry(step.on.name()).or_default();
            bound.push(QueueName::from(step.queue()));
        }
        Self {
            bindings,
            unrouted: vec![UNROUTED.into()],
        }
    }

    /// The name of the step's queue, if the queue exists.
    pub(super) fn queue_of(&self, step: &Step) -> Option<QueueName> {
        let name = step.queue();
        let mut bound = self.bindings.get(step.on.name())?.iter();
        bound.find(|queue| ***queue == *name).cloned()
    }

    pub(super) fn address(&self, event: &Event) -> Outgoing {
        let key = events::route(event).key;
        let (message, instance) = match key.split_once('.') {
            Some((message, instance)) => (message, Some(instance.to_owned())),
            None => (&*key, None),
        };
        Outgoing {
            json: String::from_utf8(event.to_json()).expect("JSON is UTF-8"),
            queues: self.queues(message, event.message_type()).to_vec(),
            instance,
        }
    }

    fn queues(&self, message: &str, message_type: MessageType) -> &[QueueName] {
        match self.bindings.get(message) {
            Some(bound) => bound,
            None if choreography::may_end_a_saga(message_type) => &[],
            None => &self.unrouted,
        }
    }
}
