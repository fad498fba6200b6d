//! AMQP 1.0 (OASIS standard): codec, and the server's connection machine. No socket, no clock, no task.
//!
//! Layers, never upward: [`value`] with [`encode`] and [`decode`]; [`performative`], [`sasl`] and [`message`] on top of them;
//! [`frame`]; and [`connection`], the machine. What addresses mean is the business of the front end that drives it.
//!
//! Two rules come from clients that are out there. Every field of every performative is written, absent ones as null, because one
//! client finds fields by position from the end of what came. And nothing is assumed of a peer: fields at the end may be missing,
//! descriptors may be numbers or symbols. Refused: a serde codec, which hides bounds and drops trailing nulls.

pub mod connection;
pub mod decode;
pub mod encode;
pub mod frame;
#[cfg(feature = "fuzzing")]
#[allow(
    clippy::missing_panics_doc,
    reason = "a fuzz target panics when it has found something"
)]
pub mod fuzzing;
pub mod message;
pub mod performative;
pub mod sasl;
pub mod value;
