//! Where a message goes: which exchange class, and the routing key that bindings match.

use std::borrow::Cow;

use crate::choreography;
use crate::{Class, Event};

/// The address of an event on the bus.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    pub class: Class,
    /// The message's name; for an event that ends a saga, a dot and the gateway instance that
    /// waits for it follow.
    pub key: Cow<'static, str>,
}

/// The address of this event.
pub fn route(event: &Event) -> Route {
    let message_type = event.message_type();
    let key = match &event.reply_to {
        Some(instance) if choreography::may_end_a_saga(message_type) => {
            Cow::Owned(format!("{message_type}.{instance}"))
        }
        _ => Cow::Borrowed(message_type.name()),
    };
    Route {
        class: message_type.class(),
        key,
    }
}
