//! The registry of a server's hubs: create, read, change and delete devices (service-rest.md 4.2); modules are in
//! [`super::module_registry`].
//!
//! Every change is one atomic batch: the document under compare-and-set, the counters, the parents it was judged by, and the
//! companions' writes. A conflict means that somebody else was faster; the change is judged again from what is there now.
//! After a change is durable that can end a connection, its holder is told to check again.

use std::sync::Arc;

use crate::access::proof::Authorized;
use crate::access::{Caller, operation};
use crate::audit::{self, Act, Entry, Subject};
use crate::bus::Bus;
use crate::clock::{Clock, Timestamp};
use crate::entropy::Entropy;
use crate::error::{Code, Error};
use crate::limits::{Limit, Limits, UNLIMITED};
use crate::secret::Vault;
use crate::store::{Collection, Key, Range, Store, Version};
use crate::tenancy::HubName;

use super::batch::{Batch, is_disabled_by};
use super::change::Companion;
use super::device::{Device, Draft};
use super::generation::Generations;
use super::placement::Placement;
use super::statistics::{self, Statistics};
use super::{Authentication, DeviceId, Etag, IfMatch, Module, ModuleId, stored, stored_module};

/// Keeps identities. One instance for the whole server; the hub comes with the caller's proof.
pub struct Registry {
    pub(super) limits: Arc<Limits>,
    pub(super) store: Arc<dyn Store>,
    pub(super) vault: Arc<Vault>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) companions: Vec<Arc<dyn Companion>>,
    pub(super) generations: Generations,
}

/// What a write demands of an identity that exists, and of one that does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Demand {
    /// It must not exist.
    Create,
    /// It must exist, with this etag.
    Update(IfMatch),
    /// If it exists it must have this etag.
    Upsert(IfMatch),
}

impl Registry {
    /// A registry over the seams.
    pub fn new(
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            limits,
            store,
            vault,
            bus,
            clock,
            entropy,
            companions: Vec::new(),
            generations: Generations::default(),
        }
    }

    /// Adds something that lives and dies with identities.
    pub fn with_companion(mut self, companion: Arc<dyn Companion>) -> Self {
        self.companions.push(companion);
        self
    }

    /// Creates a device (no If-Match) or replaces what a client may say about it (any If-Match), as PUT does.
    ///
    /// # Errors
    /// `DeviceAlreadyExists`, `DeviceNotFound`, `PreconditionFailed`, `InvalidDeviceScope`, `ArgumentInvalid`.
    pub async fn put(
        &self,
        proof: &Authorized<operation::WriteDevices>,
        id: &DeviceId,
        draft: &Draft,
        if_match: IfMatch,
    ) -> Result<Device, Error> {
        let demand = match if_match {
            IfMatch::Absent => Demand::Create,
            demanded => Demand::Update(demanded),
        };
        self.write(proof.hub(), proof.caller(), id, draft, &demand).await
    }

    /// Deletes a device.
    ///
    /// # Errors
    /// `PreconditionFailed` also when no etag is demanded: a client must say which device it means, or `*`.
    pub async fn delete(
        &self,
        proof: &Authorized<operation::DeleteDevices>,
        id: &DeviceId,
        if_match: &IfMatch,
    ) -> Result<(), Error> {
        if *if_match == IfMatch::Absent {
            return Err(Error::peer(Code::PreconditionFailed, "Etag missing"));
        }
        self.remove(proof.hub(), proof.caller(), id, if_match).await
    }

    /// A device, whose keys the caller will see: the audit trail tells of it.
    ///
    /// # Errors
    /// `DeviceNotFound`.
    pub async fn get(
        &self,
        proof: &Authorized<operation::ReadDevices>,
        id: &DeviceId,
    ) -> Result<Device, Error> {
        let found = load(&*self.store, &self.vault, proof.hub(), id).await?;
        let device = found.map(|(device, _)| device).ok_or_else(|| not_found(id))?;
        if device.authentication.has_keys() {
            let entry = Entry::new(proof.caller(), Act::DeviceKeysRead, Subject::device(id));
            self.note(proof.hub(), entry).await?;
        }
        Ok(device)
    }

    /// An identity of either kind, with its document's version; `None` when it is not registered.
    pub async fn find(
        &self,
        proof: &Authorized<operation::ReadDevices>,
        id: &super::IdentityId,
    ) -> Result<Option<super::Found>, Error> {
        super::found::find(&*self.store, proof.hub(), id).await
    }

    /// How many modules a device has.
    pub async fn module_count(
        &self,
        proof: &Authorized<operation::ReadDevices>,
        device: &DeviceId,
    ) -> Result<usize, Error> {
        let range = Range {
            collection: Collection::Modules,
            hub: proof.hub().clone(),
            prefix: format!("{device}/"),
            after: None,
            // Far above the limit of modules of a device.
            limit: 10_000,
        };
        Ok(self.store.scan(&range).await?.len())
    }

    /// The first devices by id, whose keys the caller will see; a `top` outside 1 to the limit means the limit.
    pub async fn list(
        &self,
        proof: &Authorized<operation::ReadDevices>,
        top: Option<u64>,
    ) -> Result<Vec<Device>, Error> {
        let max = self.limits.get(Limit::ListDevicesMax);
        let top = top.filter(|top| (1..=max).contains(top)).unwrap_or(max);
        let range = Range {
            collection: Collection::Devices,
            hub: proof.hub().clone(),
            prefix: String::new(),
            after: None,
            limit: usize::try_from(top).unwrap_or(usize::MAX),
        };
        let documents = self.store.scan(&range).await?;
        let read = |document: &crate::store::Document| {
            let id = DeviceId::parse(&document.key.id)
                .map_err(|error| Error::bug(format!("a device is stored under a bad id: {error}")))?;
            stored::decode_open(&id, document, &self.vault).map_err(Error::from)
        };
        let devices: Vec<Device> = documents.iter().map(read).collect::<Result<_, Error>>()?;
        let mut with_keys = devices.iter().filter(|device| device.authentication.has_keys());
        if let Some(first) = with_keys.next() {
            let entry = Entry::new(proof.caller(), Act::DevicesKeysRead, Subject::hub(proof.hub()));
            let last = with_keys.clone().next_back().unwrap_or(first);
            let words = format!("{} devices, {} to {}", with_keys.count() + 1, first.id, last.id);
            self.note(proof.hub(), entry.saying(words)).await?;
        }
        Ok(devices)
    }

    /// How many devices there are.
    pub async fn statistics(
        &self,
        proof: &Authorized<operation::ReadStatistics>,
    ) -> Result<Statistics, Error> {
        Ok(statistics::read(&*self.store, proof.hub()).await?)
    }

    pub(super) async fn write(
        &self,
        hub: &HubName,
        caller: &Caller,
        id: &DeviceId,
        draft: &Draft,
        demand: &Demand,
    ) -> Result<Device, Error> {
        for _ in 0..self.limits.get(Limit::WriteAttemptsMax) {
            let found = load(&*self.store, &self.vault, hub, id).await?;
            let device = match (&found, demand) {
                (Some(_), Demand::Create) => {
                    return Err(Error::peer(
                        Code::DeviceAlreadyExists,
                        format!("A device with the id '{id}' is already registered"),
                    ));
                }
                (None, Demand::Update(_)) => return Err(not_found(id)),
                (None, Demand::Create | Demand::Upsert(_)) => self.judge_creation(hub, id, draft).await?,
                (Some((before, _)), Demand::Update(if_match) | Demand::Upsert(if_match)) => {
                    if_match.check(before.etag)?;
                    self.judge_update(before, draft)?
                }
            };
            let batch = self.written(hub, found, &device).await?;
            if self.apply(hub, caller, batch).await? {
                return Ok(device);
            }
        }
        Err(self.contended())
    }

    /// Deletes a device and its modules, which companions hear of first.
    pub(super) async fn remove(
        &self,
        hub: &HubName,
        caller: &Caller,
        id: &DeviceId,
        if_match: &IfMatch,
    ) -> Result<(), Error> {
        for _ in 0..self.limits.get(Limit::WriteAttemptsMax) {
            let before = load(&*self.store, &self.vault, hub, id)
                .await?
                .ok_or_else(|| not_found(id))?;
            if_match.check(before.0.etag)?;
            let mut batch = self.batch();
            for module in self.modules_of(hub, id).await? {
                batch.change_module(hub, Some(module), None)?;
            }
            batch.change_device(hub, Some(before), None)?;
            if self.apply(hub, caller, batch).await? {
                return Ok(());
            }
        }
        Err(self.contended())
    }

    async fn judge_creation(&self, hub: &HubName, id: &DeviceId, draft: &Draft) -> Result<Device, Error> {
        let devices_max = self.limits.get(Limit::DevicesPerHubMax);
        if devices_max != UNLIMITED {
            let there = statistics::read(&*self.store, hub).await?.total_device_count;
            self.limits
                .check(Limit::DevicesPerHubMax, there.saturating_add(1))
                .map_err(|exceeded| Error::peer(Code::IotHubQuotaExceeded, exceeded.to_string()))?;
        }
        let generation = self.generations.next(self.clock.now());
        Ok(Device {
            id: id.clone(),
            generation,
            etag: Etag::first(&*self.entropy),
            status: draft.status,
            status_reason: draft.status_reason.clone(),
            status_updated: Timestamp::NEVER,
            authentication: draft.authentication.realise(&*self.entropy),
            authentication_updated: Timestamp::NEVER,
            placement: Placement::of_new(id, generation, draft)?,
        })
    }

    fn judge_update(&self, before: &Device, draft: &Draft) -> Result<Device, Error> {
        let status_updated = if draft.status == before.status {
            before.status_updated
        } else {
            self.clock.now()
        };
        let authentication = draft.authentication.realise(&*self.entropy);
        let was = (&before.authentication, before.authentication_updated);
        Ok(Device {
            id: before.id.clone(),
            generation: before.generation,
            etag: before.etag.next(),
            status: draft.status,
            status_reason: draft.status_reason.clone(),
            status_updated,
            authentication_updated: self.updated(was, &authentication),
            authentication,
            placement: before.placement.changed(&before.id, draft)?,
        })
    }

    /// When credentials changed last that were written again, perhaps with others.
    pub(super) fn updated(&self, was: (&Authentication, Timestamp), is: &Authentication) -> Timestamp {
        let (before, updated) = was;
        if is.is_same(before) {
            updated
        } else {
            self.clock.now()
        }
    }

    /// Everything that goes with a device's being written.
    pub(super) async fn written(
        &self,
        hub: &HubName,
        found: Option<(Device, Version)>,
        device: &Device,
    ) -> Result<Batch, Error> {
        let mut batch = self.batch();
        let before = found.as_ref().map(|(before, _)| before);
        // A device that stays where it is can be written, and so disabled, also when its parent is gone.
        if before.map(|before| &before.placement) != Some(&device.placement) {
            batch.extend(self.check_parents(hub, device).await?);
        }
        let is_disabled = is_disabled_by(before, Some(device));
        let was_edge = before.is_some_and(|before| before.placement.is_edge());
        let modules = if before.is_some() && (is_disabled || was_edge || device.placement.is_edge()) {
            self.modules_of(hub, &device.id).await?
        } else {
            Vec::new()
        };
        if is_disabled {
            for (module, _) in &modules {
                batch.recheck(module.identity());
            }
        }
        batch.change_device(hub, found, Some(device.clone()))?;
        self.follow_edge(hub, &mut batch, device, modules)?;
        Ok(batch)
    }

    /// Adds an entry to the audit trail that goes with no change.
    pub(super) async fn note(&self, hub: &HubName, entry: Entry<'_>) -> Result<(), Error> {
        audit::note(&*self.store, &*self.clock, hub, entry).await
    }

    pub(super) fn contended(&self) -> Error {
        self.limits.hit(Limit::WriteAttemptsMax);
        Error::environment(
            Code::ServerBusy,
            "a registry write met another writer at every attempt",
        )
    }
}

/// A device with its keys, and the version of its document.
pub(crate) async fn load(
    store: &dyn Store,
    vault: &Vault,
    hub: &HubName,
    id: &DeviceId,
) -> Result<Option<(Device, Version)>, Error> {
    let Some(document) = store.get(&key(hub, id)).await? else {
        return Ok(None);
    };
    let device = stored::decode_open(id, &document, vault)?;
    Ok(Some((device, document.version)))
}

/// The module of an id with its keys, and the version of its document.
pub(crate) async fn load_module(
    store: &dyn Store,
    vault: &Vault,
    hub: &HubName,
    device: &DeviceId,
    id: &ModuleId,
) -> Result<Option<(Module, Version)>, Error> {
    let Some(document) = store.get(&module_key(hub, device, id)).await? else {
        return Ok(None);
    };
    let module = stored_module::decode_open(device, id, &document, vault)?;
    Ok(Some((module, document.version)))
}

pub(super) fn key(hub: &HubName, id: &DeviceId) -> Key {
    Key::new(Collection::Devices, hub, id.as_str())
}

pub(super) fn module_key(hub: &HubName, device: &DeviceId, id: &ModuleId) -> Key {
    Key::new(Collection::Modules, hub, format!("{device}/{id}"))
}

pub(super) fn not_found(id: &DeviceId) -> Error {
    Error::peer(Code::DeviceNotFound, id.to_string())
}
