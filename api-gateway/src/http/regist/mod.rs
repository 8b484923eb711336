//! Routes under `/regist`.

pub(super) mod trans;
