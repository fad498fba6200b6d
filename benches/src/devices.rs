//! The devices of a benchmark: their names, keys and topics, and their creation through the bulk call of the service API.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::service::{Service, ServiceConnection};
use crate::token::Signer;

/// Most devices that one bulk call takes.
const BULK_DEVICES_MAX: usize = 100;

/// Connections that load at the same time; the server has two cores at most, one of them for us.
const LOADERS: usize = 4;

/// The device of a number.
pub(crate) fn id(device: usize) -> String {
    format!("device-{device:07}")
}

/// Where it sends telemetry.
pub(crate) fn topic(device: usize) -> String {
    format!("devices/{}/messages/events/", id(device))
}

/// What a device subscribes to for direct methods.
pub(crate) const METHODS: &str = "$iothub/methods/POST/#";
/// What it subscribes to for the answers to what it asks of its twin.
pub(crate) const TWIN_RESPONSES: &str = "$iothub/twin/res/#";
/// What it subscribes to for changes of its desired properties.
pub(crate) const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/#";

/// What it subscribes to for commands.
pub(crate) fn commands(device: usize) -> String {
    format!("devices/{}/messages/devicebound/#", id(device))
}

/// Where it sends telemetry over AMQP and HTTPS.
pub(crate) fn events_address(device: usize) -> String {
    format!("/devices/{}/messages/events", id(device))
}

/// Where it takes commands over AMQP.
pub(crate) fn commands_address(device: usize) -> String {
    format!("/devices/{}/messages/devicebound", id(device))
}

/// A token that it makes with its own key.
pub(crate) fn token(host: &str, device: usize, expiry_epoch_secs: u64) -> String {
    let resource = format!("{host}/devices/{}", id(device));
    Signer::device(&key(device, Slot::Primary)).token(&resource, expiry_epoch_secs)
}

/// Creates devices 0 to `count`, each with keys of its own.
pub(crate) async fn create(service: &Service, count: usize) -> Result<(), Failure> {
    create_with(service, count, keys).await
}

/// Creates devices 0 to `count` with what a function says for the field `authentication` of each.
pub(crate) async fn create_with(
    service: &Service,
    count: usize,
    authentication: impl Fn(usize) -> Value + Send + Sync + 'static,
) -> Result<(), Failure> {
    let authentication = Arc::new(authentication);
    let mut loaders = tokio::task::JoinSet::new();
    for loader in 0..LOADERS.min(count.div_ceil(BULK_DEVICES_MAX)) {
        let mut connection = service.connect().await?;
        let authentication = Arc::clone(&authentication);
        loaders.spawn(async move {
            let starts = (0..count).step_by(BULK_DEVICES_MAX).skip(loader).step_by(LOADERS);
            for start in starts {
                let devices = start..count.min(start + BULK_DEVICES_MAX);
                let entries = devices.map(|device| Entry::new(device, authentication(device)));
                create_some(&mut connection, entries.collect()).await?;
            }
            Ok(())
        });
    }
    while let Some(result) = loaders.join_next().await {
        result.map_err(|error| Failure::environment("a loader ended", error))??;
    }
    Ok(())
}

async fn create_some(connection: &mut ServiceConnection, entries: Vec<Entry>) -> Result<(), Failure> {
    let body = serde_json::to_string(&entries)
        .map_err(|error| Failure::environment("writing a bulk call", error))?;
    connection.post("/devices?api-version=2021-04-12", body).await
}

/// A line of the bulk call (`ExportImportDevice`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: String,
    import_mode: &'static str,
    status: &'static str,
    authentication: Value,
}

impl Entry {
    fn new(device: usize, authentication: Value) -> Self {
        Self {
            id: id(device),
            import_mode: "createOrUpdate",
            status: "enabled",
            authentication,
        }
    }
}

/// The field `authentication` of a device with keys of its own.
fn keys(device: usize) -> Value {
    let key = |slot| STANDARD.encode(key(device, slot));
    json!({
        "type": "sas",
        "symmetricKey": { "primaryKey": key(Slot::Primary), "secondaryKey": key(Slot::Secondary) },
    })
}

#[derive(Clone, Copy)]
enum Slot {
    Primary = 1,
    Secondary = 2,
}

/// Keys are derived from the number: a generator that holds a million of them has nothing to remember. Each is 32 bytes that
/// do not compress, as real ones.
fn key(device: usize, slot: Slot) -> Vec<u8> {
    let seed = hmac::Key::new(hmac::HMAC_SHA256, b"devices of a benchmark");
    let tag = hmac::sign(&seed, format!("{device}/{}", slot as u8).as_bytes());
    tag.as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_as_the_service_api_wants_it() {
        let entry = serde_json::to_value(Entry::new(7, keys(7))).unwrap();
        assert_eq!(entry["id"], "device-0000007");
        assert_eq!(entry["importMode"], "createOrUpdate");
        assert_eq!(entry["authentication"]["type"], "sas");
        let keys = &entry["authentication"]["symmetricKey"];
        assert_eq!(keys["primaryKey"].as_str().unwrap().len(), 44);
        assert_ne!(keys["primaryKey"], keys["secondaryKey"]);
    }
}
