//! The HTTPS front end: the registry as Azure's service clients call it, and Ironhub's own additions under `/$ironhub/v1`.

mod commands;
mod connection;
mod events;
mod explain;
mod feedback;
mod management;
mod methods;
mod modules;
mod registry;
mod reply;
mod request;
mod route;
mod twins;

pub(crate) use connection::serve;
pub(crate) use reply::{Reply, whole};
