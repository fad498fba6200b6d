//! The registry's modules: create, read, change and delete (service-rest.md 4.2).
//!
//! A module is a document of its own. Its creation and its deletion write the document of its device again as it is, under
//! compare-and-set: so they stand in one order with each other and with the device's deletion, and the limit is exact.
//! Refused: a list of modules inside the device, because then every change of a module would be one of the device.

use crate::access::operation::{self, Operation};
use crate::access::proof::ModuleCaller;
use crate::audit::{Act, Entry, Subject};
use crate::clock::Timestamp;
use crate::error::{Code, Error};
use crate::limits::Limit;
use crate::store::{Collection, Document, Expect, Range, Version, Write};
use crate::tenancy::HubName;

use super::module::{EDGE_RUNTIME, Module, ModuleDraft};
use super::registry::{Demand, key, load_module, not_found};
use super::{DeviceId, Etag, IdentityId, IfMatch, ModuleId, Registry, Status, stored, stored_module};

/// Modules that are read at once.
const PAGE: usize = 100;

impl Registry {
    /// Creates a module (no If-Match) or replaces what a client may say about it (any If-Match), as PUT does.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`, `ModuleAlreadyExistsOnDevice`, `TooManyModulesOnDevice`, `PreconditionFailed`,
    /// `ArgumentInvalid` for an id that only the hub gives out, `SystemModuleModifyUnauthorizedAccess` for one it gave out.
    pub async fn put_module(
        &self,
        caller: &ModuleCaller<operation::WriteDevices>,
        device: &DeviceId,
        id: &ModuleId,
        draft: &ModuleDraft,
        if_match: IfMatch,
    ) -> Result<Module, Error> {
        let demand = match if_match {
            IfMatch::Absent => Demand::Create,
            demanded => Demand::Update(demanded),
        };
        self.write_module(caller, device, id, draft, &demand).await
    }

    /// Deletes a module.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`, `SystemModuleModifyUnauthorizedAccess`, and `PreconditionFailed` also when no etag
    /// is demanded.
    pub async fn delete_module(
        &self,
        caller: &ModuleCaller<operation::DeleteDevices>,
        device: &DeviceId,
        id: &ModuleId,
        if_match: &IfMatch,
    ) -> Result<(), Error> {
        if *if_match == IfMatch::Absent {
            return Err(Error::peer(Code::PreconditionFailed, "Etag missing"));
        }
        self.remove_module(caller, device, id, if_match).await
    }

    /// A module, whose keys the caller will see: the audit trail tells of it.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`.
    pub async fn get_module(
        &self,
        caller: &ModuleCaller<operation::ReadDevices>,
        device: &DeviceId,
        id: &ModuleId,
    ) -> Result<Module, Error> {
        self.parent(caller, device).await?;
        let found = load_module(&*self.store, &self.vault, caller.hub(), device, id).await?;
        let module = found
            .map(|(module, _)| module)
            .ok_or_else(|| module_not_found(device, id))?;
        if module.authentication.has_keys() {
            let subject = Subject::identity(&module.identity());
            let entry = Entry::new(caller.caller(), Act::ModuleKeysRead, subject);
            self.note(caller.hub(), entry).await?;
        }
        Ok(module)
    }

    /// All modules of a device by id, those of the edge runtime included.
    ///
    /// # Errors
    /// `DeviceNotFound`.
    pub async fn list_modules(
        &self,
        caller: &ModuleCaller<operation::ReadDevices>,
        device: &DeviceId,
    ) -> Result<Vec<Module>, Error> {
        self.parent(caller, device).await?;
        let modules = self.modules_of(caller.hub(), device).await?;
        let modules: Vec<Module> = modules.into_iter().map(|(module, _)| module).collect();
        let with_keys = modules.iter().filter(|module| module.authentication.has_keys());
        let count = with_keys.count();
        if count > 0 {
            let subject = Subject::new("modules", device.as_str());
            let entry = Entry::new(caller.caller(), Act::ModulesKeysRead, subject);
            self.note(caller.hub(), entry.saying(format!("{count} modules")))
                .await?;
        }
        Ok(modules)
    }

    pub(super) async fn write_module<O: Operation>(
        &self,
        caller: &ModuleCaller<O>,
        device: &DeviceId,
        id: &ModuleId,
        draft: &ModuleDraft,
        demand: &Demand,
    ) -> Result<Module, Error> {
        let hub = caller.hub();
        for _ in 0..self.limits.get(Limit::WriteAttemptsMax) {
            let parent = self.parent(caller, device).await?;
            let found = load_module(&*self.store, &self.vault, hub, device, id).await?;
            check_system(caller, id, found.is_some(), demand)?;
            let mut batch = self.batch();
            let module = match (&found, demand) {
                (Some(_), Demand::Create) => return Err(module_exists(device, id)),
                (None, Demand::Update(_)) => return Err(module_not_found(device, id)),
                (None, Demand::Create | Demand::Upsert(_)) => {
                    batch.extend([written_again(parent)]);
                    self.judge_module_creation(hub, device, id, draft).await?
                }
                (Some((before, _)), Demand::Update(if_match) | Demand::Upsert(if_match)) => {
                    if_match.check(before.etag)?;
                    batch.extend([held(parent)]);
                    self.judge_module_update(before, draft)
                }
            };
            batch.change_module(hub, found, Some(module.clone()))?;
            if self.apply(hub, caller.caller(), batch).await? {
                return Ok(module);
            }
        }
        Err(self.contended())
    }

    pub(super) async fn remove_module<O: Operation>(
        &self,
        caller: &ModuleCaller<O>,
        device: &DeviceId,
        id: &ModuleId,
        if_match: &IfMatch,
    ) -> Result<(), Error> {
        let hub = caller.hub();
        for _ in 0..self.limits.get(Limit::WriteAttemptsMax) {
            let parent = self.parent(caller, device).await?;
            let found = load_module(&*self.store, &self.vault, hub, device, id).await?;
            let found = found.ok_or_else(|| module_not_found(device, id))?;
            if id.is_system() {
                return Err(system_module(id));
            }
            if_match.check(found.0.etag)?;
            let mut batch = self.batch();
            batch.extend([written_again(parent)]);
            batch.change_module(hub, Some(found), None)?;
            if self.apply(hub, caller.caller(), batch).await? {
                return Ok(());
            }
        }
        Err(self.contended())
    }

    /// Every module of a device and the version of its document.
    pub(super) async fn modules_of(
        &self,
        hub: &HubName,
        device: &DeviceId,
    ) -> Result<Vec<(Module, Version)>, Error> {
        let prefix = format!("{device}/");
        let mut modules = Vec::new();
        let mut after = None;
        loop {
            let range = Range {
                collection: Collection::Modules,
                hub: hub.clone(),
                prefix: prefix.clone(),
                after,
                limit: PAGE,
            };
            let page = self.store.scan(&range).await?;
            for document in &page {
                modules.push((self.read(device, &prefix, document)?, document.version));
            }
            match page.last() {
                Some(last) if page.len() >= PAGE => after = Some(last.key.id.to_string()),
                _ => return Ok(modules),
            }
        }
    }

    async fn judge_module_creation(
        &self,
        hub: &HubName,
        device: &DeviceId,
        id: &ModuleId,
        draft: &ModuleDraft,
    ) -> Result<Module, Error> {
        let there = self.modules_of(hub, device).await?;
        let counted = there.iter().filter(|(module, _)| !module.id.is_system());
        self.limits
            .check_len(Limit::ModulesPerDeviceMax, counted.count().saturating_add(1))
            .map_err(|exceeded| Error::peer(Code::TooManyModulesOnDevice, exceeded.to_string()))?;
        Ok(Module {
            device: device.clone(),
            id: id.clone(),
            generation: self.generations.next(self.clock.now()),
            etag: Etag::first(&*self.entropy),
            authentication: draft.authentication.realise(&*self.entropy),
            authentication_updated: Timestamp::NEVER,
            managed_by: draft.managed_by.clone(),
        })
    }

    fn judge_module_update(&self, before: &Module, draft: &ModuleDraft) -> Module {
        let managed_by = if before.id.is_system() {
            Some(EDGE_RUNTIME.to_owned())
        } else {
            draft.managed_by.clone()
        };
        let authentication = draft.authentication.realise(&*self.entropy);
        let was = (&before.authentication, before.authentication_updated);
        Module {
            device: before.device.clone(),
            id: before.id.clone(),
            generation: before.generation,
            etag: before.etag.next(),
            authentication_updated: self.updated(was, &authentication),
            authentication,
            managed_by,
        }
    }

    /// The device whose modules are asked for. An edge device that asks must still be what it proved to be.
    pub(super) async fn parent<O: Operation>(
        &self,
        caller: &ModuleCaller<O>,
        id: &DeviceId,
    ) -> Result<Document, Error> {
        let document = self.store.get(&key(caller.hub(), id)).await?;
        let document = document.ok_or_else(|| not_found(id))?;
        let device = stored::decode(id, &document.body)?;
        if let ModuleCaller::EdgeDevice(edge) = caller {
            let is_itself = edge.device() == id && edge.generation() == device.generation;
            if !(is_itself && device.placement.is_edge() && device.status == Status::Enabled) {
                return Err(Error::peer(Code::IotHubUnauthorizedAccess, "Unauthorized"));
            }
        }
        Ok(document)
    }

    fn read(&self, device: &DeviceId, prefix: &str, document: &Document) -> Result<Module, Error> {
        let id = document.key.id.strip_prefix(prefix).unwrap_or_default();
        let id = ModuleId::parse(id)
            .map_err(|error| Error::bug(format!("a module is stored under a bad id: {error}")))?;
        Ok(stored_module::decode_open(device, &id, document, &self.vault)?)
    }
}

/// Orders a module's coming or going with everything else that happens to the device.
fn written_again(device: Document) -> Write {
    Write::Put {
        key: device.key,
        body: device.body,
        expect: Expect::Version(device.version),
    }
}

/// Holds the device still while a module changes.
pub(super) fn held(device: Document) -> Write {
    Write::Check {
        key: device.key,
        expect: Expect::Version(device.version),
    }
}

/// Ids that begin with `$` are given out by the hub alone, and what stands under them is the edge device's to write.
pub(super) fn check_system<O: Operation>(
    caller: &ModuleCaller<O>,
    id: &ModuleId,
    exists: bool,
    demand: &Demand,
) -> Result<(), Error> {
    if !id.is_system() {
        return Ok(());
    }
    let is_edge = matches!(caller, ModuleCaller::EdgeDevice(_));
    match (exists, demand) {
        (false, Demand::Update(_)) => Ok(()),
        (true, Demand::Create) if is_edge => Ok(()),
        (false, _) | (true, Demand::Create) => Err(Error::argument(
            "A module id that begins with $ is given out by the hub alone",
        )),
        (true, _) if is_edge => Ok(()),
        (true, _) => Err(system_module(id)),
    }
}

fn identity(device: &DeviceId, id: &ModuleId) -> IdentityId {
    IdentityId::module(device.clone(), id.clone())
}

pub(super) fn module_not_found(device: &DeviceId, id: &ModuleId) -> Error {
    Error::peer(Code::ModuleNotFound, identity(device, id).to_string())
}

fn module_exists(device: &DeviceId, id: &ModuleId) -> Error {
    Error::peer(
        Code::ModuleAlreadyExistsOnDevice,
        format!("A module with the id '{id}' is already registered on device '{device}'"),
    )
}

fn system_module(id: &ModuleId) -> Error {
    Error::peer(
        Code::SystemModuleModifyUnauthorizedAccess,
        format!("The module '{id}' belongs to the edge runtime"),
    )
}
