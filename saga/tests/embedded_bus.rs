//! The conformance suite on the embedded bus.

mod conformance;
mod embedded;

use conformance::conformance;
use embedded::EmbeddedBroker;

conformance!(EmbeddedBroker);
