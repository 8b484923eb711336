//! Replays of what the system did: recordings of the journal, and what can be learned from them.
//!
//! Everything here takes a [`recording`], a file of one message a line. The command `event-replay`
//! is a thin layer over this library, so that a test can do all that it does.

pub mod coverage;
pub mod recording;
pub mod verify;
