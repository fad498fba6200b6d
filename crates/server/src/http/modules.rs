//! Modules as service clients call them, and an edge device for its own ones (service-rest.md 2.3 and 4).

use hub::access::operation::{DeleteDevices, ReadDevices, WriteDevices};
use hub::error::{Code, Error};
use hub::identity::{DeviceId, IfMatch, Module, ModuleDraft, ModuleId, ModuleJson};
use hyper::StatusCode;

use super::registry::{live_of, parse_id};
use super::reply::{self, Reply};
use super::request::Call;

/// All of them, by id: there is no paging.
pub(super) async fn list(call: &Call, device: &str) -> Result<Reply, Error> {
    let device = parse_id(device)?;
    let caller = call.authorize_modules::<ReadDevices>(&device).await?;
    let modules = call.app.registry.list_modules(&caller, &device).await?;
    let mut live = Vec::with_capacity(modules.len());
    for module in &modules {
        live.push(live_of(call, module.identity()).await?);
    }
    let bodies: Vec<_> = modules
        .iter()
        .zip(&live)
        .map(|(module, live)| ModuleJson::new(module, live))
        .collect();
    reply::json(StatusCode::OK, &bodies)
}

pub(super) async fn put(mut call: Call, device: &str, module: &str) -> Result<Reply, Error> {
    let (device, id) = parse(device, module)?;
    let caller = call.authorize_modules::<WriteDevices>(&device).await?;
    let if_match = IfMatch::parse(call.if_match());
    let body = call.body().await?;
    let draft = ModuleDraft::from_json(&body, &device, &id, &call.app.limits)?;
    let registry = &call.app.registry;
    let module = registry
        .put_module(&caller, &device, &id, &draft, if_match)
        .await?;
    module_reply(&call, &module).await
}

pub(super) async fn get(call: &Call, device: &str, module: &str) -> Result<Reply, Error> {
    let (device, id) = parse(device, module)?;
    let caller = call.authorize_modules::<ReadDevices>(&device).await?;
    let module = call.app.registry.get_module(&caller, &device, &id).await?;
    module_reply(call, &module).await
}

pub(super) async fn delete(call: &Call, device: &str, module: &str) -> Result<Reply, Error> {
    let (device, id) = parse(device, module)?;
    let caller = call.authorize_modules::<DeleteDevices>(&device).await?;
    let if_match = IfMatch::parse(call.if_match());
    let registry = &call.app.registry;
    registry.delete_module(&caller, &device, &id, &if_match).await?;
    Ok(reply::no_content())
}

/// Modules carry no header `ETag`, only the member `etag` (service-rest.md 4.3).
async fn module_reply(call: &Call, module: &Module) -> Result<Reply, Error> {
    let live = live_of(call, module.identity()).await?;
    reply::json(StatusCode::OK, &ModuleJson::new(module, &live))
}

fn parse(device: &str, module: &str) -> Result<(DeviceId, ModuleId), Error> {
    let device = parse_id(device)?;
    let module = ModuleId::parse(module)
        .map_err(|invalid| Error::peer(Code::IotHubFormatError, invalid.to_string()))?;
    Ok((device, module))
}
