//! New keys for identities that are there (service-rest.md 4.6, `keys/regenerate`).
//!
//! An identity has two keys so that one can be replaced while the other is in use: draw the one that nobody uses, move the device to
//! it, then draw the other. A connection that stands on a key that is gone ends; that of the other key does not notice.
//!
//! Entries of a request stand alone, as those of a bulk request: those that fail are listed, the others are done.

use std::collections::{BTreeMap, HashSet};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::access::operation;
use crate::access::proof::{Authorized, ModuleCaller};
use crate::clock::Timestamp;
use crate::entropy::Entropy;
use crate::error::{Code, Error};
use crate::limits::{Limit, Limits};
use crate::secret::SymmetricKey;

use super::bulk_result::clip;
use super::device_json::unreadable;
use super::module_registry::{check_system, held, module_not_found};
use super::registry::{Demand, load, load_module, not_found};
use super::{Authentication, Device, DeviceId, IdentityId, IfMatch, Module, ModuleId, Registry};

/// Which keys become others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRotation {
    /// A new primary key.
    Primary,
    /// A new secondary key.
    Secondary,
    /// Two new keys: whoever is connected is put out.
    Both,
    /// Each in the place of the other: nobody is put out.
    Swap,
}

impl KeyRotation {
    /// Reads the name on the wire; `swap` is Ironhub's own.
    ///
    /// # Errors
    /// `InvalidPolicyKey`.
    pub fn parse(name: &str) -> Result<Self, Error> {
        match name {
            "primaryKey" => Ok(Self::Primary),
            "secondaryKey" => Ok(Self::Secondary),
            "both" => Ok(Self::Both),
            "swap" => Ok(Self::Swap),
            _ => Err(Error::peer(
                Code::InvalidPolicyKey,
                "policyKey is primaryKey, secondaryKey, both or swap",
            )),
        }
    }

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Primary => "primaryKey",
            Self::Secondary => "secondaryKey",
            Self::Both => "both",
            Self::Swap => "swap",
        }
    }

    /// The credentials afterwards.
    fn of(self, before: &Authentication, entropy: &dyn Entropy) -> Result<Authentication, Error> {
        let Authentication::Sas { primary, secondary } = before else {
            return Err(Error::argument(format!(
                "The identity has no keys: it logs in with {}",
                before.type_name()
            )));
        };
        let new = || SymmetricKey::generate(entropy);
        let (primary, secondary) = match self {
            Self::Primary => (new(), secondary.clone()),
            Self::Secondary => (primary.clone(), new()),
            Self::Both => (new(), new()),
            Self::Swap => (secondary.clone(), primary.clone()),
        };
        Ok(Authentication::Sas { primary, secondary })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    policy_key: String,
    devices: Vec<EntryBody>,
}

#[derive(Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
struct EntryBody {
    id: String,
    module_id: Option<String>,
}

/// A read request: at most the limit's number of entries, no identity twice.
pub struct RegenerateRequest {
    rotation: KeyRotation,
    entries: Vec<EntryBody>,
}

impl RegenerateRequest {
    /// Reads `{"policyKey":"primaryKey","devices":[{"id":"d1","moduleId":"m1"}]}`.
    ///
    /// # Errors
    /// `DeserializationError`, `InvalidPolicyKey`, `TooManyDevices`, `DeviceDefinedMultipleTimes`, `ArgumentInvalid` without entries.
    pub fn from_json(body: &[u8], limits: &Limits) -> Result<Self, Error> {
        limits
            .check_len(Limit::RegistryBodyBytesMax, body.len())
            .map_err(|exceeded| Error::peer(Code::GenericRequestEntityTooLarge, exceeded.to_string()))?;
        let body: Body = serde_json::from_slice(body)
            .map_err(|error| unreadable("an object with policyKey and devices", &error))?;
        let rotation = KeyRotation::parse(&body.policy_key)?;
        let mut entries = body.devices;
        limits
            .check_len(Limit::BulkDevicesMax, entries.len())
            .map_err(|exceeded| Error::peer(Code::TooManyDevices, exceeded.to_string()))?;
        if entries.is_empty() {
            return Err(Error::argument("The list devices is empty"));
        }
        for entry in &mut entries {
            entry.module_id = entry.module_id.take().filter(|id| !id.is_empty());
        }
        let mut seen = HashSet::new();
        if let Some(twice) = entries.iter().find(|entry| !seen.insert(*entry)) {
            return Err(Error::peer(Code::DeviceDefinedMultipleTimes, clip(&twice.id)));
        }
        Ok(Self { rotation, entries })
    }
}

/// The answer to a request. It holds keys, therefore no `Debug`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegenerateResult {
    policy_key: &'static str,
    rotated_keys: Vec<RotatedKeys>,
    errors: Vec<RegenerateError>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RotatedKeys {
    id: String,
    module_id: Option<String>,
    primary_key: String,
    secondary_key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RegenerateError {
    id: String,
    module_id: Option<String>,
    error_code: &'static str,
    error_status: String,
}

/// How much of a request was done: 200, 207 and 400 over HTTPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Every entry.
    All,
    /// Some of them.
    Part,
    /// None.
    Nothing,
}

impl RegenerateResult {
    /// How much was done.
    pub fn extent(&self) -> Extent {
        match (self.rotated_keys.is_empty(), self.errors.is_empty()) {
            (_, true) => Extent::All,
            (false, false) => Extent::Part,
            (true, false) => Extent::Nothing,
        }
    }
}

impl Registry {
    /// Gives identities other keys. Each is one change, as if it were written again, with its entry in the audit trail.
    pub async fn regenerate(
        &self,
        proof: &Authorized<operation::WriteDevices>,
        request: RegenerateRequest,
    ) -> RegenerateResult {
        let rotation = request.rotation;
        // Entries of one device one after the other, as each holds the device still; devices side by side.
        let mut devices: BTreeMap<String, Vec<(usize, EntryBody)>> = BTreeMap::new();
        for (position, entry) in request.entries.into_iter().enumerate() {
            devices
                .entry(entry.id.clone())
                .or_default()
                .push((position, entry));
        }
        let run = |entries: Vec<(usize, EntryBody)>| async move {
            let mut outcomes = Vec::with_capacity(entries.len());
            for (position, entry) in entries {
                let outcome = self.regenerate_entry(proof, &entry, rotation).await;
                outcomes.push((position, entry, outcome));
            }
            outcomes
        };
        let mut outcomes: Vec<_> = join_all(devices.into_values().map(run))
            .await
            .into_iter()
            .flatten()
            .collect();
        outcomes.sort_by_key(|(position, _, _)| *position);
        let mut result = RegenerateResult {
            policy_key: rotation.name(),
            rotated_keys: Vec::new(),
            errors: Vec::new(),
        };
        for (_, entry, outcome) in outcomes {
            match outcome {
                Ok((primary_key, secondary_key)) => result.rotated_keys.push(RotatedKeys {
                    id: entry.id,
                    module_id: entry.module_id,
                    primary_key,
                    secondary_key,
                }),
                Err(error) => result.errors.push(RegenerateError {
                    id: clip(&entry.id),
                    module_id: entry.module_id.as_deref().map(clip),
                    error_code: error.code().name(),
                    error_status: error.message().to_owned(),
                }),
            }
        }
        result
    }

    async fn regenerate_entry(
        &self,
        proof: &Authorized<operation::WriteDevices>,
        entry: &EntryBody,
        rotation: KeyRotation,
    ) -> Result<(String, String), Error> {
        let device = DeviceId::parse(&entry.id).map_err(|error| Error::argument(error.to_string()))?;
        let module = entry.module_id.as_deref().map(ModuleId::parse).transpose();
        let module = module.map_err(|error| Error::argument(error.to_string()))?;
        let identity = IdentityId { device, module };
        match self.rotate_keys(proof, &identity, rotation).await? {
            Authentication::Sas { primary, secondary } => {
                Ok((primary.expose().to_owned(), secondary.expose().to_owned()))
            }
            _ => Err(Error::bug("an identity lost its keys by their rotation")),
        }
    }

    /// Gives an identity other keys; the answer is its credentials afterwards.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`, `SystemModuleModifyUnauthorizedAccess`, and `ArgumentInvalid` for one without keys.
    pub async fn rotate_keys(
        &self,
        proof: &Authorized<operation::WriteDevices>,
        identity: &IdentityId,
        rotation: KeyRotation,
    ) -> Result<Authentication, Error> {
        for _ in 0..self.limits.get(Limit::WriteAttemptsMax) {
            let rotated = match &identity.module {
                None => {
                    self.try_rotating_device(proof, &identity.device, rotation)
                        .await?
                }
                Some(module) => {
                    self.try_rotating_module(proof, &identity.device, module, rotation)
                        .await?
                }
            };
            if let Some(authentication) = rotated {
                return Ok(authentication);
            }
        }
        Err(self.contended())
    }

    /// Nothing when somebody else was faster.
    async fn try_rotating_device(
        &self,
        proof: &Authorized<operation::WriteDevices>,
        id: &DeviceId,
        rotation: KeyRotation,
    ) -> Result<Option<Authentication>, Error> {
        let hub = proof.hub();
        let found = load(&*self.store, &self.vault, hub, id)
            .await?
            .ok_or_else(|| not_found(id))?;
        let before = &found.0;
        let authentication = rotation.of(&before.authentication, &*self.entropy)?;
        let device = Device {
            etag: before.etag.next(),
            authentication: authentication.clone(),
            authentication_updated: self.rotated(
                (&before.authentication, before.authentication_updated),
                &authentication,
                rotation,
            ),
            ..before.clone()
        };
        let batch = self.written(hub, Some(found), &device).await?;
        let is_applied = self.apply(hub, proof.caller(), batch).await?;
        Ok(is_applied.then_some(authentication))
    }

    async fn try_rotating_module(
        &self,
        proof: &Authorized<operation::WriteDevices>,
        device: &DeviceId,
        id: &ModuleId,
        rotation: KeyRotation,
    ) -> Result<Option<Authentication>, Error> {
        let hub = proof.hub();
        let caller = ModuleCaller::Service(proof.clone());
        let parent = self.parent(&caller, device).await?;
        let found = load_module(&*self.store, &self.vault, hub, device, id)
            .await?
            .ok_or_else(|| module_not_found(device, id))?;
        check_system(&caller, id, true, &Demand::Update(IfMatch::Any))?;
        let before = &found.0;
        let authentication = rotation.of(&before.authentication, &*self.entropy)?;
        let module = Module {
            etag: before.etag.next(),
            authentication: authentication.clone(),
            authentication_updated: self.rotated(
                (&before.authentication, before.authentication_updated),
                &authentication,
                rotation,
            ),
            ..before.clone()
        };
        let mut batch = self.batch();
        batch.extend([held(parent)]);
        batch.change_module(hub, Some(found), Some(module))?;
        let is_applied = self.apply(hub, proof.caller(), batch).await?;
        Ok(is_applied.then_some(authentication))
    }

    /// Since when the keys are as they are: keys that only change places are as old as before.
    fn rotated(
        &self,
        was: (&Authentication, crate::clock::Timestamp),
        is: &Authentication,
        rotation: KeyRotation,
    ) -> Timestamp {
        match rotation {
            KeyRotation::Swap => was.1,
            KeyRotation::Primary | KeyRotation::Secondary | KeyRotation::Both => self.updated(was, is),
        }
    }
}
