//! A module identity (service-rest.md 4.1): a part of a device with credentials, a twin and a connection of its own.

use crate::clock::Timestamp;

use super::authentication::{Authentication, Wanted};
use super::{DeviceId, Etag, GenerationId, IdentityId, ModuleId};

/// Value of `managedBy` of the modules of the edge runtime.
pub const EDGE_RUNTIME: &str = "iotEdge";

/// The modules that every edge device has, made and unmade with its being one.
pub(super) const SYSTEM_MODULES: [&str; 2] = ["$edgeAgent", "$edgeHub"];

/// A registered module. Shown with `Debug` it reveals no key. Whether it may connect is its device's status.
#[derive(Debug, Clone)]
pub struct Module {
    /// The device that it is part of.
    pub device: DeviceId,
    /// Its id, unique in the device.
    pub id: ModuleId,
    /// Tells it from an earlier module of the same id.
    pub generation: GenerationId,
    /// Moves by one with each write.
    pub etag: Etag,
    /// How it logs in.
    pub authentication: Authentication,
    /// When that changed last; never, after creation.
    pub authentication_updated: Timestamp,
    /// Who looks after it: free text, [`EDGE_RUNTIME`] for the modules of the edge runtime.
    pub managed_by: Option<String>,
}

impl Module {
    /// Device and module together.
    pub fn identity(&self) -> IdentityId {
        IdentityId::module(self.device.clone(), self.id.clone())
    }
}

/// What a client may say about a module; the rest is the hub's.
#[derive(Debug, Clone)]
pub struct ModuleDraft {
    /// How it shall log in.
    pub authentication: Wanted,
    /// Who looks after it.
    pub managed_by: Option<String>,
}

/// A module whose keys the hub draws.
impl Default for ModuleDraft {
    fn default() -> Self {
        Self {
            authentication: Wanted::NewKeys,
            managed_by: None,
        }
    }
}
