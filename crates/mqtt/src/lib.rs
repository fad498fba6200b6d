//! MQTT 3.1.1 packets and the server's session machine: no socket, no clock, no task.
//!
//! Three layers, never upward: [`packet`] reads and writes packets in place, [`server`] holds the rules of a session, and what
//! topics mean is the business of the front end that drives it. Granted quality of service ends at 1, as in every hub.
//! Refused: a packet type that owns its bytes, and serde-like derivation, which hides bounds.

pub mod packet;
pub mod server;

#[cfg(feature = "fuzzing")]
#[allow(
    clippy::missing_panics_doc,
    reason = "a fuzz target panics when it has found something"
)]
pub mod fuzzing;

mod reader;
