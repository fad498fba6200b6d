//! The server: sockets, TLS, front ends, configuration, metrics, and the composition of all of it ([`run()`]).
//!
//! Front ends translate and the hub decides: each of [`mqtt`], [`amqp`] and [`http`] turns the forms of its protocol into typed
//! calls of `hub` and the answers back.

mod admin;
mod alarm;
mod amqp;
mod app;
mod background;
mod calls;
pub mod config;
#[cfg(test)]
mod credentials;
mod demand;
pub mod dev;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "written for tests; a fuzz target uses a part of it"
)]
mod doubles;
mod event;
mod fetch;
#[cfg(feature = "fuzzing")]
#[allow(
    clippy::missing_panics_doc,
    reason = "a fuzz target panics when it has found something"
)]
pub mod fuzzing;
mod held;
mod http;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(
    unused_imports,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "written for tests; a fuzz target uses a part of it"
)]
#[path = "../../hub/tests/doubles/mod.rs"]
mod hub_doubles;
mod listen;
mod mailbox;
pub mod master_key;
mod mqtt;
pub mod recovery;
pub mod reference;
mod refusal;
mod run;
mod tls;
mod tracking;
mod websocket;

pub use fetch::FetcherError;
pub use listen::BindError;
pub use run::{Addresses, Ready, ReadyHub, StartError, run};
pub use tls::CertificateError;
