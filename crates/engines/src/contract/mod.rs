//! The contract suites: what every implementation of a seam must do, as functions that take a way to make one.
//!
//! A suite panics at the first promise that is not kept. It knows the seam and nothing of the engine.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a suite is test code, compiled for tests only; a panic is how it reports"
)]

pub mod blobs;
pub mod bus;
pub mod log;
pub mod store;
