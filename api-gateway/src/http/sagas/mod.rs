//! Routes under `/sagas`: what became of what callers asked for.

pub(super) mod events;
pub(super) mod find;
pub(super) mod list;
mod view;
