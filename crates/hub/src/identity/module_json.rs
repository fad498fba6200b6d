//! The JSON of a module on the wire (service-rest.md 4.1): fields in the order of recorded answers, as [`super::device_json`].

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::{Code, Error};
use crate::limits::{Limit, Limits};

use super::authentication_json::{AuthenticationBody, AuthenticationJson};
use super::device::Live;
use super::device_json::{as_text, unreadable};
use super::module::{Module, ModuleDraft};
use super::{DeviceId, Etag, GenerationId, ModuleId};

/// A module as answered; serialise it with `serde_json`. Holds keys, therefore neither `Debug` nor `Display`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleJson<'a> {
    module_id: &'a str,
    managed_by: Option<&'a str>,
    device_id: &'a str,
    #[serde(serialize_with = "as_text")]
    generation_id: GenerationId,
    #[serde(serialize_with = "as_text")]
    etag: Etag,
    connection_state: &'static str,
    connection_state_updated_time: Timestamp,
    last_activity_time: Timestamp,
    cloud_to_device_message_count: u64,
    authentication: AuthenticationJson<'a>,
}

impl<'a> ModuleJson<'a> {
    /// The answer for a module, joined with what the connection layer knows.
    pub fn new(module: &'a Module, live: &Live) -> Self {
        Self {
            module_id: module.id.as_str(),
            managed_by: module.managed_by.as_deref(),
            device_id: module.device.as_str(),
            generation_id: module.generation,
            etag: module.etag,
            connection_state: live.connection_state(),
            connection_state_updated_time: live.connection_state_updated,
            last_activity_time: live.last_activity,
            cloud_to_device_message_count: live.commands,
            authentication: AuthenticationJson::new(&module.authentication),
        }
    }
}

/// The client's fields; a bulk entry holds the same ones beside its own.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct ModuleBody {
    pub(super) device_id: Option<String>,
    pub(super) module_id: Option<String>,
    pub(super) managed_by: Option<String>,
    pub(super) authentication: Option<AuthenticationBody>,
}

impl ModuleDraft {
    /// Reads the body of a request about the module `id` of `device`. A body that names either must name these.
    pub fn from_json(body: &[u8], device: &DeviceId, id: &ModuleId, limits: &Limits) -> Result<Self, Error> {
        limits
            .check_len(Limit::RegistryBodyBytesMax, body.len())
            .map_err(|exceeded| Error::peer(Code::GenericRequestEntityTooLarge, exceeded.to_string()))?;
        let body: ModuleBody =
            serde_json::from_slice(body).map_err(|error| unreadable("a module", &error))?;
        let differs = |named: &Option<String>, id: &str| named.as_deref().is_some_and(|named| named != id);
        if differs(&body.device_id, device.as_str()) || differs(&body.module_id, id.as_str()) {
            return Err(Error::argument(
                "The deviceId or the moduleId in the body is not the one in the path",
            ));
        }
        body.into_draft(id, limits)
    }
}

impl ModuleBody {
    pub(super) fn into_draft(self, id: &ModuleId, limits: &Limits) -> Result<ModuleDraft, Error> {
        if let Some(manager) = &self.managed_by {
            limits.check_len(Limit::ManagedByCharsMax, manager.chars().count())?;
        }
        Ok(ModuleDraft {
            authentication: self.authentication.unwrap_or_default().wanted_of_module(id)?,
            managed_by: self.managed_by,
        })
    }
}
