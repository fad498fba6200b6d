//! The resource manager's view of the server: each hub as a resource `Microsoft.Devices/IotHubs`, so that the management clients
//! of Azure work on it (service-rest.md 16).
//!
//! The path names the hub, whichever name of the server the request was sent to. That a hub is not there is told only to those who
//! may read another one of the server. Operations that take their time in Azure
//! are done when they are answered, which ends the poller of the clients at once.

mod address;
mod certificates;
mod demands;
mod fixed;
mod groups;
mod keys;
mod resource;
mod server;

use std::sync::Arc;

use hub::access::operation::{Management, ReadHub};
use hub::error::{Code, Error};
use hub::tenancy::HubName;
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::tracking::Tracking;

use super::connection::Peer;
use super::demand::Demand;
use super::reply::{self, Reply};
use super::request::{Call, Caller};
use super::route::{NoRoute, query_parameter};

use address::{Address, Group, HubOperation, is_api_version};

pub(super) use address::is_address;
pub(crate) use demands::ROUTES;

/// Answers a request; never fails.
pub(super) async fn answer(
    request: Request<Incoming>,
    app: Arc<App>,
    peer: Arc<Peer>,
    tracking: &Tracking,
) -> Reply {
    dispatch(request, app, peer, tracking)
        .await
        .unwrap_or_else(|error| refused(&error, tracking))
}

async fn dispatch(
    request: Request<Incoming>,
    app: Arc<App>,
    peer: Arc<Peer>,
    tracking: &Tracking,
) -> Result<Reply, Error> {
    let (head, body) = request.into_parts();
    let address = Address::find(&head.method, head.uri.path()).map_err(|missing| match missing {
        NoRoute::Path => Error::peer(Code::GenericNotFound, "There is nothing at this path"),
        NoRoute::Method => Error::peer(
            Code::GenericMethodNotAllowed,
            "The path does not offer this method",
        ),
    })?;
    let version = query_parameter(head.uri.query(), "api-version").unwrap_or_default();
    if !is_api_version(&version) {
        return Err(Error::peer(
            Code::InvalidProtocolVersion,
            "The parameter api-version is a date such as 2023-06-30",
        ));
    }
    let caller = Caller::new(app, peer, tracking.clone(), head);
    match address {
        Address::Server(group, operation) => server::answer(&caller, body, &group, operation).await,
        Address::Hub(group, name, operation) => {
            let hub = HubName::parse(&name)
                .ok()
                .and_then(|name| caller.app().hubs.by_name(&name));
            match hub {
                Some(hub) => {
                    let call = caller.call(&hub, Some(body), operation.demand())?;
                    of_hub(call, &group, operation).await
                }
                None => absent(&caller, &name, &operation),
            }
        }
    }
}

async fn of_hub(call: Call, group: &Group, operation: HubOperation) -> Result<Reply, Error> {
    match operation {
        HubOperation::Get => resource::get(&call, group).await,
        HubOperation::Put => resource::put(call, group).await,
        HubOperation::Patch => resource::patch(call, group).await,
        HubOperation::Delete => resource::delete(&call),
        HubOperation::ListKeys => keys::list(&call).await,
        HubOperation::KeysOf(name) => keys::get(&call, &name).await,
        HubOperation::Statistics => resource::statistics(&call).await,
        HubOperation::Skus => resource::skus(&call),
        HubOperation::QuotaMetrics => resource::quota_metrics(&call).await,
        HubOperation::ListGroups => groups::list(&call, group).await,
        HubOperation::GetGroup(name) => groups::get(&call, group, &name).await,
        HubOperation::PutGroup(name) => groups::put(&call, group, &name).await,
        HubOperation::DeleteGroup(name) => groups::delete(&call, &name).await,
        HubOperation::ListCertificates => certificates::list(&call, group),
        HubOperation::GetCertificate(name) => certificates::get(&call, group, &name),
        HubOperation::PutCertificate(name) => certificates::put(call, group, &name).await,
        HubOperation::DeleteCertificate(name) => certificates::delete(&call, &name).await,
        HubOperation::DrawCode(name) => certificates::code(&call, group, &name).await,
        HubOperation::VerifyCertificate(name) => certificates::verify(call, group, &name).await,
        HubOperation::EmptyList => {
            call.authorize::<ReadHub>()?;
            list::<()>(&[])
        }
        HubOperation::PrivateEndpoints => {
            call.authorize::<ReadHub>()?;
            reply::json(StatusCode::OK, &json!([]))
        }
        HubOperation::Missing(why) => {
            call.authorize::<Management>()?;
            Err(Error::peer(Code::FeatureNotSupported, why))
        }
    }
}

/// There is no hub of this name. A stranger is not told so.
fn absent(caller: &Caller, name: &str, operation: &HubOperation) -> Result<Reply, Error> {
    caller.hubs_with::<ReadHub>()?;
    let named = name.escape_debug();
    match operation {
        // The clients take 404 for a failure here, though their model has it (service-rest.md 16.2).
        HubOperation::Delete => Ok(reply::no_content()),
        HubOperation::Put => Err(Error::peer(
            Code::InvalidOperation,
            format!(
                "The hub '{named}' does not exist. Hubs of this server are made by its configuration: add one there and start it anew"
            ),
        )),
        _ => Err(Error::peer(
            Code::GenericNotFound,
            format!("The hub '{named}' does not exist"),
        )),
    }
}

/// Where a hub is, as documentation writes it.
pub(crate) const HUB_PATH: &str =
    "/subscriptions/{s}/resourceGroups/{g}/providers/Microsoft.Devices/IotHubs/{hub}";

/// What a request of the resource manager asks of its caller; none when there is no such request.
pub(crate) fn demand_of(method: &Method, path: &str) -> Option<Demand> {
    match Address::find(method, path).ok()? {
        Address::Server(_, operation) => Some(operation.demand()),
        Address::Hub(_, _, operation) => Some(operation.demand()),
    }
}

/// A list in the form of the resource manager, on one page.
fn list<T: Serialize>(items: &[T]) -> Result<Reply, Error> {
    reply::json(StatusCode::OK, &json!({ "value": items }))
}

/// An error in the form of the resource manager (service-rest.md 16.2).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    code: String,
    http_status_code: String,
    message: &'a str,
    details: String,
}

fn refused(error: &Error, tracking: &Tracking) -> Reply {
    tracking.log(error);
    let status = reply::status_of(error.code());
    // `Bad Request` is BadRequest here.
    let phrase = status.canonical_reason().unwrap_or_default().replace(' ', "");
    let form = Form {
        code: error.code().number().to_string(),
        http_status_code: phrase,
        message: error.message(),
        details: format!("{}; Tracking ID:{}", error.code().name(), tracking.text()),
    };
    let bytes = serde_json::to_vec(&form).unwrap_or_default();
    let mut refused = reply::json_text(bytes);
    *refused.status_mut() = status;
    refused
}
