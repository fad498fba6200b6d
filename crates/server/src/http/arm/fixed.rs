//! Properties of a hub that cannot be changed as a resource: taken when they are as they are, refused when they are not.

use hub::error::{Code, Error};
use serde_json::{Map, Value};

/// Properties, and where what they say is decided instead.
const FIXED: [(&str, &str); 16] = [
    ("hostName", "hubs.NAME.host_names of the configuration"),
    (
        "eventHubEndpoints",
        "hubs.NAME.partition_count and hubs.NAME.retention_age of the configuration",
    ),
    ("routing", "nowhere: there is no message routing"),
    (
        "storageEndpoints",
        "limits.file_sas_life_secs of the configuration",
    ),
    (
        "messagingEndpoints",
        "limits.file_notification_* of the configuration",
    ),
    (
        "enableFileUploadNotifications",
        "hubs.NAME.file_notifications of the configuration",
    ),
    (
        "cloudToDevice",
        "limits.command_* and limits.feedback_* of the configuration",
    ),
    ("features", "nowhere: every hub has all features"),
    (
        "publicNetworkAccess",
        "listeners of the configuration, and network rules",
    ),
    (
        "restrictOutboundNetworkAccess",
        "nowhere: the hub calls nobody on its own",
    ),
    ("allowedFqdnList", "nowhere: the hub calls nobody on its own"),
    (
        "privateEndpointConnections",
        "nowhere: there are no private endpoints",
    ),
    ("encryption", "the master key of the server"),
    ("deviceStreams", "nowhere: there are no device streams"),
    ("rootCertificate", "tls.certificate of the configuration"),
    (
        "deviceRegistry",
        "nowhere: devices are registered with the hub itself",
    ),
];

/// Looks whether what is given differs from what is there.
///
/// # Errors
/// `InvalidOperation`, which names the first that does.
pub(super) fn check(given: &Map<String, Value>, identity: &Value, current: &Value) -> Result<(), Error> {
    let nothing = Value::Null;
    for (name, place) in FIXED {
        let Some(wanted) = given.get(name) else {
            continue;
        };
        let path = format!("/properties/{name}");
        let is = current.pointer(&path).unwrap_or(&nothing);
        if !agrees(wanted, is) {
            return Err(refused(&format!("properties.{name}"), place));
        }
    }
    let kind = identity.get("type").and_then(Value::as_str).unwrap_or("None");
    if !kind.eq_ignore_ascii_case("None") {
        return Err(refused("identity", "nowhere: a hub has no identity of its own"));
    }
    Ok(())
}

fn refused(name: &str, place: &str) -> Error {
    Error::peer(
        Code::InvalidOperation,
        format!("{name} cannot be changed as a resource; it is decided by {place}"),
    )
}

/// Whether everything that is wanted is there. What says nothing (null, false, an empty list or text) agrees with nothing.
fn agrees(wanted: &Value, is: &Value) -> bool {
    match (wanted, is) {
        (Value::Object(wanted), Value::Object(is)) => wanted
            .iter()
            .all(|(name, wanted)| agrees(wanted, is.get(name).unwrap_or(&Value::Null))),
        (Value::Object(wanted), Value::Null) => wanted.values().all(|wanted| agrees(wanted, is)),
        (Value::Array(wanted), Value::Array(is)) => {
            wanted.len() == is.len() && wanted.iter().zip(is).all(|(wanted, is)| agrees(wanted, is))
        }
        (wanted, Value::Null) => says_nothing(wanted),
        // A member that was read and is written back without its value.
        (Value::Null, _) => true,
        // Words of the resource manager compare without case.
        (Value::String(wanted), Value::String(is)) => wanted.eq_ignore_ascii_case(is),
        (wanted, is) => wanted == is,
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty() || text == "Enabled",
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(says_nothing),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn current() -> Value {
        json!({ "properties": {
            "eventHubEndpoints": { "events": { "partitionCount": 4, "partitionIds": ["0", "1"] } },
            "routing": { "routes": [], "fallbackRoute": { "condition": "true", "isEnabled": true } },
            "features": "None",
        } })
    }

    fn ask(properties: &Value) -> Result<(), Error> {
        check(properties.as_object().unwrap(), &Value::Null, &current())
    }

    #[test]
    fn what_was_read_may_be_written_back() {
        let all = current();
        ask(&all["properties"]).unwrap();
        for harmless in [
            json!({}),
            json!({ "eventHubEndpoints": { "events": { "partitionCount": 4 } } }),
            json!({ "routing": { "routes": null } }),
            json!({ "privateEndpointConnections": [], "restrictOutboundNetworkAccess": false }),
            json!({ "publicNetworkAccess": "Enabled", "features": "none" }),
            json!({ "somethingNew": 7 }),
        ] {
            ask(&harmless).unwrap_or_else(|error| panic!("{harmless}: {error}"));
        }
    }

    #[test]
    fn another_value_is_refused_by_name() {
        for (other, named) in [
            (
                json!({ "eventHubEndpoints": { "events": { "partitionCount": 8 } } }),
                "properties.eventHubEndpoints",
            ),
            (json!({ "routing": { "routes": [{}] } }), "properties.routing"),
            (
                json!({ "routing": { "fallbackRoute": { "isEnabled": false } } }),
                "properties.routing",
            ),
            (
                json!({ "publicNetworkAccess": "Disabled" }),
                "properties.publicNetworkAccess",
            ),
            (
                json!({ "encryption": { "keySource": "x" } }),
                "properties.encryption",
            ),
            (json!({ "features": "DeviceManagement" }), "properties.features"),
        ] {
            let error = ask(&other).unwrap_err();
            assert_eq!(error.code(), Code::InvalidOperation);
            assert!(error.message().starts_with(named), "{error}");
        }
        let identity = json!({ "type": "SystemAssigned" });
        let error = check(&Map::new(), &identity, &current()).unwrap_err();
        assert!(error.message().contains("identity"), "{error}");
    }
}
