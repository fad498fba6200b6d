//! Uploads from the slot to the notification, and what ends them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod bench;
#[path = "../doubles/mod.rs"]
mod doubles;
mod places;
mod quota;
mod uploads;
