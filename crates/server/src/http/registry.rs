//! The identity registry as service clients call it (service-rest.md 4).

use hub::access::operation::{
    BulkDevices, DeleteDevices, ReadConnectionStatistics, ReadDevices, ReadStatistics, WriteDevices,
};
use hub::bus::Address;
use hub::error::{Code, Error};
use hub::identity::{
    BulkRequest, Device, DeviceId, DeviceJson, Draft, Extent, IdentityId, IfMatch, Live, RegenerateRequest,
};
use hyper::StatusCode;
use hyper::header::{ETAG, HeaderValue};
use serde_json::json;

use super::reply::{self, Reply};
use super::request::Call;

pub(super) async fn put(mut call: Call, id: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<WriteDevices>()?;
    let id = parse_id(id)?;
    let if_match = IfMatch::parse(call.if_match());
    let body = call.body().await?;
    let draft = Draft::from_json(&body, &id, &call.app.limits)?;
    let device = call.app.registry.put(&proof, &id, &draft, if_match).await?;
    device_reply(&call, &device).await
}

pub(super) async fn get(call: &Call, id: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<ReadDevices>()?;
    let device = call.app.registry.get(&proof, &parse_id(id)?).await?;
    device_reply(call, &device).await
}

pub(super) async fn delete(call: &Call, id: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<DeleteDevices>()?;
    let id = parse_id(id)?;
    call.app
        .registry
        .delete(&proof, &id, &IfMatch::parse(call.if_match()))
        .await?;
    Ok(reply::no_content())
}

/// Order is by id, there is no paging: that is how the operation is defined.
pub(super) async fn list(call: &Call) -> Result<Reply, Error> {
    let proof = call.authorize::<ReadDevices>()?;
    let top = call.query("top").and_then(|top| top.parse().ok());
    let devices = call.app.registry.list(&proof, top).await?;
    let mut live = Vec::with_capacity(devices.len());
    for device in &devices {
        live.push(live_of(call, IdentityId::device(device.id.clone())).await?);
    }
    let bodies: Vec<_> = devices
        .iter()
        .zip(&live)
        .map(|(device, live)| DeviceJson::new(device, live))
        .collect();
    reply::json(StatusCode::OK, &bodies)
}

pub(super) async fn bulk(mut call: Call) -> Result<Reply, Error> {
    let proof = call.authorize::<BulkDevices>()?;
    let body = call.body().await?;
    let request = BulkRequest::from_json(&body, &call.app.limits)?;
    let result = call.app.registry.bulk(&proof, request, &call.app.twins).await;
    let status = if result.is_successful {
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    };
    reply::json(status, &result)
}

/// New keys for many identities. Whoever is connected with one that is gone is put out.
pub(super) async fn regenerate(mut call: Call) -> Result<Reply, Error> {
    let proof = call.authorize::<WriteDevices>()?;
    let body = call.body().await?;
    let request = RegenerateRequest::from_json(&body, &call.app.limits)?;
    let result = call.app.registry.regenerate(&proof, request).await;
    let status = match result.extent() {
        Extent::All => StatusCode::OK,
        Extent::Part => StatusCode::MULTI_STATUS,
        Extent::Nothing => StatusCode::BAD_REQUEST,
    };
    reply::json(status, &result)
}

pub(super) async fn device_statistics(call: &Call) -> Result<Reply, Error> {
    let proof = call.authorize::<ReadStatistics>()?;
    reply::json(StatusCode::OK, &call.app.registry.statistics(&proof).await?)
}

pub(super) fn service_statistics(call: &Call) -> Result<Reply, Error> {
    call.authorize::<ReadConnectionStatistics>()?;
    let connected = call.app.bus.held_devices(call.hub.name());
    reply::json(StatusCode::OK, &json!({ "connectedDeviceCount": connected }))
}

pub(super) fn parse_id(text: &str) -> Result<DeviceId, Error> {
    DeviceId::parse(text).map_err(|invalid| Error::peer(Code::IotHubFormatError, invalid.to_string()))
}

async fn device_reply(call: &Call, device: &Device) -> Result<Reply, Error> {
    let live = live_of(call, IdentityId::device(device.id.clone())).await?;
    let mut reply = reply::json(StatusCode::OK, &DeviceJson::new(device, &live))?;
    let etag = HeaderValue::from_str(&device.etag.quoted())
        .map_err(|_| Error::bug("an etag is not fit for a header"))?;
    reply.headers_mut().insert(ETAG, etag);
    Ok(reply)
}

/// What is known of an identity's connection and queue.
pub(super) async fn live_of(call: &Call, identity: IdentityId) -> Result<Live, Error> {
    let address = Address {
        hub: call.hub.name().clone(),
        identity,
    };
    let presence = call.app.presences.of(&address).await?;
    Ok(Live {
        connected: presence.connected,
        connection_state_updated: presence.changed,
        last_activity: presence.last_activity,
        commands: call.app.commands.depth(&address).await?,
    })
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use hub::audit::Filter;

    use super::*;
    use crate::doubles::{app_on_disk, hub_of};

    /// Each read of keys is on the disk before its answer goes out, and yet they do not wait for one another: those that come while a
    /// commit runs share the next.
    #[tokio::test]
    async fn reads_of_keys_share_commits() {
        const READS: usize = 500;
        let (app, sqlite, _folder) = app_on_disk().await;
        let hub = hub_of(&app);
        let (right, id) = (hub.gate().authorize_operator(), DeviceId::parse("d").unwrap());
        let before = sqlite.stats().commits;
        let reads = join_all((0..READS).map(|_| app.registry.get(&right, &id))).await;
        assert!(reads.iter().all(Result::is_ok));
        let commits = sqlite.stats().commits - before;
        assert!(commits < 100, "{commits} commits for {READS} reads");
        let filter = Filter {
            operation: Some("device.keys.read".to_owned()),
            ..Filter::default()
        };
        let manage = hub.gate().authorize_operator();
        let told = app.trail.page(&manage, &filter, None, 1_000).await.unwrap();
        assert_eq!(told.lines.len(), READS);
    }
}
