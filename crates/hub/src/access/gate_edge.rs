//! Edge devices that look after their own modules over the registry's paths (service-rest.md 2.3).
//!
//! The edge runtime registers the modules that it starts, with the key of its device and without any policy. It may do so for
//! its own modules and nothing else; a device that is no edge device may not.

use crate::identity::{DeviceId, IdentityId};

use super::bearer::is_bearer;
use super::caller::Caller;
use super::checks::check_device_scope;
use super::gate::Gate;
use super::operation::Operation;
use super::proof::{Actor, EdgeDevice, ModuleCaller};
use super::refusal::{Reason, Refusal, Subject};
use super::sas::Token;
use super::scope::Resource;
use super::trail::Trail;

impl Gate {
    /// Who may work on the modules of `device`: whoever may do the operation `O`, or the edge device itself. `path` is that of the
    /// request, percent-decoded once.
    pub async fn authorize_modules<O: Operation>(
        &self,
        token: &str,
        device: &DeviceId,
        path: &str,
    ) -> Result<ModuleCaller<O>, Refusal> {
        if is_bearer(token) {
            return self.authorize_service(token, path).map(ModuleCaller::Service);
        }
        let parsed = self.service_token(token)?;
        if parsed.policy().is_some() {
            return self.authorize_service(token, path).map(ModuleCaller::Service);
        }
        let edge = self.authenticate_edge_device(&parsed, device, path).await?;
        Ok(ModuleCaller::EdgeDevice(edge))
    }

    async fn authenticate_edge_device(
        &self,
        token: &Token<'_>,
        device: &DeviceId,
        path: &str,
    ) -> Result<EdgeDevice, Refusal> {
        let hub = self.profile();
        let identity = IdentityId::device(device.clone());
        let registered = self.enabled(&hub.name, &identity).await?;
        let passed = self.check_token(&hub, token, Some((&identity, &registered)), &mut Trail::silent())?;
        check_device_scope(&hub, &passed, &identity, Resource::Path(path))?;
        if !registered.is_edge {
            let refusal = Refusal::new(Reason::RightMissing, Subject::Identity(identity));
            return Err(refusal.finding("DeviceConnect").expecting("capabilities.iotEdge"));
        }
        Ok(EdgeDevice {
            hub: hub.name.clone(),
            device: device.clone(),
            generation: registered.generation,
            caller: Caller::new(Actor::EdgeDevice(device.clone())),
        })
    }
}
