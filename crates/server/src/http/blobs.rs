//! Uploaded files under `/uploads/{device}/{name}`, as clients of Azure Storage write and read them (Blob service REST API).
//!
//! A subset: Put Blob, Put Block, Put Block List, Get Block List, Get Blob, Get Blob Properties, Delete Blob, for block blobs. A
//! device comes with the signature that it was given for one blob; a service comes with a token that holds `ServiceConnect`, and
//! may read and delete. Nothing of a body is read before either is checked. Errors are XML, as those clients expect.

use std::sync::Arc;

use hub::access::operation::ReadUploads;
use hub::files::{BlobAccess, BlobName, CONTAINER, Permissions, SasRefusal};
use hub::hub::Hub;
use hub::network::Endpoint;
use hub::records::{Kind, Origin, Outcome};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request};
use percent_encoding::percent_decode_str;

use crate::app::App;
use crate::refusal::outcome_of;
use crate::tracking::Tracking;

use super::blobs_fault::{Fault, Problem};
use super::connection::Peer;
use super::reply::{self, Reply};
use super::request::find_hub;
use super::route::query_parameter;
use super::{blobs_read, blobs_write};

/// The version of the API that a client asks for; told back.
const VERSION: HeaderName = HeaderName::from_static("x-ms-version");

/// What is told to a client that asks for none.
const VERSION_DEFAULT: HeaderValue = HeaderValue::from_static("2020-12-06");

/// A request for one blob, whose sender was let in.
pub(super) struct BlobCall {
    pub(super) app: Arc<App>,
    pub(super) access: BlobAccess,
    pub(super) head: Parts,
    pub(super) body: Incoming,
}

/// Whether a path is the address of a blob.
pub(super) fn is_address(path: &str) -> bool {
    encoded_name(path).is_some()
}

fn encoded_name(path: &str) -> Option<&str> {
    path.strip_prefix('/')?.strip_prefix(CONTAINER)?.strip_prefix('/')
}

/// Answers a request; never fails.
pub(super) async fn answer(
    request: Request<Incoming>,
    app: Arc<App>,
    peer: &Arc<Peer>,
    tracking: &Tracking,
) -> Reply {
    let version = request.headers().get(VERSION).cloned();
    let is_head = *request.method() == Method::HEAD;
    let answered = dispatch(request, app, peer).await;
    let mut reply = answered.unwrap_or_else(|fault| fault.reply(tracking, is_head));
    reply::mark(&mut reply, tracking);
    reply
        .headers_mut()
        .insert(VERSION, version.unwrap_or(VERSION_DEFAULT));
    reply
}

async fn dispatch(request: Request<Incoming>, app: Arc<App>, peer: &Arc<Peer>) -> Result<Reply, Fault> {
    let (head, body) = request.into_parts();
    let hub = find_hub(&head, &app, peer)?;
    admit(&head, &app, &hub, peer)?;
    let access = authorize(&head, &app, &hub, peer).await?;
    let operation = query_parameter(head.uri.query(), "comp");
    let call = BlobCall {
        app,
        access,
        head,
        body,
    };
    match (call.head.method.as_str(), operation.as_deref()) {
        ("PUT", None) => blobs_write::put(call).await,
        ("PUT", Some("block")) => blobs_write::put_block(call).await,
        ("PUT", Some("blocklist")) => blobs_write::put_block_list(call).await,
        ("GET", Some("blocklist")) => blobs_read::block_list(&call).await,
        ("GET", None) => blobs_read::get(&call).await,
        ("HEAD", None) => blobs_read::head(&call).await,
        ("DELETE", None) => blobs_write::delete(&call).await,
        (_, Some(operation)) => Err(Fault::new(
            Problem::InvalidQueryParameterValue,
            format!("The operation '{operation}' is not offered for uploaded files"),
        )),
        (_, None) => Err(Problem::UnsupportedHttpVerb.into()),
    }
}

/// Whoever brings a token is a service, others are devices.
fn admit(head: &Parts, app: &App, hub: &Hub, peer: &Peer) -> Result<(), Fault> {
    let endpoint = if head.headers.contains_key(AUTHORIZATION) {
        Endpoint::Service
    } else {
        Endpoint::Device
    };
    let admitted = hub
        .gate()
        .admit(endpoint, peer.address.ip())
        .and_then(|_| hub.admit_tls(peer.tls));
    admitted.map_err(|refusal| {
        let origin = Origin::new(peer.address, "https").claiming(Some(hub.name().clone()), None, None);
        app.records.leave(origin, outcome_of(&refusal));
        Fault::new(
            Problem::AuthenticationFailed,
            refusal.to_peer().message().to_owned(),
        )
    })
}

/// Lets a peer in by the signature of its query, or by the token of a service. What of it is missing for the operation is found by
/// the operation.
async fn authorize(head: &Parts, app: &App, hub: &Hub, peer: &Peer) -> Result<BlobAccess, Fault> {
    let name = encoded_name(head.uri.path()).unwrap_or_default();
    let name = percent_decode_str(name)
        .decode_utf8()
        .map_err(|_| Fault::from(Problem::InvalidUri))?;
    let name = BlobName::parse(&name).map_err(|error| Fault::new(Problem::InvalidUri, error.to_string()))?;
    let token = head
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let access = if let Some(token) = token {
        let path = format!("{CONTAINER}/{name}");
        let right = hub.gate().authorize_service::<ReadUploads>(token, &path);
        let right = right.map_err(|refusal| {
            leave(app, hub, peer, &name, outcome_of(&refusal));
            Fault::from(Problem::AuthenticationFailed)
        })?;
        app.files.open_for_service(&right, &name)?
    } else {
        let query = head.uri.query().unwrap_or_default();
        let opened = app.files.open(hub.name(), &name, query).await?;
        opened.map_err(|refusal| {
            leave(app, hub, peer, &name, outcome(refusal));
            Fault::from(refusal)
        })?
    };
    if let Err(refusal) = demand(head, &access) {
        leave(app, hub, peer, &name, outcome(refusal));
        return Err(refusal.into());
    }
    peer.note_known();
    Ok(access)
}

fn demand(head: &Parts, access: &BlobAccess) -> Result<(), SasRefusal> {
    match head.method.as_str() {
        "GET" | "HEAD" => access.demand(Permissions::READ),
        "DELETE" => access.demand(Permissions::DELETE),
        _ => access.demand_write(hub::files::Condition::Any).map(|_| ()),
    }
}

fn leave(app: &App, hub: &Hub, peer: &Peer, blob: &BlobName, outcome: Outcome) {
    let hub = Some(hub.name().clone());
    let origin = Origin::new(peer.address, "https").claiming(hub, Some(blob.owner()), None);
    app.records.leave(origin, outcome);
}

fn outcome(refusal: SasRefusal) -> Outcome {
    Outcome::new(
        Kind::Refused,
        refusal.step(),
        refusal.label(),
        refusal.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_clients_write_them() {
        for path in ["/uploads/d/f", "/uploads/d%2Ff", "/uploads/"] {
            assert!(is_address(path), "{path}");
        }
        for path in [
            "/uploads",
            "/uploadsx/d",
            "/devices/uploads/x",
            "/Uploads/d/f",
            "uploads/d",
        ] {
            assert!(!is_address(path), "{path}");
        }
    }
}
