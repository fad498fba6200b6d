//! The JSON of a twin as services read it (service-rest.md 5.1). Members come in the order of recorded answers.

use serde::Serialize;

use crate::clock::Timestamp;
use crate::identity::{Authentication, EdgeScope, Etag, Live, Thumbprint};

use super::section_json::{Metadata, SectionJson, ValuesJson};
use super::{Twin, TwinEtag, TwinView};

/// A twin as answered; serialise it with `serde_json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TwinJson<'a> {
    device_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<&'a str>,
    #[serde(serialize_with = "as_text")]
    etag: TwinEtag,
    #[serde(serialize_with = "as_text")]
    device_etag: Etag,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<&'a str>,
    status_update_time: Timestamp,
    connection_state: &'static str,
    last_activity_time: Timestamp,
    cloud_to_device_message_count: u64,
    authentication_type: &'static str,
    #[serde(rename = "x509Thumbprint")]
    x509_thumbprint: ThumbprintJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<&'a str>,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<ValuesJson<'a>>,
    properties: PropertiesJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<CapabilitiesJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_scopes: Option<[&'a str; 1]>,
}

/// Lower case for every kind of credential: the service capitalises those of `selfSigned`, and a client loses them then.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct ThumbprintJson<'a> {
    primary_thumbprint: Option<&'a str>,
    secondary_thumbprint: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct PropertiesJson<'a> {
    desired: SectionJson<'a>,
    reported: SectionJson<'a>,
}

impl<'a> PropertiesJson<'a> {
    pub(super) fn new(twin: &'a Twin) -> Self {
        Self {
            desired: SectionJson {
                section: &twin.desired,
                metadata: Metadata::Versions,
            },
            reported: SectionJson {
                section: &twin.reported,
                metadata: Metadata::Times,
            },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CapabilitiesJson {
    iot_edge: bool,
}

impl<'a> TwinJson<'a> {
    /// The answer for a twin, joined with what the connection layer knows.
    pub fn new(view: &'a TwinView, live: &Live) -> Self {
        let (twin, device) = (&view.twin, &view.found.device);
        let module = view.found.module.as_ref();
        let identity = view.found.identity();
        let authentication = match module {
            Some(module) => &module.authentication,
            None => &device.authentication,
        };
        // Capabilities and scopes are a device's; its modules do not repeat them.
        let placement = module.is_none().then_some(&device.placement);
        Self {
            device_id: device.id.as_str(),
            module_id: module.map(|module| module.id.as_str()),
            etag: twin.etag,
            device_etag: identity.etag(),
            status: view.found.status().name(),
            status_reason: device.status_reason.as_deref(),
            status_update_time: view.found.status_updated(),
            connection_state: if live.connected {
                "Connected"
            } else {
                "Disconnected"
            },
            last_activity_time: live.last_activity,
            cloud_to_device_message_count: live.commands,
            authentication_type: authentication.type_name(),
            x509_thumbprint: ThumbprintJson::new(authentication),
            model_id: twin.model_id.as_deref(),
            version: twin.version,
            tags: twin.tags.as_ref().map(|tags| ValuesJson(&tags.members)),
            properties: PropertiesJson::new(twin),
            capabilities: placement.map(|placement| CapabilitiesJson {
                iot_edge: placement.is_edge(),
            }),
            device_scope: placement
                .and_then(|placement| placement.device_scope())
                .map(EdgeScope::as_str),
            parent_scopes: placement
                .and_then(|placement| placement.parent())
                .map(|scope| [scope.as_str()]),
        }
    }
}

impl<'a> ThumbprintJson<'a> {
    fn new(authentication: &'a Authentication) -> Self {
        match authentication {
            Authentication::SelfSigned { primary, secondary } => Self {
                primary_thumbprint: primary.as_ref().map(Thumbprint::as_str),
                secondary_thumbprint: secondary.as_ref().map(Thumbprint::as_str),
            },
            _ => Self::default(),
        }
    }
}

pub(super) fn as_text<T: std::fmt::Display, S: serde::Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
