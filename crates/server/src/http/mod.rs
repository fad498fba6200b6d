//! The HTTPS front end: the registry as Azure's service clients call it, and Ironhub's own additions under `/$ironhub/v1`.

mod connection;
mod events;
mod management;
mod registry;
mod reply;
mod request;
mod route;

pub(crate) use connection::serve;
pub(crate) use reply::{Reply, whole};
