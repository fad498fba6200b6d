//! What is asked of the server as a whole: its hubs, and whether a name is free.

use hub::access::operation::{Management, ReadHub};
use hub::error::Error;
use hub::tenancy::HubName;
use hyper::StatusCode;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::reply::{self, Reply};
use crate::http::request::Caller;

use super::address::{Group, ServerOperation};
use super::{list, resource};

pub(super) async fn answer(
    caller: &Caller,
    body: Incoming,
    group: &Group,
    operation: ServerOperation,
) -> Result<Reply, Error> {
    match operation {
        ServerOperation::Operations | ServerOperation::Usages => {
            caller.hubs_with::<ReadHub>()?;
            list::<Value>(&[])
        }
        ServerOperation::ListHubs => {
            let mut resources = Vec::new();
            for hub in caller.hubs_with::<ReadHub>()? {
                let call = caller.call(&hub, None, operation.demand())?;
                resources.push(resource::describe(&call, group).await?);
            }
            list(&resources)
        }
        ServerOperation::CheckName => {
            let Some(hub) = caller.hubs_with::<Management>()?.into_iter().next() else {
                return Err(Error::bug("nobody manages a hub and was let in"));
            };
            let mut call = caller.call(&hub, Some(body), operation.demand())?;
            let request: NameRequest = call.json().await?;
            check_name(caller, &request)
        }
    }
}

#[derive(Deserialize)]
struct NameRequest {
    name: String,
}

/// The answer says that a name is free; hubs are made by the configuration all the same.
fn check_name(caller: &Caller, request: &NameRequest) -> Result<Reply, Error> {
    let (reason, message) = match HubName::parse(&request.name) {
        Err(invalid) => (Some("Invalid"), invalid.to_string()),
        Ok(name) if caller.app().hubs.by_name(&name).is_some() => (
            Some("AlreadyExists"),
            format!("The server has a hub '{name}' already"),
        ),
        Ok(_) => (None, String::new()),
    };
    let answer = json!({ "nameAvailable": reason.is_none(), "reason": reason, "message": message });
    reply::json(StatusCode::OK, &answer)
}
