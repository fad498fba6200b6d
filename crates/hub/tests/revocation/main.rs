//! Revoked certificates (dps.md 14): block lists, lists and responders of CAs, with certificates that OpenSSL makes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod bench;
mod blocks;
#[path = "../doubles/mod.rs"]
mod doubles;
mod lists;
mod million;
mod ocsp;
mod openssl;
