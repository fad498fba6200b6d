//! The modules of the edge runtime, `$edgeAgent` and `$edgeHub` (service-rest.md 4.1).
//!
//! They come with a device's becoming an edge device and go with its becoming a leaf, in the same batch. Nobody else makes or
//! deletes them; their device registers their credentials. So a device's being an edge device and its having them are one fact.

use crate::clock::Timestamp;
use crate::error::Error;
use crate::store::Version;
use crate::tenancy::HubName;

use super::batch::Batch;
use super::module::{EDGE_RUNTIME, Module, SYSTEM_MODULES};
use super::{Authentication, Device, Etag, ModuleId, Registry};

impl Registry {
    /// Makes the edge runtime's modules that a written edge device lacks, or unmakes those that a leaf still has. `modules` are
    /// those that it has.
    pub(super) fn follow_edge(
        &self,
        hub: &HubName,
        batch: &mut Batch,
        device: &Device,
        modules: Vec<(Module, Version)>,
    ) -> Result<(), Error> {
        if !device.placement.is_edge() {
            for module in modules.into_iter().filter(|(module, _)| module.id.is_system()) {
                batch.change_module(hub, Some(module), None)?;
            }
            return Ok(());
        }
        for name in SYSTEM_MODULES {
            if modules.iter().any(|(module, _)| module.id.as_str() == name) {
                continue;
            }
            let id = ModuleId::parse(name).map_err(|error| Error::bug(error.to_string()))?;
            let module = Module {
                device: device.id.clone(),
                id,
                generation: self.generations.next(self.clock.now()),
                etag: Etag::first(&*self.entropy),
                authentication: Authentication::None,
                authentication_updated: Timestamp::NEVER,
                managed_by: Some(EDGE_RUNTIME.to_owned()),
            };
            batch.change_module(hub, None, Some(module))?;
        }
        Ok(())
    }
}
