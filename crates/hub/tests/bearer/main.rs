//! Bearer tokens from the signature to the right (service-rest.md 2.2).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

#[path = "../doubles/mod.rs"]
mod doubles;
mod issuer;
mod roles;
mod tokens;
