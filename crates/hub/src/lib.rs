//! The domain of Ironhub: identity, access, telemetry, twins, methods, commands, files, presence.
//!
//! The hub decides and the front ends translate: identity, rights, quotas, limits and error codes are decided here, once,
//! for every protocol alike. Nothing in this crate knows a wire protocol, opens a file or a socket, or asks the machine for
//! the time: those come in through the seams ([`store`], [`log`], [`bus`], [`files::BlobStore`]) and the ports ([`clock`],
//! [`entropy`], [`fetch`]).

pub mod access;
pub mod advice;
pub mod audit;
pub mod bus;
pub mod clock;
pub mod commands;
pub mod description;
pub mod entropy;
pub mod error;
pub mod events;
pub mod failures;
pub mod fetch;
pub mod files;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod hub;
pub mod identity;
mod lazy_table;
pub mod limits;
pub mod log;
pub mod methods;
pub mod network;
pub mod presence;
pub mod readers;
pub mod records;
pub mod secret;
pub mod sessions;
pub mod settings;
pub mod store;
pub mod telemetry;
pub mod tenancy;
pub mod trust;
pub mod twins;

/// A boxed future, for the traits that are held as `Arc<dyn ..>`.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;
