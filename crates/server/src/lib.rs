//! server
pub mod config;
pub mod dev;
pub mod tls;
