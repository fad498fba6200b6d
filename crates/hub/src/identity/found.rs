//! An identity as it is registered now: what twins, queues and the gate hang on, for devices and modules alike.

use crate::clock::Timestamp;
use crate::error::Error;
use crate::store::{Key, Store, Version};
use crate::tenancy::HubName;

use super::{
    Authentication, Device, Etag, GenerationId, IdentityId, Module, Status, registry, stored, stored_module,
};

/// A device or a module, by reference.
#[derive(Debug, Clone, Copy)]
pub enum IdentityRef<'a> {
    /// A device.
    Device(&'a Device),
    /// A module.
    Module(&'a Module),
}

impl IdentityRef<'_> {
    /// Its id.
    pub fn id(&self) -> IdentityId {
        match self {
            Self::Device(device) => IdentityId::device(device.id.clone()),
            Self::Module(module) => module.identity(),
        }
    }

    /// Tells it from an earlier one of the same id.
    pub fn generation(&self) -> GenerationId {
        match self {
            Self::Device(device) => device.generation,
            Self::Module(module) => module.generation,
        }
    }

    /// Moves by one with each write of the identity.
    pub fn etag(&self) -> Etag {
        match self {
            Self::Device(device) => device.etag,
            Self::Module(module) => module.etag,
        }
    }

    /// How it logs in.
    pub fn authentication(&self) -> &Authentication {
        match self {
            Self::Device(device) => &device.authentication,
            Self::Module(module) => &module.authentication,
        }
    }

    /// Since when it logs in so: the last change, or else the creation.
    pub fn authentication_set(&self) -> Timestamp {
        let updated = match self {
            Self::Device(device) => device.authentication_updated,
            Self::Module(module) => module.authentication_updated,
        };
        if updated == Timestamp::NEVER {
            self.generation().created()
        } else {
            updated
        }
    }
}

/// A registered identity and the version of its document. Its keys are sealed: nothing that hangs on an identity asks for them.
#[derive(Debug, Clone)]
pub struct Found {
    /// The device: the identity itself, or the one that the module is part of.
    pub device: Device,
    /// The module, if the identity is one.
    pub module: Option<Module>,
    /// Where the document of the identity lies; for writes that must not outlive it.
    pub key: Key,
    /// The version of that document.
    pub version: Version,
}

impl Found {
    /// The identity.
    pub fn identity(&self) -> IdentityRef<'_> {
        match &self.module {
            Some(module) => IdentityRef::Module(module),
            None => IdentityRef::Device(&self.device),
        }
    }

    /// Whether it may connect: the status of the device.
    pub fn status(&self) -> Status {
        self.device.status
    }

    /// When the status changed last.
    pub fn status_updated(&self) -> Timestamp {
        self.device.status_updated
    }
}

/// The identity of an id; `None` when it, or the device that it is part of, is not registered.
pub async fn find(store: &dyn Store, hub: &HubName, id: &IdentityId) -> Result<Option<Found>, Error> {
    let key = registry::key(hub, &id.device);
    let Some(document) = store.get(&key).await? else {
        return Ok(None);
    };
    let device = stored::decode(&id.device, &document.body)?;
    let Some(module) = &id.module else {
        return Ok(Some(Found {
            key,
            device,
            module: None,
            version: document.version,
        }));
    };
    let key = registry::module_key(hub, &id.device, module);
    let Some(document) = store.get(&key).await? else {
        return Ok(None);
    };
    let module = stored_module::decode(&id.device, module, &document.body)?;
    Ok(Some(Found {
        key,
        device,
        module: Some(module),
        version: document.version,
    }))
}
