//! Everything that is known about one identity, in words and numbers (`ironhub explain`).
//!
//! One right is asked for, the one that reads identities: whoever has it reads the connection records too. Versions of the twin
//! are shown to callers that may read twins. An identity that is not registered is no error here: that somebody tries to connect
//! as one is what a person who asks wants to hear.

use std::sync::Arc;

use hub::access::operation::{ReadDevices, ReadTwins};
use hub::bus::Address;
use hub::clock::Timestamp;
use hub::error::Error;
use hub::identity::{Authentication, Found, IdentityId, Live, ModuleId, Thumbprint};
use hub::presence::Presence;
use hub::records::{Filter, Kind, Record};
use hub::twins::TwinJson;
use hyper::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use super::reply::{self, Reply};
use super::request::Call;
use super::route::Target;

/// Refusals and closings that are told.
const RECORDS_TOLD_MAX: usize = 10;

/// What is known, as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation<'a> {
    /// The server's clock, to tell ages by.
    time: Timestamp,
    hub: &'a str,
    device_id: &'a str,
    module_id: Option<&'a str>,
    is_registered: bool,
    #[serde(flatten)]
    known: Option<Known>,
    /// Newest first.
    records: Vec<&'a Record>,
}

/// What is known of a registered identity.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    identity: Value,
    credential: Value,
    connection: Value,
    twin: Value,
    commands_waiting: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    modules: Option<usize>,
}

pub(super) async fn identity(call: &Call, target: &Target) -> Result<Reply, Error> {
    let proof = call.authorize::<ReadDevices>()?;
    let id = Call::identity(target)?;
    let known = match call.app.registry.find(&proof, &id).await? {
        None => None,
        Some(found) => {
            let address = Address {
                hub: call.hub.name().clone(),
                identity: id.clone(),
            };
            Some(Known {
                identity: identity_json(&found),
                credential: credential(&found),
                connection: connection(call, &id, call.app.presences.of(&address).await?),
                twin: twin(call, &id).await,
                commands_waiting: call.app.commands.depth(&address).await?,
                modules: match id.module {
                    Some(_) => None,
                    None => Some(call.app.registry.module_count(&proof, &id.device).await?),
                },
            })
        }
    };
    let records: Vec<_> = records(call, &id)
        .filter(|record| record.outcome.kind != Kind::Connected)
        .take(RECORDS_TOLD_MAX)
        .collect();
    let explanation = Explanation {
        time: call.app.clock.now(),
        hub: call.hub.name().as_str(),
        device_id: id.device.as_str(),
        module_id: id.module.as_ref().map(ModuleId::as_str),
        is_registered: known.is_some(),
        known,
        records: records.iter().map(AsRef::as_ref).collect(),
    };
    reply::json(StatusCode::OK, &explanation)
}

/// Status and reason are the device's, for its modules as well.
fn identity_json(found: &Found) -> Value {
    let identity = found.identity();
    let updated = found.status_updated();
    json!({
        "status": found.status().name(),
        "statusReason": found.device.status_reason,
        "statusUpdated": (updated != Timestamp::NEVER).then_some(updated),
        "etag": identity.etag().to_string(),
        "generationId": identity.generation().to_string(),
        "created": identity.generation().created(),
        "managedBy": found.module.as_ref().and_then(|module| module.managed_by.as_deref()),
        "isEdge": found.device.placement.is_edge(),
    })
}

/// Kind and age, never the credential itself; a thumbprint is public.
fn credential(found: &Found) -> Value {
    let identity = found.identity();
    let thumbprints = match identity.authentication() {
        Authentication::SelfSigned { primary, secondary } => {
            let given = [primary, secondary].into_iter().flatten();
            Some(given.map(Thumbprint::as_str).collect::<Vec<_>>())
        }
        _ => None,
    };
    json!({
        "type": identity.authentication().type_name(),
        "thumbprints": thumbprints,
        "set": identity.authentication_set(),
    })
}

/// Over which protocol and from where is known while the record of the login is kept.
fn connection(call: &Call, id: &IdentityId, presence: Presence) -> Value {
    let login = records(call, id)
        .find(|record| record.outcome.kind == Kind::Connected)
        .filter(|_| presence.connected);
    let seen = |time: Timestamp| (time != Timestamp::NEVER).then_some(time);
    json!({
        "isConnected": presence.connected,
        "since": seen(presence.changed),
        "lastActivity": seen(presence.last_activity),
        "protocol": login.as_ref().map(|record| record.origin.protocol),
        "peer": login.as_ref().map(|record| record.origin.peer),
    })
}

/// Its versions, or why they are not told.
async fn twin(call: &Call, id: &IdentityId) -> Value {
    let untold = |reason: &str| json!({ "untold": reason });
    let Some(right) = call.holds::<ReadTwins>() else {
        return untold("the caller has no right to read twins");
    };
    let view = match call.app.twins.get(&right, id).await {
        Ok(view) => view,
        Err(error) => return untold(error.message()),
    };
    let Ok(twin) = serde_json::to_value(TwinJson::new(&view, &Live::default())) else {
        return untold("it cannot be written as JSON");
    };
    json!({
        "version": twin.get("version"),
        "desiredVersion": twin.pointer("/properties/desired/$version"),
        "reportedVersion": twin.pointer("/properties/reported/$version"),
        "etag": twin.get("etag"),
    })
}

/// The records of exactly this identity, newest first; those of a peer that named no hub can only have meant the one there is.
fn records(call: &Call, id: &IdentityId) -> impl Iterator<Item = Arc<Record>> {
    let is_shared = call.app.hubs.all().len() > 1;
    let filter = Filter {
        hub: is_shared.then(|| call.hub.name().clone()),
        device: Some(id.device.as_str().to_owned()),
    };
    let module = id.module.clone();
    let kept = call.app.records.recent(&filter, usize::MAX);
    kept.into_iter()
        .rev()
        .filter(move |record| record.origin.module.as_deref() == module.as_ref().map(ModuleId::as_str))
}
