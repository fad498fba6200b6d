//! The connection machine against a client of the tests, in virtual time: one topic a file. What is expected is the standard, and
//! where clients want more, amqp.md of the wire specification.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this crate is a test; its helpers are not seen as such"
)]

mod peer;

mod attaching;
mod bad_input;
mod chunks;
mod headers;
mod opening;
mod receiving;
mod sending;
mod settling;
