//! Many registry operations in one request (service-rest.md 4.6).
//!
//! Entries stand alone: those that fail are listed, the others are applied. Those of one device, its modules included, are
//! applied in the order given; different devices run side by side, so that the store gathers them into few commits. Refused:
//! one batch for all, because one bad entry would then undo the good ones.
//!
//! What an entry says about a twin is written after its identity. If only that fails, the entry is applied in part, and a warning
//! says so.

use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::access::operation;
use crate::access::proof::{Authorized, ModuleCaller};
use crate::error::{Code, Error};
use crate::limits::{Limit, Limits};
use crate::twins::{TwinImport, Twins};

use super::authentication_json::AuthenticationBody;
use super::bulk_result::{BulkResult, Report, clip};
use super::device_json::{Body, CapabilitiesBody, unreadable};
use super::module_json::ModuleBody;
use super::registry::Demand;
use super::{DeviceId, IdentityId, IfMatch, ImportMode, ModuleId, Registry};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: Option<String>,
    module_id: Option<String>,
    managed_by: Option<String>,
    #[serde(rename = "eTag")]
    etag: Option<String>,
    import_mode: Option<String>,
    status: Option<String>,
    status_reason: Option<String>,
    authentication: Option<AuthenticationBody>,
    capabilities: Option<CapabilitiesBody>,
    device_scope: Option<String>,
    parent_scopes: Option<Vec<String>>,
    #[serde(rename = "twinETag", alias = "twinEtag")]
    twin_etag: Option<String>,
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
        let mut entries: Vec<Entry> =
            serde_json::from_slice(body).map_err(|error| unreadable("an array of devices", &error))?;
        limits
            .check_len(Limit::BulkDevicesMax, entries.len())
            .map_err(|exceeded| Error::peer(Code::TooManyDevices, exceeded.to_string()))?;
        for entry in &mut entries {
            entry.module_id = entry.module_id.take().filter(|id| !id.is_empty());
        }
        let mut seen = HashSet::new();
        for entry in &entries {
            if !seen.insert((&entry.id, &entry.module_id)) {
                let id = clip(entry.id.as_deref().unwrap_or_default());
                return Err(Error::peer(Code::DeviceDefinedMultipleTimes, id));
            }
        }
        Ok(Self { entries })
    }
}

/// What came of one entry that was applied.
enum Outcome {
    Complete,
    WithoutTwin(Error),
}

/// What an entry asks for.
enum Order {
    /// To write the identity, and its twin if the entry speaks of it.
    Write(Demand),
    /// To delete the identity.
    Delete(IfMatch),
    /// To write the twin alone.
    Twin(IfMatch),
}

impl Registry {
    /// Applies every entry that can be applied.
    pub async fn bulk(
        &self,
        proof: &Authorized<operation::BulkDevices>,
        request: BulkRequest,
        twins: &Twins,
    ) -> BulkResult {
        let run = |entries: Vec<(usize, Entry)>| async move {
            let mut outcomes = Vec::with_capacity(entries.len());
            for (position, entry) in entries {
                let report = entry.report();
                outcomes.push((position, report, self.bulk_entry(proof, entry, twins).await));
            }
            outcomes
        };
        let runs = join_all(by_device(request.entries).into_iter().map(run)).await;
        let mut outcomes: Vec<_> = runs.into_iter().flatten().collect();
        outcomes.sort_by_key(|(position, _, _)| *position);
        let mut result = BulkResult::default();
        for (_, report, outcome) in outcomes {
            match outcome {
                Ok(Outcome::Complete) => {}
                Ok(Outcome::WithoutTwin(error)) => result.warnings.push(report.without_twin(&error)),
                Err(error) => result.errors.push(report.failed(&error)),
            }
        }
        result.is_successful = result.errors.is_empty();
        result
    }

    async fn bulk_entry(
        &self,
        proof: &Authorized<operation::BulkDevices>,
        mut entry: Entry,
        twins: &Twins,
    ) -> Result<Outcome, Error> {
        let identity = IdentityId {
            device: entry.device_id()?,
            module: entry.module_id()?,
        };
        // Sections that cannot be read fail the entry before anything of it is written.
        let twin = entry.take_twin()?;
        match entry.order()? {
            Order::Write(demand) => {
                self.bulk_write(proof, &identity, entry, &demand).await?;
                if twin.is_empty() {
                    return Ok(Outcome::Complete);
                }
                match twins.import(proof, &identity, twin, IfMatch::Any).await {
                    Ok(_) => Ok(Outcome::Complete),
                    Err(error) => Ok(Outcome::WithoutTwin(error)),
                }
            }
            Order::Delete(if_match) => {
                self.bulk_remove(proof, &identity, &if_match).await?;
                Ok(Outcome::Complete)
            }
            Order::Twin(if_match) => {
                twins.import(proof, &identity, twin, if_match).await?;
                Ok(Outcome::Complete)
            }
        }
    }

    async fn bulk_write(
        &self,
        proof: &Authorized<operation::BulkDevices>,
        identity: &IdentityId,
        entry: Entry,
        demand: &Demand,
    ) -> Result<(), Error> {
        let device = &identity.device;
        match &identity.module {
            None => {
                let draft = entry.into_body().into_draft(&self.limits)?;
                self.write(proof.hub(), proof.caller(), device, &draft, demand)
                    .await?;
            }
            Some(module) => {
                let draft = entry.into_module_body().into_draft(module, &self.limits)?;
                let caller = ModuleCaller::Service(proof.clone());
                self.write_module(&caller, device, module, &draft, demand).await?;
            }
        }
        Ok(())
    }

    async fn bulk_remove(
        &self,
        proof: &Authorized<operation::BulkDevices>,
        identity: &IdentityId,
        if_match: &IfMatch,
    ) -> Result<(), Error> {
        match &identity.module {
            None => {
                self.remove(proof.hub(), proof.caller(), &identity.device, if_match)
                    .await
            }
            Some(module) => {
                let caller = ModuleCaller::Service(proof.clone());
                self.remove_module(&caller, &identity.device, module, if_match)
                    .await
            }
        }
    }
}

/// The entries of each device, each with its position in the request.
fn by_device(entries: Vec<Entry>) -> Vec<Vec<(usize, Entry)>> {
    let mut devices: HashMap<Option<String>, Vec<(usize, Entry)>> = HashMap::new();
    for (position, entry) in entries.into_iter().enumerate() {
        devices
            .entry(entry.id.clone())
            .or_default()
            .push((position, entry));
    }
    devices.into_values().collect()
}

impl Entry {
    fn report(&self) -> Report {
        let (id, module_id) = (self.id.as_deref(), self.module_id.as_deref());
        Report::new(id, module_id, self.import_mode.as_deref())
    }

    fn device_id(&self) -> Result<DeviceId, Error> {
        let id = self
            .id
            .as_deref()
            .ok_or_else(|| Error::peer(Code::ArgumentNull, "The entry has no id"))?;
        DeviceId::parse(id).map_err(|error| Error::argument(error.to_string()))
    }

    fn module_id(&self) -> Result<Option<ModuleId>, Error> {
        let id = self.module_id.as_deref().map(ModuleId::parse);
        id.transpose().map_err(|error| Error::argument(error.to_string()))
    }

    fn mode(&self) -> Result<ImportMode, Error> {
        match self.import_mode.as_deref() {
            None => Ok(ImportMode::default()),
            Some(name) => ImportMode::parse(name).ok_or_else(|| Error::argument("The importMode is unknown")),
        }
    }

    /// What it asks for. An etag counts in the modes that say so; an entry without one has nothing to compare, and is applied:
    /// recorded for deletions.
    fn order(&self) -> Result<Order, Error> {
        let if_match = || IfMatch::parse(self.etag.as_deref());
        Ok(match self.mode()? {
            ImportMode::Create => Order::Write(Demand::Create),
            ImportMode::CreateOrUpdate => Order::Write(Demand::Upsert(IfMatch::Any)),
            ImportMode::CreateOrUpdateIfMatchEtag => Order::Write(Demand::Upsert(if_match())),
            ImportMode::Update => Order::Write(Demand::Update(IfMatch::Any)),
            ImportMode::UpdateIfMatchEtag => Order::Write(Demand::Update(if_match())),
            ImportMode::Delete => Order::Delete(IfMatch::Any),
            ImportMode::DeleteIfMatchEtag => Order::Delete(if_match()),
            ImportMode::UpdateTwin => Order::Twin(IfMatch::Any),
            ImportMode::UpdateTwinIfMatchEtag => Order::Twin(IfMatch::parse(self.twin_etag.as_deref())),
        })
    }

    fn take_twin(&mut self) -> Result<TwinImport, Error> {
        let desired = self.properties.take().and_then(|properties| properties.desired);
        TwinImport::new(self.tags.take(), desired)
    }

    fn into_module_body(self) -> ModuleBody {
        ModuleBody {
            device_id: None,
            module_id: None,
            managed_by: self.managed_by,
            authentication: self.authentication,
        }
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
