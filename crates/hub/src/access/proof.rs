//! Values that prove a decision. Only this folder can make them; operations demand them.
//!
//! [`Authenticated`] says which identity a connection speaks for, and remembers on what ground, so that the ground can be
//! checked again while the connection is open. [`Authorized`] says that a caller holds a right in one hub.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::identity::{DeviceId, GenerationId, IdentityId};
use crate::secret::Fingerprint;
use crate::tenancy::HubName;

use super::admission::Admitted;

/// The rights that operations demand.
pub mod right {
    use super::super::rights::Rights;

    /// A right. Sealed: a new one is a decision of this crate.
    pub trait Right: sealed::Sealed + Send + Sync + 'static {
        /// Its name, as in messages.
        const NAME: &'static str;
        /// Whether a policy with these rights holds it.
        fn is_held_by(rights: Rights) -> bool;
    }

    mod sealed {
        pub trait Sealed {}
    }

    macro_rules! rights {
        ($($(#[$doc:meta])* $name:ident $label:literal = $held:expr;)*) => {$(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            pub struct $name;

            impl sealed::Sealed for $name {}

            impl Right for $name {
                const NAME: &'static str = $label;

                fn is_held_by(rights: Rights) -> bool {
                    let held: fn(Rights) -> bool = $held;
                    held(rights)
                }
            }
        )*};
    }

    rights! {
        /// Read identities.
        RegistryRead "RegistryRead" = |rights| rights.contains(Rights::REGISTRY_READ);
        /// Write identities.
        RegistryWrite "RegistryWrite" = |rights| rights.contains(Rights::REGISTRY_WRITE);
        /// Use the service's endpoints.
        ServiceConnect "ServiceConnect" = |rights| rights.contains(Rights::SERVICE_CONNECT);
        /// Read `/statistics/service`: either right does (service-rest.md 2.3).
        ConnectionStatistics "RegistryRead or ServiceConnect" = |rights| {
            rights.contains(Rights::REGISTRY_READ) || rights.contains(Rights::SERVICE_CONNECT)
        };
        /// Purge a device's commands: either right does (service-rest.md 2.3).
        CommandsPurge "ServiceConnect or RegistryWrite" = |rights| {
            rights.contains(Rights::SERVICE_CONNECT) || rights.contains(Rights::REGISTRY_WRITE)
        };
        /// Change the hub itself, its policies and its authorities. A policy that may do everything else may do this too, as its
        /// holder could not be kept from anything by refusing it.
        Management "RegistryWrite, ServiceConnect and DeviceConnect" = |rights| rights.contains(Rights::ALL);
    }
}

/// On what ground an identity was authenticated or a caller authorised.
#[derive(Clone)]
pub(super) enum Basis {
    /// One of the identity's own keys.
    IdentityKey(Fingerprint),
    /// One of a policy's keys.
    PolicyKey {
        /// The policy.
        policy: Arc<str>,
        /// The key.
        fingerprint: Fingerprint,
    },
}

impl fmt::Debug for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdentityKey(_) => f.write_str("a key of the identity"),
            Self::PolicyKey { policy, .. } => write!(f, "a key of the policy '{policy}'"),
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

    /// When the credential expires; an open connection lasts for a grace longer ([`super::Gate::closes_at`]).
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires
    }
}

/// Proof that a peer is an edge device, by a key of its own. It may look after its own modules, and only them.
#[derive(Debug, Clone)]
pub struct EdgeDevice {
    pub(super) hub: HubName,
    pub(super) device: DeviceId,
    pub(super) generation: GenerationId,
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
}

/// Who works on the modules of a device (service-rest.md 2.3).
#[derive(Debug)]
pub enum ModuleCaller<R: right::Right> {
    /// A holder of the right `R`, which covers the modules of every device.
    Service(Authorized<R>),
    /// An edge device.
    EdgeDevice(EdgeDevice),
}

impl<R: right::Right> ModuleCaller<R> {
    /// The hub.
    pub fn hub(&self) -> &HubName {
        match self {
            Self::Service(proof) => proof.hub(),
            Self::EdgeDevice(edge) => edge.hub(),
        }
    }
}

impl<R: right::Right> From<Authorized<R>> for ModuleCaller<R> {
    fn from(proof: Authorized<R>) -> Self {
        Self::Service(proof)
    }
}

/// Who holds a right; for records and the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The holder of a policy's key.
    Policy(Arc<str>),
    /// The operator of the server: its command line, its configuration, its start.
    Operator,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(name) => write!(f, "policy '{name}'"),
            Self::Operator => f.write_str("the operator"),
        }
    }
}

/// Proof that a caller holds the right `R` in a hub.
pub struct Authorized<R> {
    hub: HubName,
    actor: Actor,
    right: PhantomData<fn() -> R>,
}

impl<R: right::Right> Authorized<R> {
    pub(super) fn new(hub: HubName, actor: Actor) -> Self {
        Self {
            hub,
            actor,
            right: PhantomData,
        }
    }
}

impl<R> Authorized<R> {
    /// The hub in which it holds.
    pub fn hub(&self) -> &HubName {
        &self.hub
    }

    /// Who holds it.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }
}

impl Authorized<right::RegistryWrite> {
    /// Whoever may write identities may read them.
    pub fn to_read(&self) -> Authorized<right::RegistryRead> {
        Authorized::new(self.hub.clone(), self.actor.clone())
    }
}

impl<R> Clone for Authorized<R> {
    fn clone(&self) -> Self {
        Self {
            hub: self.hub.clone(),
            actor: self.actor.clone(),
            right: PhantomData,
        }
    }
}

impl<R: right::Right> fmt::Debug for Authorized<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} by {}", R::NAME, self.hub, self.actor)
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
