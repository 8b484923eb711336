//! Routes under `/userTicket`.

pub(super) mod change;
pub(super) mod create;
pub(super) mod delete;
pub(super) mod read;
