//! A parked message without its body, which may be large: as lists show it and runs remember it.

use events::Timestamp;
use saga::dead_letters::Parked;
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    id: String,
    queue: String,
    r#type: Option<String>,
    saga_id: Option<String>,
    failure: String,
    cause: String,
    attempts: u32,
    requeued: u32,
    first_failed_at: Option<Timestamp>,
    last_failed_at: Option<Timestamp>,
}

impl Summary {
    pub(crate) fn of(parked: &Parked) -> Self {
        Self {
            id: parked.id.clone(),
            queue: parked.queue.clone(),
            r#type: parked.message_type(),
            saga_id: parked.saga_id(),
            failure: parked.failure.clone(),
            cause: parked.cause().key(),
            attempts: parked.attempts,
            requeued: parked.requeued,
            first_failed_at: parked.first_failed_at,
            last_failed_at: parked.last_failed_at,
        }
    }
}
