//! The JSON of a device on the wire (service-rest.md 4.1). The stored form is another one ([`super::stored`]), so that neither
//! holds back the other.
//!
//! Fields come in the order of recorded answers. Fields that are unknown or belong to the hub are ignored when read, because
//! clients send back whole documents. Errors name a position, never a piece of the body: it may hold keys.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::{Code, Error};
use crate::limits::{Limit, Limits};

use super::authentication_json::{AuthenticationBody, AuthenticationJson};
use super::device::{Device, Draft, Live, Status};
use super::placement::EdgeScope;
use super::{DeviceId, Etag, GenerationId};

/// A device as answered; serialise it with `serde_json`. Holds keys, therefore neither `Debug` nor `Display`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceJson<'a> {
    device_id: &'a str,
    #[serde(serialize_with = "as_text")]
    generation_id: GenerationId,
    #[serde(serialize_with = "as_text")]
    etag: Etag,
    connection_state: &'static str,
    status: &'static str,
    status_reason: Option<&'a str>,
    connection_state_updated_time: Timestamp,
    status_updated_time: Timestamp,
    last_activity_time: Timestamp,
    cloud_to_device_message_count: u64,
    authentication: AuthenticationJson<'a>,
    capabilities: CapabilitiesJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_scopes: Option<[&'a str; 1]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CapabilitiesJson {
    iot_edge: bool,
}

impl<'a> DeviceJson<'a> {
    /// The answer for a device, joined with what the connection layer knows.
    pub fn new(device: &'a Device, live: &Live) -> Self {
        let scope = device.placement.device_scope();
        let parent = device.placement.parent();
        Self {
            device_id: device.id.as_str(),
            generation_id: device.generation,
            etag: device.etag,
            connection_state: live.connection_state(),
            status: device.status.name(),
            status_reason: device.status_reason.as_deref(),
            connection_state_updated_time: live.connection_state_updated,
            status_updated_time: device.status_updated,
            last_activity_time: live.last_activity,
            cloud_to_device_message_count: live.commands,
            authentication: AuthenticationJson::new(&device.authentication),
            capabilities: CapabilitiesJson {
                iot_edge: device.placement.is_edge(),
            },
            device_scope: scope.map(EdgeScope::as_str),
            parent_scopes: parent.map(|scope| [scope.as_str()]),
        }
    }
}

pub(super) fn as_text<T: std::fmt::Display, S: serde::Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// The client's fields; a bulk entry holds the same ones beside its own.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body {
    pub(super) device_id: Option<String>,
    pub(super) status: Option<String>,
    pub(super) status_reason: Option<String>,
    pub(super) authentication: Option<AuthenticationBody>,
    pub(super) capabilities: Option<CapabilitiesBody>,
    pub(super) device_scope: Option<String>,
    pub(super) parent_scopes: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CapabilitiesBody {
    iot_edge: Option<bool>,
}

impl Draft {
    /// Reads the body of a request about `id`. A body that names a device must name this one.
    pub fn from_json(body: &[u8], id: &DeviceId, limits: &Limits) -> Result<Self, Error> {
        limits
            .check_len(Limit::RegistryBodyBytesMax, body.len())
            .map_err(|exceeded| Error::peer(Code::GenericRequestEntityTooLarge, exceeded.to_string()))?;
        let body: Body = serde_json::from_slice(body).map_err(|error| unreadable("a device", &error))?;
        if body
            .device_id
            .as_deref()
            .is_some_and(|named| named != id.as_str())
        {
            return Err(Error::argument(
                "The deviceId in the body is not the one in the path",
            ));
        }
        body.into_draft(limits)
    }
}

/// The error of a body that is not what it should be. The parser's own text is left out, because it quotes the body.
pub(super) fn unreadable(expected: &str, error: &serde_json::Error) -> Error {
    Error::peer(
        Code::DeserializationError,
        format!(
            "The body is not the JSON of {expected}, see line {}, column {}",
            error.line(),
            error.column()
        ),
    )
}

impl Body {
    pub(super) fn into_draft(self, limits: &Limits) -> Result<Draft, Error> {
        let status = match self.status.as_deref() {
            None | Some("") => Status::Enabled,
            Some(text) if text.eq_ignore_ascii_case("enabled") => Status::Enabled,
            Some(text) if text.eq_ignore_ascii_case("disabled") => Status::Disabled,
            Some(_) => return Err(Error::argument("status is neither enabled nor disabled")),
        };
        if let Some(reason) = &self.status_reason {
            limits.check_len(Limit::StatusReasonCharsMax, reason.chars().count())?;
        }
        let mut parents = self.parent_scopes.unwrap_or_default();
        if parents.len() > 1 {
            return Err(Error::argument("A device has at most one parent scope"));
        }
        Ok(Draft {
            status,
            status_reason: self.status_reason,
            authentication: self.authentication.unwrap_or_default().wanted()?,
            edge: self
                .capabilities
                .and_then(|capabilities| capabilities.iot_edge)
                .unwrap_or_default(),
            device_scope: self.device_scope.filter(|scope| !scope.is_empty()),
            parent_scope: parents.pop().filter(|scope| !scope.is_empty()),
        })
    }
}
