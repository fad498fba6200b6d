//! CA certificates as resources below their hub (service-rest.md 16.3).

use hub::error::Error;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::http::authorities;
use crate::http::reply::{self, Reply};
use crate::http::request::Call;

use super::address::{Group, HUB_TYPE};
use super::list as list_of;

pub(super) fn list(call: &Call, group: &Group) -> Result<Reply, Error> {
    let all = authorities::all(call)?;
    let resources: Vec<Value> = all.into_iter().map(|one| resource(call, group, one)).collect();
    list_of(&resources)
}

pub(super) fn get(call: &Call, group: &Group, name: &str) -> Result<Reply, Error> {
    let one = authorities::one(call, name, false)?;
    reply::json(StatusCode::OK, &resource(call, group, one))
}

pub(super) async fn put(mut call: Call, group: &Group, name: &str) -> Result<Reply, Error> {
    let (status, one) = authorities::upload(&mut call, name).await?;
    reply::json(status, &resource(&call, group, one))
}

/// 204 also when there was none: so the resource manager has it.
pub(super) async fn delete(call: &Call, name: &str) -> Result<Reply, Error> {
    Ok(if authorities::remove(call, name).await? {
        reply::empty_ok()
    } else {
        reply::no_content()
    })
}

pub(super) async fn code(call: &Call, group: &Group, name: &str) -> Result<Reply, Error> {
    let one = authorities::draw_code(call, name).await?;
    reply::json(StatusCode::OK, &resource(call, group, one))
}

pub(super) async fn verify(mut call: Call, group: &Group, name: &str) -> Result<Reply, Error> {
    let one = authorities::prove(&mut call, name).await?;
    reply::json(StatusCode::OK, &resource(&call, group, one))
}

/// A certificate with its place among resources.
fn resource(call: &Call, group: &Group, mut one: Value) -> Value {
    let hub = group.hub_id(call.hub.name().as_str());
    let name = one.get("name").and_then(Value::as_str).unwrap_or_default();
    let id = format!("{hub}/certificates/{name}");
    if let Some(members) = one.as_object_mut() {
        members.insert("id".to_owned(), json!(id));
        members.insert("type".to_owned(), json!(format!("{HUB_TYPE}/Certificates")));
    }
    one
}
