//! Routes under `/regist`.

pub(super) mod read;
pub(super) mod trans;
