//! Consumer groups of the built-in endpoint as resources (service-rest.md 16.2).

use hub::access::operation::{ReadConsumerGroups, WriteConsumerGroups};
use hub::error::{Code, Error};
use hub::readers::GroupName;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::http::management::{group_error, parse_group};
use crate::http::reply::{self, Reply};
use crate::http::request::Call;

use super::address::{Group, HUB_TYPE};
use super::list as list_of;

pub(super) async fn list(call: &Call, group: &Group) -> Result<Reply, Error> {
    call.authorize::<ReadConsumerGroups>()?;
    let names = call.hub.groups().list().await?;
    let resources: Vec<Value> = names.iter().map(|name| resource(call, group, name)).collect();
    list_of(&resources)
}

pub(super) async fn get(call: &Call, group: &Group, name: &str) -> Result<Reply, Error> {
    call.authorize::<ReadConsumerGroups>()?;
    show(call, group, &parse_group(name)?).await
}

async fn show(call: &Call, group: &Group, asked: &GroupName) -> Result<Reply, Error> {
    // As it was spelled when it was made.
    let names = call.hub.groups().list().await?;
    let found = names.iter().find(|name| *name == asked).ok_or_else(|| {
        Error::peer(
            Code::GenericNotFound,
            format!("There is no consumer group '{asked}'"),
        )
    })?;
    reply::json(StatusCode::OK, &resource(call, group, found))
}

/// 200 also for a new one: the clients take 201 for a failure.
pub(super) async fn put(call: &Call, group: &Group, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<WriteConsumerGroups>()?;
    let asked = parse_group(name)?;
    call.hub
        .groups()
        .create(&proof, &asked)
        .await
        .map_err(group_error)?;
    show(call, group, &asked).await
}

pub(super) async fn delete(call: &Call, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<WriteConsumerGroups>()?;
    let asked = parse_group(name)?;
    call.hub
        .groups()
        .delete(&proof, &asked)
        .await
        .map_err(group_error)?;
    Ok(reply::empty_ok())
}

fn resource(call: &Call, group: &Group, name: &GroupName) -> Value {
    let hub = call.hub.name();
    json!({
        "id": format!("{}/eventHubEndpoints/events/ConsumerGroups/{name}", group.hub_id(hub.as_str())),
        "name": name.as_str(),
        "type": format!("{HUB_TYPE}/EventHubEndpoints/ConsumerGroups"),
        "etag": Value::Null,
        "properties": { "name": name.as_str() },
    })
}
