//! Command queues and feedback, over stand-ins for the seams.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod bench;
#[path = "../doubles/mod.rs"]
mod doubles;
mod feedback;
mod model;
mod queues;
