//! The HTTPS front end: the registry as Azure's service clients call it, telemetry and commands as devices do, uploaded files as
//! clients of Azure Storage do, the way to a WebSocket, the hub as a resource of
//! Azure's resource manager, and Ironhub's own additions under `/$ironhub/v1`.

#[cfg(test)]
mod access_matrix;
mod advice;
mod arm;
mod audit;
mod authorities;
mod blobs;
mod blobs_digest;
mod blobs_fault;
mod blobs_list;
mod blobs_read;
mod blobs_write;
mod commands;
mod connection;
mod demand;
mod device;
mod device_batch;
mod device_command;
mod device_property;
mod events;
mod explain;
mod explain_auth;
#[cfg(test)]
mod explain_auth_tests;
mod explain_auth_told;
mod explain_auth_wish;
mod feedback;
mod files;
mod linger;
mod management;
mod master_key;
mod methods;
mod modules;
mod policies;
mod registry;
mod reply;
mod request;
mod responders;
mod revocation;
mod roles;
mod route;
mod settings;
mod spelling;
mod twins;
mod upgrade;

pub(crate) use arm::{HUB_PATH, ROUTES as RESOURCE_ROUTES, demand_of as resource_demand};
#[cfg(feature = "fuzzing")]
pub(crate) use blobs_list::fuzz as fuzz_block_list;
pub(crate) use connection::serve;
pub(crate) use demand::ROUTES;
#[cfg(feature = "fuzzing")]
pub(crate) use explain_auth::fuzz as fuzz_explain_auth;
pub(crate) use reply::{Reply, whole};
pub(crate) use route::Route;

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing {
    //! What the fuzz entry points of the crate reach of this front end.

    use std::str::from_utf8;

    use hyper::Method;

    use super::Route;
    use super::device_batch;
    use super::route::query_flag;

    /// The body of a batch, or a path with its query, told apart by how they begin.
    pub(crate) fn device_request(data: &[u8]) {
        device_batch::fuzz(data);
        if let Ok(text) = from_utf8(data) {
            let (path, query) = text.split_once('?').unwrap_or((text, ""));
            for method in [Method::GET, Method::POST, Method::DELETE] {
                let _ = Route::find(&method, path);
            }
            query_flag(Some(query), "reject");
        }
    }
}
