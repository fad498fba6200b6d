//! The HTTPS front end: the registry as Azure's service clients call it, telemetry and commands as devices do, the way to a WebSocket,
//! and Ironhub's own additions under `/$ironhub/v1`.

mod commands;
mod connection;
mod device;
mod device_batch;
mod device_command;
mod device_property;
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
mod spelling;
mod twins;
mod upgrade;

pub(crate) use connection::serve;
pub(crate) use reply::{Reply, whole};
