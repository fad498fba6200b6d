//! The master keys of the server: Ironhub's own paths `/$ironhub/v1/master-key/..`.
//!
//! They belong to the server, not to one hub; whoever owns any of its hubs may turn them over. Keys are never told, only their ids.

use hub::access::operation::Management;
use hub::error::Error;
use hyper::StatusCode;
use serde_json::json;

use super::reply::{self, Reply};
use super::request::Call;

/// Which keys there are and how far the sealing again is.
pub(super) async fn status(call: &Call) -> Result<Reply, Error> {
    call.authorize::<Management>()?;
    let status = call.app.master_keys.status(&call.app.hubs).await?;
    reply::json(StatusCode::OK, &status)
}

/// Puts a new key in force.
pub(super) async fn rotate(call: &Call) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let current = call.app.master_keys.rotate(&call.app.hubs, &proof).await?;
    reply::json(StatusCode::OK, &json!({ "current": current.to_string() }))
}
