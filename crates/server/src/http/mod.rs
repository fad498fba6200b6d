//! The HTTPS front end: the registry as Azure's service clients call it, uploaded files
//! as clients of Azure Storage do, and Ironhub's own additions under `/$ironhub/v1`.

mod blobs;
mod blobs_digest;
mod blobs_fault;
mod blobs_list;
mod blobs_read;
mod blobs_write;
mod commands;
mod connection;
mod events;
mod explain;
mod feedback;
mod files;
mod management;
mod methods;
mod modules;
mod registry;
mod reply;
mod request;
mod route;
mod twins;

#[cfg(feature = "fuzzing")]
pub(crate) use blobs_list::fuzz as fuzz_block_list;
pub(crate) use connection::serve;
pub(crate) use reply::{Reply, whole};
