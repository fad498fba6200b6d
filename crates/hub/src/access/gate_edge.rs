//! Edge devices that look after their own modules over the registry's paths (service-rest.md 2.3).
//!
//! The edge runtime registers the modules that it starts, with the key or the certificate of its device and without any policy. It
//! may do so for its own modules and nothing else; a device that is no edge device may not.

use crate::identity::{Authentication, DeviceId, IdentityId};

use super::bearer::is_bearer;
use super::caller::Caller;
use super::checks::check_device_scope;
use super::credential::{Credential, Secretive};
use super::gate::{Gate, Registered, authenticated};
use super::operation::Operation;
use super::profile::HubProfile;
use super::proof::{Actor, Authenticated, EdgeDevice, ModuleCaller};
use super::refusal::{Reason, Refusal, Subject};
use super::scope::Resource;
use super::trail::Trail;

impl Gate {
    /// Who may work on the modules of `device`: whoever may do the operation `O`, or the edge device itself. `path` is that of the
    /// request, percent-decoded once. A token decides who is meant; the certificates of the handshake are looked at when there is
    /// none, or none of a policy or an issuer.
    pub async fn authorize_modules<O: Operation>(
        &self,
        credential: &Credential<'_>,
        device: &DeviceId,
        path: &str,
    ) -> Result<ModuleCaller<O>, Refusal> {
        let token = credential.token.map_or("", |Secretive(token)| token);
        let is_of_device = match token {
            "" => !credential.certificates.is_empty(),
            token if is_bearer(token) => false,
            token => self.service_token(token)?.policy().is_none(),
        };
        if !is_of_device {
            return self.authorize_service(token, path).map(ModuleCaller::Service);
        }
        let edge = self.authenticate_edge_device(credential, device, path).await?;
        Ok(ModuleCaller::EdgeDevice(edge))
    }

    async fn authenticate_edge_device(
        &self,
        credential: &Credential<'_>,
        device: &DeviceId,
        path: &str,
    ) -> Result<EdgeDevice, Refusal> {
        let hub = self.profile();
        let identity = IdentityId::device(device.clone());
        let registered = self.enabled(&hub.name, &identity).await?;
        let proof = match &registered.authentication {
            Authentication::Sas { .. } => {
                self.authenticate_edge_token(&hub, &identity, &registered, credential, path)?
            }
            // A certificate is the device's whatever it asks for; which paths are its own is asked of its modules.
            _ => {
                let trail = &mut Trail::silent();
                self.authenticate_certificate(&hub, &identity, &registered, credential, trail)?
            }
        };
        if !registered.is_edge {
            let refusal = Refusal::new(Reason::RightMissing, Subject::Identity(identity));
            return Err(refusal.finding("DeviceConnect").expecting("capabilities.iotEdge"));
        }
        self.note_login(&proof);
        Ok(EdgeDevice {
            hub: hub.name.clone(),
            device: device.clone(),
            generation: registered.generation,
            caller: Caller::new(Actor::EdgeDevice(device.clone())),
        })
    }

    fn authenticate_edge_token(
        &self,
        hub: &HubProfile,
        identity: &IdentityId,
        registered: &Registered,
        credential: &Credential<'_>,
        path: &str,
    ) -> Result<Authenticated, Refusal> {
        let Some(Secretive(token)) = credential.token else {
            return Err(Refusal::of(identity, Reason::TokenExpected));
        };
        let token = self.service_token(token)?;
        let of = Some((identity, registered));
        let passed = self.check_token(hub, &token, of, &mut Trail::silent())?;
        check_device_scope(hub, &passed, identity, Resource::Path(path))?;
        Ok(authenticated(hub, identity, registered, &passed))
    }
}
