//! Replays of what the system did: recordings of the journal, and what can be learned from them.
//!
//! Everything here takes a [`recording`], a file of one message a line; [`live`] makes it from the
//! journal of a running system, and hands messages out there again. The command `event-replay`
//! is a thin layer over this library, so that a test can do all that it does.

pub mod coverage;
pub mod live;
pub mod recording;
pub mod timeline;
pub mod verify;
