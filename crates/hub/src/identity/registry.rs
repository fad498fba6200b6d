//! The registry of a server's hubs: create, read, change and delete devices (service-rest.md 4.2).
//!
//! Every change is one atomic batch: the document under compare-and-set, the counters, the parents it was judged by, and the
//! companions' writes. A conflict means that somebody else was faster; the change is judged again from what is there now.
//! After a change is durable that can end a connection, its holder is told to check again.

use std::sync::Arc;

use crate::access::proof::{Authorized, right};
use crate::bus::{Address, Bus, Mail};
use crate::clock::{Clock, Timestamp};
use crate::entropy::Entropy;
use crate::error::{Code, Error};
use crate::limits::{Limit, Limits, UNLIMITED};
use crate::store::{ApplyError, Collection, Expect, Key, Range, Store, Version, Write};
use crate::tenancy::HubName;

use super::change::{Change, Companion};
use super::device::{Device, Draft, Status};
use super::generation::Generations;
use super::placement::{EdgeScope, Placement, unknown_scope};
use super::statistics::{self, Statistics};
use super::{DeviceId, Etag, Found, IdentityId, IdentityRef, IfMatch, stored};

/// Keeps device identities. One instance for the whole server; the hub comes with the caller's proof.
pub struct Registry {
    pub(super) limits: Arc<Limits>,
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    companions: Vec<Arc<dyn Companion>>,
    generations: Generations,
}

/// One judged change, ready to be applied.
struct Step {
    before: Option<Device>,
    after: Option<Device>,
    writes: Vec<Write>,
}

/// What a write demands of a device that exists, and of one that does not.
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
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            limits,
            store,
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
        proof: &Authorized<right::RegistryWrite>,
        id: &DeviceId,
        draft: &Draft,
        if_match: IfMatch,
    ) -> Result<Device, Error> {
        let demand = match if_match {
            IfMatch::Absent => Demand::Create,
            demanded => Demand::Update(demanded),
        };
        self.write(proof.hub(), id, draft, &demand).await
    }

    /// Deletes a device.
    ///
    /// # Errors
    /// `PreconditionFailed` also when no etag is demanded: a client must say which device it means, or `*`.
    pub async fn delete(
        &self,
        proof: &Authorized<right::RegistryWrite>,
        id: &DeviceId,
        if_match: &IfMatch,
    ) -> Result<(), Error> {
        if *if_match == IfMatch::Absent {
            return Err(Error::peer(Code::PreconditionFailed, "Etag missing"));
        }
        self.remove(proof.hub(), id, if_match).await
    }

    /// A device.
    ///
    /// # Errors
    /// `DeviceNotFound`.
    pub async fn get(&self, proof: &Authorized<right::RegistryRead>, id: &DeviceId) -> Result<Device, Error> {
        let found = load(&*self.store, proof.hub(), id).await?;
        found.map(|(device, _)| device).ok_or_else(|| not_found(id))
    }

    /// An identity of either kind, with its document's version; `None` when it is not registered.
    pub async fn find(
        &self,
        proof: &Authorized<right::RegistryRead>,
        id: &super::IdentityId,
    ) -> Result<Option<super::Found>, Error> {
        super::found::find(&*self.store, proof.hub(), id).await
    }

    /// How many modules a device has.
    pub async fn module_count(
        &self,
        proof: &Authorized<right::RegistryRead>,
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

    /// The first devices by id; a `top` outside 1 to the limit means the limit.
    pub async fn list(
        &self,
        proof: &Authorized<right::RegistryRead>,
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
            stored::decode(&id, &document.body).map_err(Error::from)
        };
        documents.iter().map(read).collect()
    }

    /// How many devices there are.
    pub async fn statistics(&self, proof: &Authorized<right::RegistryRead>) -> Result<Statistics, Error> {
        Ok(statistics::read(&*self.store, proof.hub()).await?)
    }

    pub(super) async fn write(
        &self,
        hub: &HubName,
        id: &DeviceId,
        draft: &Draft,
        demand: &Demand,
    ) -> Result<Device, Error> {
        for _ in 0..self.limits.get(Limit::WriteAttemptsMax) {
            let found = load(&*self.store, hub, id).await?;
            let step = match (found, demand) {
                (Some(_), Demand::Create) => {
                    return Err(Error::peer(
                        Code::DeviceAlreadyExists,
                        format!("A device with the id '{id}' is already registered"),
                    ));
                }
                (None, Demand::Update(_)) => return Err(not_found(id)),
                (None, Demand::Create | Demand::Upsert(_)) => self.judge_creation(hub, id, draft).await?,
                (Some(found), Demand::Update(if_match) | Demand::Upsert(if_match)) => {
                    if_match.check(found.0.etag)?;
                    self.judge_update(hub, found, draft).await?
                }
            };
            if let Some(step) = self.apply(hub, id, step).await? {
                return step.after.ok_or_else(|| Error::bug("a write left no device"));
            }
        }
        Err(self.contended())
    }

    pub(super) async fn remove(&self, hub: &HubName, id: &DeviceId, if_match: &IfMatch) -> Result<(), Error> {
        for _ in 0..self.limits.get(Limit::WriteAttemptsMax) {
            let (before, version) = load(&*self.store, hub, id).await?.ok_or_else(|| not_found(id))?;
            if_match.check(before.etag)?;
            let delete = Write::Delete {
                key: key(hub, id),
                expect: Expect::Version(version),
            };
            let step = Step {
                before: Some(before),
                after: None,
                writes: vec![delete],
            };
            if self.apply(hub, id, step).await?.is_some() {
                return Ok(());
            }
        }
        Err(self.contended())
    }

    async fn judge_creation(&self, hub: &HubName, id: &DeviceId, draft: &Draft) -> Result<Step, Error> {
        let devices_max = self.limits.get(Limit::DevicesPerHubMax);
        if devices_max != UNLIMITED {
            let there = statistics::read(&*self.store, hub).await?.total_device_count;
            self.limits
                .check(Limit::DevicesPerHubMax, there.saturating_add(1))
                .map_err(|exceeded| Error::peer(Code::IotHubQuotaExceeded, exceeded.to_string()))?;
        }
        let generation = self.generations.next(self.clock.now());
        let device = Device {
            id: id.clone(),
            generation,
            etag: Etag::first(&*self.entropy),
            status: draft.status,
            status_reason: draft.status_reason.clone(),
            status_updated: Timestamp::NEVER,
            authentication: draft.authentication.realise(&*self.entropy),
            placement: Placement::of_new(id, generation, draft)?,
        };
        self.step(hub, None, Expect::Absent, device).await
    }

    async fn judge_update(
        &self,
        hub: &HubName,
        found: (Device, Version),
        draft: &Draft,
    ) -> Result<Step, Error> {
        let (before, version) = found;
        let status_updated = if draft.status == before.status {
            before.status_updated
        } else {
            self.clock.now()
        };
        let device = Device {
            id: before.id.clone(),
            generation: before.generation,
            etag: before.etag.next(),
            status: draft.status,
            status_reason: draft.status_reason.clone(),
            status_updated,
            authentication: draft.authentication.realise(&*self.entropy),
            placement: before.placement.changed(&before.id, draft)?,
        };
        self.step(hub, Some(before), Expect::Version(version), device)
            .await
    }

    async fn step(
        &self,
        hub: &HubName,
        before: Option<Device>,
        expect: Expect,
        device: Device,
    ) -> Result<Step, Error> {
        let mut writes = vec![Write::Put {
            key: key(hub, &device.id),
            body: stored::encode(&device)?.into(),
            expect,
        }];
        // A device that stays where it is can be written, and so disabled, also when its parent is gone.
        if before.as_ref().map(|before| &before.placement) != Some(&device.placement) {
            writes.extend(self.check_parents(hub, &device).await?);
        }
        Ok(Step {
            before,
            after: Some(device),
            writes,
        })
    }

    /// Follows the parents upwards: each must be an edge device of exactly that scope, none the device itself, and not too many.
    /// Gives the checks that hold them still until the change is durable.
    async fn check_parents(&self, hub: &HubName, device: &Device) -> Result<Vec<Write>, Error> {
        let mut checks = Vec::new();
        let mut above = device.placement.parent().cloned();
        let mut levels = u64::from(device.placement.is_edge());
        while let Some(scope) = above {
            levels = levels.saturating_add(1);
            self.limits
                .check(Limit::EdgeLevelsMax, levels)
                .map_err(|exceeded| Error::peer(Code::InvalidDeviceScope, exceeded.to_string()))?;
            let (parent, version) = self.edge_device(hub, &scope).await?;
            if parent.id == device.id {
                return Err(Error::peer(
                    Code::InvalidDeviceScope,
                    "A device cannot stand below itself",
                ));
            }
            checks.push(Write::Check {
                key: key(hub, &parent.id),
                expect: Expect::Version(version),
            });
            above = parent.placement.parent().cloned();
        }
        Ok(checks)
    }

    async fn edge_device(&self, hub: &HubName, scope: &EdgeScope) -> Result<(Device, Version), Error> {
        let id = scope.device().ok_or_else(unknown_scope)?;
        let found = load(&*self.store, hub, &id).await?.ok_or_else(unknown_scope)?;
        match &found.0.placement {
            Placement::Edge { scope: own, .. } if own == scope => Ok(found),
            _ => Err(unknown_scope()),
        }
    }

    /// Applies a judged change and tells everybody; `None` when something it was judged by has changed meanwhile.
    async fn apply(&self, hub: &HubName, id: &DeviceId, mut step: Step) -> Result<Option<Step>, Error> {
        let status = |device: &Option<Device>| device.as_ref().map(|device| device.status);
        let moves = statistics::moves(hub, status(&step.before), status(&step.after));
        step.writes.extend(moves);
        let mut writes = std::mem::take(&mut step.writes);
        if let Some(change) = step.change() {
            for companion in &self.companions {
                writes.extend(companion.writes(hub, change).await?);
            }
        }
        match self.store.apply(writes).await {
            Ok(_) => {}
            Err(ApplyError::Conflict { .. }) => return Ok(None),
            Err(ApplyError::Store(error)) => return Err(error.into()),
        }
        if step.ends_connections() {
            let address = Address {
                hub: hub.clone(),
                identity: IdentityId::device(id.clone()),
            };
            self.bus.send(&address, Mail::Recheck);
        }
        if let Some(change) = step.change() {
            for companion in &self.companions {
                companion.done(hub, change);
            }
        }
        Ok(Some(step))
    }

    fn contended(&self) -> Error {
        self.limits.hit(Limit::WriteAttemptsMax);
        Error::environment(
            Code::ServerBusy,
            "a registry write met another writer at every attempt",
        )
    }
}

impl Step {
    fn change(&self) -> Option<Change<'_>> {
        match (&self.before, &self.after) {
            (None, Some(after)) => Some(Change::Created {
                after: IdentityRef::Device(after),
            }),
            (Some(before), Some(after)) => Some(Change::Updated {
                before: IdentityRef::Device(before),
                after: IdentityRef::Device(after),
            }),
            (Some(before), None) => Some(Change::Deleted {
                before: IdentityRef::Device(before),
            }),
            (None, None) => None,
        }
    }

    /// Whether an open connection may have lost its ground. A creation too: a connection of a deleted namesake may linger.
    fn ends_connections(&self) -> bool {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => {
                (before.status != after.status && after.status == Status::Disabled)
                    || !before.authentication.is_same(&after.authentication)
            }
            (None, None) => false,
            _ => true,
        }
    }
}

/// A device and the version of its document.
pub(crate) async fn load(
    store: &dyn Store,
    hub: &HubName,
    id: &DeviceId,
) -> Result<Option<(Device, Version)>, Error> {
    let Some(document) = store.get(&key(hub, id)).await? else {
        return Ok(None);
    };
    Ok(Some((stored::decode(id, &document.body)?, document.version)))
}

/// The identity of an id. Modules are not registered yet.
pub(super) async fn find(store: &dyn Store, hub: &HubName, id: &IdentityId) -> Result<Option<Found>, Error> {
    if id.module.is_some() {
        return Ok(None);
    }
    let found = load(store, hub, &id.device).await?;
    Ok(found.map(|(device, version)| Found {
        key: key(hub, &device.id),
        device,
        module: None,
        version,
    }))
}

fn key(hub: &HubName, id: &DeviceId) -> Key {
    Key::new(Collection::Devices, hub, id.as_str())
}

pub(super) fn not_found(id: &DeviceId) -> Error {
    Error::peer(Code::DeviceNotFound, id.to_string())
}
