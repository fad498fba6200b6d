//! server
pub mod tls;
