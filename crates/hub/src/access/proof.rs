//! Values that prove a decision. Only this folder can make them; operations demand them.
//!
//! [`Authenticated`] says which identity a connection speaks for, and remembers on what ground, so that the ground can be
//! checked again while the connection is open. [`Authorized`] says that a caller may do one operation in one hub.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::identity::{DeviceId, GenerationId, IdentityId};
use crate::secret::Fingerprint;
use crate::tenancy::HubName;
use crate::trust::revocation::Doubt;

use super::admission::Admitted;
use super::caller::{Caller, Provenance};
use super::gate_certificates::Presented;
use super::operation::Operation;

/// On what ground an identity was authenticated or a caller authorised.
#[derive(Clone)]
pub(super) enum Basis {
    /// A bearer token.
    Bearer,
    /// One of the identity's own keys.
    IdentityKey(Fingerprint),
    /// One of a policy's keys.
    PolicyKey {
        /// The policy.
        policy: Arc<str>,
        /// The key.
        fingerprint: Fingerprint,
    },
    /// A certificate.
    Certificate(Arc<Presented>),
}

impl fmt::Debug for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bearer => f.write_str("a bearer token"),
            Self::IdentityKey(_) => f.write_str("a key of the identity"),
            Self::PolicyKey { policy, .. } => write!(f, "a key of the policy '{policy}'"),
            Self::Certificate(_) => f.write_str("a certificate"),
        }
    }
}

/// What a credential was made for (device-mqtt-https.md 2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthScope {
    /// A policy of the hub.
    Hub,
    /// A device.
    Device,
    /// A module.
    Module,
}

/// Kind of a credential (device-mqtt-https.md 2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthKind {
    /// A token.
    Sas,
    /// A certificate.
    X509,
}

/// How an identity was authenticated, as stamped on its telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AuthMethod {
    /// What the credential was made for.
    pub scope: AuthScope,
    /// Its kind.
    pub kind: AuthKind,
}

impl AuthMethod {
    /// The value of `iothub-connection-auth-method` of a connection that no network rule let in.
    pub const fn json(self) -> &'static str {
        macro_rules! method {
            ($scope:literal, $kind:literal) => {
                concat!(
                    r#"{"scope":""#,
                    $scope,
                    r#"","type":""#,
                    $kind,
                    r#"","issuer":"iothub","acceptingIpFilterRule":null}"#
                )
            };
        }
        match (self.scope, self.kind) {
            (AuthScope::Hub, AuthKind::Sas) => method!("hub", "sas"),
            (AuthScope::Device, AuthKind::Sas) => method!("device", "sas"),
            (AuthScope::Module, AuthKind::Sas) => method!("module", "sas"),
            (AuthScope::Hub, AuthKind::X509) => method!("hub", "x509"),
            (AuthScope::Device, AuthKind::X509) => method!("device", "x509"),
            (AuthScope::Module, AuthKind::X509) => method!("module", "x509"),
        }
    }
}

/// Proof that a peer speaks for an identity.
#[derive(Debug, Clone)]
pub struct Authenticated {
    pub(super) hub: HubName,
    pub(super) identity: IdentityId,
    pub(super) generation: GenerationId,
    pub(super) method: AuthMethod,
    pub(super) expires: Option<Timestamp>,
    pub(super) basis: Basis,
    /// From where, once the connection has said so.
    pub(super) admitted: Option<Admitted>,
}

impl Authenticated {
    /// With the admission of the connection's address, which [`super::Gate::recheck`] then asks about too.
    pub fn admitted(mut self, admitted: Admitted) -> Self {
        self.admitted = Some(admitted);
        self
    }

    /// The value of `iothub-connection-auth-method` (device-mqtt-https.md 2.5), with the network rule that let the connection in.
    pub fn auth_method_json(&self) -> Cow<'static, str> {
        let plain = self.method.json();
        let Some(rule) = self.admitted.as_ref().and_then(Admitted::rule) else {
            return Cow::Borrowed(plain);
        };
        let name = serde_json::Value::from(rule).to_string();
        match plain.strip_suffix("null}") {
            Some(start) => Cow::Owned(format!("{start}{name}}}")),
            None => Cow::Borrowed(plain),
        }
    }

    /// What is doubtful about the certificate although it was let in: nobody current says that it is not revoked, and the hub would
    /// rather know.
    pub fn doubt(&self) -> Option<&Doubt> {
        match &self.basis {
            Basis::Certificate(presented) => presented.doubt(),
            _ => None,
        }
    }

    /// The hub.
    pub fn hub(&self) -> &HubName {
        &self.hub
    }

    /// The identity.
    pub fn identity(&self) -> &IdentityId {
        &self.identity
    }

    /// Tells the identity from an earlier one of the same id.
    pub fn generation(&self) -> GenerationId {
        self.generation
    }

    /// How.
    pub fn method(&self) -> AuthMethod {
        self.method
    }

    /// When the certificate expires that it stands on, if it is one; an open connection outlasts that.
    pub fn certificate_expires(&self) -> Option<Timestamp> {
        match &self.basis {
            Basis::Certificate(presented) => Some(presented.leaf_expires()),
            Basis::Bearer | Basis::IdentityKey(_) | Basis::PolicyKey { .. } => None,
        }
    }

    /// When the credential expires; an open connection lasts for a grace longer ([`super::Gate::closes_at`]).
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires
    }
}

/// Proof that a peer is an edge device, by a key or certificate of its own. It may look after its own modules, and only them.
#[derive(Debug, Clone)]
pub struct EdgeDevice {
    pub(super) hub: HubName,
    pub(super) device: DeviceId,
    pub(super) generation: GenerationId,
    pub(super) caller: Caller,
}

impl EdgeDevice {
    /// The hub.
    pub fn hub(&self) -> &HubName {
        &self.hub
    }

    /// The device.
    pub fn device(&self) -> &DeviceId {
        &self.device
    }

    /// Tells the device from an earlier one of the same id.
    pub fn generation(&self) -> GenerationId {
        self.generation
    }

    /// The device as a caller.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
}

/// Who works on the modules of a device (service-rest.md 2.3).
#[derive(Debug)]
pub enum ModuleCaller<O: Operation> {
    /// Somebody who may do the operation `O`, which covers the modules of every device.
    Service(Authorized<O>),
    /// An edge device.
    EdgeDevice(EdgeDevice),
}

impl<O: Operation> ModuleCaller<O> {
    /// The hub.
    pub fn hub(&self) -> &HubName {
        match self {
            Self::Service(proof) => proof.hub(),
            Self::EdgeDevice(edge) => edge.hub(),
        }
    }

    /// Who, and from where.
    pub fn caller(&self) -> &Caller {
        match self {
            Self::Service(proof) => proof.caller(),
            Self::EdgeDevice(edge) => edge.caller(),
        }
    }

    /// The same, of a request that came from there.
    pub fn coming_from(self, provenance: Arc<Provenance>) -> Self {
        match self {
            Self::Service(proof) => Self::Service(proof.coming_from(provenance)),
            Self::EdgeDevice(mut edge) => {
                edge.caller = edge.caller.coming_from(provenance);
                Self::EdgeDevice(edge)
            }
        }
    }
}

impl<O: Operation> From<Authorized<O>> for ModuleCaller<O> {
    fn from(proof: Authorized<O>) -> Self {
        Self::Service(proof)
    }
}

/// Who may do it; for records and the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The holder of a policy's key.
    Policy(Arc<str>),
    /// An edge device, about its own modules.
    EdgeDevice(DeviceId),
    /// Somebody with roles, by the id that the issuer gives.
    Principal(Arc<str>),
    /// The operator of the server: its command line, its configuration, its start.
    Operator,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(name) => write!(f, "policy '{name}'"),
            Self::EdgeDevice(device) => write!(f, "edge device '{device}'"),
            Self::Principal(id) => write!(f, "principal '{}'", id.escape_debug()),
            Self::Operator => f.write_str("the operator"),
        }
    }
}

/// Proof that a caller may do the operation `O` in a hub.
pub struct Authorized<O> {
    hub: HubName,
    caller: Caller,
    operation: PhantomData<fn() -> O>,
}

impl<O: Operation> Authorized<O> {
    pub(super) fn new(hub: HubName, actor: Actor) -> Self {
        Self {
            hub,
            caller: Caller::new(actor),
            operation: PhantomData,
        }
    }
}

impl<O: Operation> Authorized<O> {
    /// The operation for the operator of a stopped server, who has its data folder. Never for a peer; a server that runs asks
    /// [`Gate::authorize_operator`](super::Gate::authorize_operator).
    pub fn of_operator(hub: HubName) -> Self {
        Self::new(hub, Actor::Operator)
    }
}

impl<O> Authorized<O> {
    /// The hub in which it holds.
    pub fn hub(&self) -> &HubName {
        &self.hub
    }

    /// Who may do it.
    pub fn actor(&self) -> &Actor {
        self.caller.actor()
    }

    /// Who holds it, and from where they called.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The same, of a request that came from there.
    pub fn coming_from(mut self, provenance: Arc<Provenance>) -> Self {
        self.caller = self.caller.coming_from(provenance);
        self
    }
}

impl<O> Clone for Authorized<O> {
    fn clone(&self) -> Self {
        Self {
            hub: self.hub.clone(),
            caller: self.caller.clone(),
            operation: PhantomData,
        }
    }
}

impl<O: Operation> fmt::Debug for Authorized<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} by {}", O::DEFINITION.name, self.hub, self.actor())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_auth_method_is_the_recorded_text() {
        let method = AuthMethod {
            scope: AuthScope::Device,
            kind: AuthKind::Sas,
        };
        assert_eq!(
            method.json(),
            r#"{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#
        );
    }
}
