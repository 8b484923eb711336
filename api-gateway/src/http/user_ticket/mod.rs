//! Routes under `/userTicket`.

pub(super) mod read;
