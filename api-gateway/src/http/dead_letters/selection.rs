//! Which dead letters are meant: by the query of a look, or by the body of a deed.

use events::SagaId;
use saga::dead_letters::Selection;
use uuid::Uuid;

use super::bounds;
use crate::http::body::Fields;
use crate::http::openapi::{Field, optional};
use crate::http::parameters::{Parameters, RawParameters};
use crate::http::problem::Problem;
use crate::http::texts::details::{
    CAUSE_KEY, MESSAGE_IDS, NAMES_NO_MESSAGES, QUEUE_NAME, TRUE_OR_FALSE, UUID, must_be,
};

/// More than one reads out by hand; a group has a cause.
const MOST_IDS: usize = 100;

pub(super) const QUEUE: Field = optional("queue", "QueueName")
    .about("Only of this work queue, with or without the namespace; or `saga.unrouted`");
pub(super) const CAUSE: Field =
    optional("cause", "Text").about("Only what was parked for this cause, by its key in the list");
pub(super) const SAGA_ID: Field = optional("sagaId", "Uuid").about("Only messages of this saga");
pub(super) const IDS_FIELD: Field = optional("ids", "IdList").about("Only these messages");
pub(super) const ALL: Field =
    optional("all", "Flag").about("Everything that is parked; needed where nothing else is named");

/// What a look asks for: which, and how many to pass over and to show of them.
pub(super) fn of_query(raw: RawParameters) -> Result<(Selection, (usize, usize)), Problem> {
    let mut parameters = Parameters::parse(raw)?;
    let saga: Option<Uuid> = parameters.optional("sagaId", &UUID);
    let selection = Selection {
        queue: parameters.optional("queue", &QUEUE_NAME),
        cause: parameters.optional("cause", &CAUSE_KEY),
        saga: saga.map(SagaId),
        ..Selection::default()
    };
    let page = bounds(parameters.page());
    parameters.check()?;
    Ok((selection, page))
}

/// Notes what is wrong with it. Nothing is put back or dropped by forgetting to say which.
pub(super) fn of_body(mut fields: Fields<'_>) -> (Selection, Fields<'_>) {
    let all: Option<bool> = fields.optional("all", &TRUE_OR_FALSE);
    let ids: Option<Vec<String>> = fields.optional("ids", &MESSAGE_IDS);
    let saga: Option<Uuid> = fields.optional("sagaId", &UUID);
    let selection = Selection {
        queue: fields.optional("queue", &QUEUE_NAME),
        cause: fields.optional("cause", &CAUSE_KEY),
        saga: saga.map(SagaId),
        ids: ids.iter().flatten().cloned().collect(),
    };
    let Selection {
        queue, cause, saga, ..
    } = &selection;
    let is_named = queue.is_some() || cause.is_some() || saga.is_some() || ids.is_some();
    if ids.is_some_and(|ids| !(1..=MOST_IDS).contains(&ids.len())) {
        fields = fields.with_error("ids", must_be(&MESSAGE_IDS));
    }
    if !is_named && all != Some(true) {
        fields = fields.with_error("(body)", NAMES_NO_MESSAGES.into());
    }
    (selection, fields)
}
