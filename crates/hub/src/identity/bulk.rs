//! Many registry operations in one request (service-rest.md 4.6).
//!
//! Entries stand alone: those that fail are listed, the others are applied. They run side by side, so that the store gathers
//! them into few commits. Refused: one batch for all, because one bad entry would then undo the good ones.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::access::proof::{Authorized, right};
use crate::error::{Code, Error};
use crate::limits::{Limit, Limits};
use crate::tenancy::HubName;

use super::device_json::{AuthenticationBody, Body, CapabilitiesBody, unreadable};
use super::registry::Demand;
use super::{DeviceId, IfMatch, ImportMode, Registry};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: Option<String>,
    module_id: Option<String>,
    #[serde(rename = "eTag")]
    etag: Option<String>,
    import_mode: Option<String>,
    status: Option<String>,
    status_reason: Option<String>,
    authentication: Option<AuthenticationBody>,
    capabilities: Option<CapabilitiesBody>,
    device_scope: Option<String>,
    parent_scopes: Option<Vec<String>>,
    tags: Option<Map<String, Value>>,
    properties: Option<Properties>,
}

#[derive(Deserialize)]
struct Properties {
    desired: Option<Map<String, Value>>,
}

/// A read request: at most the limit's number of entries, no identity twice.
pub struct BulkRequest {
    entries: Vec<Entry>,
}

impl BulkRequest {
    /// Reads the body: a bare array.
    ///
    /// # Errors
    /// `DeserializationError`, `TooManyDevices`, `DeviceDefinedMultipleTimes`.
    pub fn from_json(body: &[u8], limits: &Limits) -> Result<Self, Error> {
        limits
            .check_len(Limit::RegistryBodyBytesMax, body.len())
            .map_err(|exceeded| Error::peer(Code::GenericRequestEntityTooLarge, exceeded.to_string()))?;
        let entries: Vec<Entry> =
            serde_json::from_slice(body).map_err(|error| unreadable("an array of devices", &error))?;
        limits
            .check_len(Limit::BulkDevicesMax, entries.len())
            .map_err(|exceeded| Error::peer(Code::TooManyDevices, exceeded.to_string()))?;
        let mut seen = HashSet::new();
        for entry in &entries {
            if !seen.insert((&entry.id, &entry.module_id)) {
                return Err(Error::peer(
                    Code::DeviceDefinedMultipleTimes,
                    clip(entry.id.as_deref()),
                ));
            }
        }
        Ok(Self { entries })
    }
}

/// The answer to a bulk request: HTTP 200 when successful, 400 otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkResult {
    /// Whether every entry was applied.
    pub is_successful: bool,
    /// Entries that were not applied.
    pub errors: Vec<BulkError>,
    /// Entries that were applied in part.
    pub warnings: Vec<BulkWarning>,
}

/// An entry that was not applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkError {
    /// The device as named in the request.
    pub device_id: String,
    /// Name of the code.
    pub error_code: &'static str,
    /// The text for the caller.
    pub error_status: String,
    /// The module as named in the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// What was asked for.
    pub operation: String,
}

/// An entry that was applied in part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkWarning {
    /// The device.
    pub device_id: String,
    /// Which warning.
    pub warning_code: &'static str,
    /// The text for the caller.
    pub warning_status: String,
}

/// What came of one entry that was applied.
enum Outcome {
    Complete,
    WithoutTwin,
}

impl Registry {
    /// Applies every entry that can be applied.
    pub async fn bulk(&self, proof: &Authorized<right::RegistryWrite>, request: BulkRequest) -> BulkResult {
        let hub = proof.hub();
        let run = |entry: Entry| async move {
            let device_id = clip(entry.id.as_deref());
            let module_id = entry.module_id.as_deref().map(|id| clip(Some(id)));
            let operation = entry.import_mode.as_deref().map(|mode| clip(Some(mode)));
            let outcome = self.bulk_entry(hub, entry).await;
            (device_id, module_id, operation, outcome)
        };
        let mut result = BulkResult {
            is_successful: true,
            errors: Vec::new(),
            warnings: Vec::new(),
        };
        for (device_id, module_id, operation, outcome) in join_all(request.entries.into_iter().map(run)).await
        {
            match outcome {
                Ok(Outcome::Complete) => {}
                Ok(Outcome::WithoutTwin) => result.warnings.push(BulkWarning {
                    device_id,
                    warning_code: "DeviceRegisteredWithoutTwin",
                    warning_status: "The identity was written; its tags and desired properties were not"
                        .to_owned(),
                }),
                Err(error) => result.errors.push(BulkError {
                    device_id,
                    error_code: error.code().name(),
                    error_status: error.message().to_owned(),
                    module_id,
                    operation: operation.unwrap_or_else(|| ImportMode::default().to_string()),
                }),
            }
        }
        result.is_successful = result.errors.is_empty();
        result
    }

    async fn bulk_entry(&self, hub: &HubName, entry: Entry) -> Result<Outcome, Error> {
        let id = entry.device_id()?;
        let mode = entry.mode()?;
        let if_match = IfMatch::parse(entry.etag.as_deref());
        // An entry without an etag has nothing to compare, and is applied: recorded for deletions.
        let demand = match mode {
            ImportMode::Create => Demand::Create,
            ImportMode::CreateOrUpdate => Demand::Upsert(IfMatch::Any),
            ImportMode::CreateOrUpdateIfMatchEtag => Demand::Upsert(if_match),
            ImportMode::Update => Demand::Update(IfMatch::Any),
            ImportMode::UpdateIfMatchEtag => Demand::Update(if_match),
            ImportMode::Delete => {
                self.remove(hub, &id, &IfMatch::Any).await?;
                return Ok(Outcome::Complete);
            }
            ImportMode::DeleteIfMatchEtag => {
                self.remove(hub, &id, &if_match).await?;
                return Ok(Outcome::Complete);
            }
            ImportMode::UpdateTwin | ImportMode::UpdateTwinIfMatchEtag => {
                return Err(unsupported("This hub keeps no twins"));
            }
        };
        let outcome = if entry.has_twin() {
            Outcome::WithoutTwin
        } else {
            Outcome::Complete
        };
        let draft = entry.into_body().into_draft(&self.limits)?;
        self.write(hub, &id, &draft, &demand).await?;
        Ok(outcome)
    }
}

impl Entry {
    fn device_id(&self) -> Result<DeviceId, Error> {
        if self.module_id.as_deref().is_some_and(|id| !id.is_empty()) {
            return Err(unsupported("This hub keeps no module identities"));
        }
        let id = self
            .id
            .as_deref()
            .ok_or_else(|| Error::peer(Code::ArgumentNull, "The entry has no id"))?;
        DeviceId::parse(id).map_err(|error| Error::argument(error.to_string()))
    }

    fn mode(&self) -> Result<ImportMode, Error> {
        match self.import_mode.as_deref() {
            None => Ok(ImportMode::default()),
            Some(name) => ImportMode::parse(name).ok_or_else(|| Error::argument("The importMode is unknown")),
        }
    }

    /// Whether it says something about the twin. Exported devices carry empty sections and metadata; those say nothing.
    fn has_twin(&self) -> bool {
        let says = |section: &Map<String, Value>| section.keys().any(|name| !name.starts_with('$'));
        let desired = self
            .properties
            .as_ref()
            .and_then(|properties| properties.desired.as_ref());
        self.tags.as_ref().is_some_and(says) || desired.is_some_and(says)
    }

    fn into_body(self) -> Body {
        Body {
            device_id: None,
            status: self.status,
            status_reason: self.status_reason,
            authentication: self.authentication,
            capabilities: self.capabilities,
            device_scope: self.device_scope,
            parent_scopes: self.parent_scopes,
        }
    }
}

/// A text of the request, cut to what an id may have, to be repeated in the answer.
fn clip(text: Option<&str>) -> String {
    text.unwrap_or_default()
        .chars()
        .take(super::ID_BYTES_MAX)
        .collect()
}

fn unsupported(message: &'static str) -> Error {
    Error::operator(Code::FeatureNotSupported, message)
}
