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
use super::operation::{Definition, Operation};
use super::profile::HubProfile;
use super::proof::{Actor, Authenticated, Authorized, EdgeDevice, ModuleCaller};
use super::refusal::{Reason, Refusal, Step, Subject};
use super::scope::Resource;
use super::trail::{Explanation, Trail};

/// Who may work on modules.
enum Decided {
    Service(Actor),
    EdgeDevice(Box<Authenticated>),
}

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
        let trail = &mut Trail::silent();
        let decided = self
            .decide_modules(O::DEFINITION, credential, device, path, trail)
            .await?;
        let hub = self.profile().name.clone();
        Ok(match decided {
            Decided::Service(actor) => {
                self.note_use(&actor);
                ModuleCaller::Service(Authorized::new(hub, actor))
            }
            Decided::EdgeDevice(proof) => {
                self.note_login(&proof);
                ModuleCaller::EdgeDevice(EdgeDevice {
                    hub,
                    device: device.clone(),
                    generation: proof.generation(),
                    caller: Caller::new(Actor::EdgeDevice(device.clone())),
                })
            }
        })
    }

    /// The same decision with all its steps: who would be let in, without a proof of it. It changes nothing and leaves no record.
    pub async fn explain_modules(
        &self,
        operation: &'static Definition,
        credential: &Credential<'_>,
        device: &DeviceId,
        path: &str,
    ) -> Explanation<Actor> {
        let mut trail = Trail::kept();
        let decision = self
            .decide_modules(operation, credential, device, path, &mut trail)
            .await;
        let decision = decision.map(|decided| match decided {
            Decided::Service(actor) => actor,
            Decided::EdgeDevice(_) => Actor::EdgeDevice(device.clone()),
        });
        Explanation::new(trail, decision)
    }

    async fn decide_modules(
        &self,
        operation: &'static Definition,
        credential: &Credential<'_>,
        device: &DeviceId,
        path: &str,
        trail: &mut Trail,
    ) -> Result<Decided, Refusal> {
        let token = credential.token.map_or("", |Secretive(token)| token);
        let is_of_device = match token {
            "" => !credential.certificates.is_empty(),
            token if is_bearer(token) => false,
            token => self.service_token(token)?.policy().is_none(),
        };
        if is_of_device {
            let proof = self
                .authenticate_edge_device(credential, device, path, trail)
                .await?;
            Ok(Decided::EdgeDevice(Box::new(proof)))
        } else {
            let actor = self.decide_service(operation, token, path, trail)?;
            Ok(Decided::Service(actor))
        }
    }

    async fn authenticate_edge_device(
        &self,
        credential: &Credential<'_>,
        device: &DeviceId,
        path: &str,
        trail: &mut Trail,
    ) -> Result<Authenticated, Refusal> {
        let hub = self.profile();
        let identity = IdentityId::device(device.clone());
        let registered = self.enabled(&hub.name, &identity).await?;
        trail.passed(Step::Registry, "Is the identity registered and enabled?", || {
            let found = format!("authentication type {}", registered.authentication.type_name());
            (format!("{}", Subject::Identity(identity.clone())), found)
        });
        let proof = match &registered.authentication {
            Authentication::Sas { .. } => {
                self.authenticate_edge_token(&hub, &identity, &registered, credential, (path, trail))?
            }
            // A certificate is the device's whatever it asks for; which paths are its own is asked of its modules.
            _ => {
                self.authenticate_certificate(&hub, &identity, &registered, credential, trail)
                    .await?
            }
        };
        if !registered.is_edge {
            let refusal = Refusal::new(Reason::RightMissing, Subject::Identity(identity));
            return Err(refusal.finding("DeviceConnect").expecting("capabilities.iotEdge"));
        }
        trail.passed(
            Step::Right,
            "Is it an edge device, which looks after its modules?",
            || {
                (
                    "capabilities.iotEdge".to_owned(),
                    "capabilities.iotEdge".to_owned(),
                )
            },
        );
        Ok(proof)
    }

    fn authenticate_edge_token(
        &self,
        hub: &HubProfile,
        identity: &IdentityId,
        registered: &Registered,
        credential: &Credential<'_>,
        (path, trail): (&str, &mut Trail),
    ) -> Result<Authenticated, Refusal> {
        let Some(Secretive(token)) = credential.token else {
            return Err(Refusal::of(identity, Reason::TokenExpected));
        };
        let token = self.service_token(token)?;
        let of = Some((identity, registered));
        let passed = self.check_token(hub, &token, of, trail)?;
        let resource = Resource::Path(path);
        check_device_scope(hub, &passed, identity, resource)?;
        trail.passed(Step::Scope, "Does the token cover what is asked for?", || {
            (resource.to_string(), passed.scope.to_string())
        });
        Ok(authenticated(hub, identity, registered, &passed))
    }
}
