//! Twins against their specification (service-rest.md 5 and 13, device-mqtt-https.md 8).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod bench;
#[path = "../doubles/mod.rs"]
mod doubles;
mod events;
mod model;
mod races;
mod service;
