//! The decision who may connect and who may call.
//!
//! One gate per hub. Order of the questions for a device: is it registered, is it enabled, what credential does it log in with,
//! then signature, expiry, right and scope of the token. The first two come before the credential because unknown and disabled
//! identities are answered as such whatever the token (device-mqtt-https.md 3.3, 11.7).
//!
//! A change of the registry reaches an open connection as [`Mail::Recheck`](crate::bus::Mail::Recheck), through the claim that
//! it holds on the bus. A connection that claims after it was authenticated must ask [`Gate::recheck`] once more, or it misses
//! a change in between.

use std::sync::{Arc, PoisonError, RwLock};

use crate::clock::{Clock, Timestamp};
use crate::identity::{self, Authentication, Device, GenerationId, IdentityId, Status};
use crate::limits::{Limit, Limits};
use crate::secret::{Fingerprint, SymmetricKey};
use crate::store::Store;
use crate::tenancy::HubName;

use super::policies::Policies;
use super::policy::Policy;
use super::profile::HubProfile;
use super::proof::{Actor, AuthKind, AuthMethod, AuthScope, Authenticated, Authorized, Basis, right};
use super::refusal::{Reason, Refusal, Subject};
use super::rights::Rights;
use super::sas::Token;
use super::scope::{Ids, InvalidScope, Resource, Scope};

/// What a peer presents. Both may come; the identity's authentication type chooses (device-mqtt-https.md 2.4).
#[derive(Debug, Clone, Copy, Default)]
pub struct Credential<'a> {
    token: Option<Secretive<'a>>,
    certificates: &'a [Vec<u8>],
}

/// A token text that `Debug` does not show.
#[derive(Clone, Copy)]
struct Secretive<'a>(&'a str);

impl std::fmt::Debug for Secretive<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a token")
    }
}

impl<'a> Credential<'a> {
    /// Nothing.
    pub const fn none() -> Self {
        Self {
            token: None,
            certificates: &[],
        }
    }

    /// The text of a token: MQTT password, HTTPS `Authorization`. An empty text is no token.
    pub fn sas(token: &'a str) -> Self {
        Self {
            token: Some(Secretive(token)).filter(|token| !token.0.is_empty()),
            certificates: &[],
        }
    }

    /// Adds the chain that the peer sent in the TLS handshake: DER, leaf first.
    pub const fn with_certificates(mut self, chain: &'a [Vec<u8>]) -> Self {
        self.certificates = chain;
        self
    }
}

/// What an identity wants to do with its login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage<'a> {
    /// Hold a connection (MQTT, AMQP): everything under the identity.
    Connection,
    /// One request (HTTPS): the path below the identity, such as `messages/events`.
    Request(&'a str),
}

/// Decides for one hub.
pub struct Gate {
    pub(super) profile: RwLock<Arc<HubProfile>>,
    pub(super) policies: Arc<Policies>,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Arc<Limits>,
}

/// What the gate knows of a registered identity.
pub(super) struct Registered {
    pub(super) generation: GenerationId,
    pub(super) authentication: Authentication,
}

/// A token that passed.
pub(super) struct Passed {
    pub(super) scope: Scope,
    pub(super) expires: Timestamp,
    pub(super) rights: Rights,
    pub(super) basis: Basis,
}

impl Gate {
    /// A gate over the hub's policies and registry.
    pub fn new(
        profile: HubProfile,
        policies: Arc<Policies>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            profile: RwLock::new(Arc::new(profile)),
            policies,
            store,
            clock,
            limits,
        }
    }

    /// Puts other names or switches in force; send [`Mail::Recheck`](crate::bus::Mail::Recheck) to the hub afterwards.
    pub fn set_profile(&self, profile: HubProfile) {
        *self.profile.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(profile);
    }

    /// The names and switches in force.
    pub fn profile(&self) -> Arc<HubProfile> {
        self.profile
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The hub's policies.
    pub fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    /// Whether a peer may speak for an identity.
    pub async fn authenticate_device(
        &self,
        identity: &IdentityId,
        credential: &Credential<'_>,
        usage: Usage<'_>,
    ) -> Result<Authenticated, Refusal> {
        let hub = self.profile();
        let registered = self.enabled(&hub.name, identity).await?;
        let (Authentication::Sas { .. }, token) = (&registered.authentication, credential.token) else {
            return Err(check_certificate(identity, credential));
        };
        let Some(Secretive(token)) = token else {
            return Err(
                Refusal::of(identity, Reason::CredentialMissing).expecting("a shared access signature")
            );
        };
        let token = Token::parse(token, &self.limits)?;
        let passed = self.check_token(&hub, &token, Some((identity, &registered)))?;
        let endpoint = match usage {
            Usage::Connection => "",
            Usage::Request(path) => path,
        };
        let resource = Resource::Identity { identity, endpoint };
        check_device_scope(&hub, &passed, identity, resource)?;
        Ok(authenticated(&hub, identity, &registered, &passed))
    }

    /// Whether an open connection still stands on its ground: the identity is the same one and enabled, the key it logged in
    /// with is still valid, and its token has not been expired for longer than the grace.
    pub async fn recheck(&self, proof: &Authenticated) -> Result<(), Refusal> {
        let hub = self.profile();
        let identity = &proof.identity;
        let registered = self.enabled(&hub.name, identity).await?;
        if registered.generation != proof.generation {
            return Err(Refusal::of(identity, Reason::IdentityReplaced));
        }
        self.check_basis(&hub, &proof.basis, Some((identity, &registered)))?;
        match proof.expires {
            Some(expires) => self.check_grace(expires, Subject::Identity(identity.clone())),
            None => Ok(()),
        }
    }

    /// When an open connection must end if nothing renews it; `None` is never.
    pub fn closes_at(&self, proof: &Authenticated) -> Option<Timestamp> {
        let grace = self.limits.time(Limit::SasExpiryGraceSecs);
        proof.expires.map(|expires| expires.plus(grace))
    }

    /// Whether a token of the service side gives the right `R` for a path, percent-decoded once.
    pub fn authorize_service<R: right::Right>(
        &self,
        token: &str,
        path: &str,
    ) -> Result<Authorized<R>, Refusal> {
        let hub = self.profile();
        let token = self.service_token(token)?;
        let passed = self.check_token(&hub, &token, None)?;
        let name = token.policy().unwrap_or_default();
        let resource = Resource::Path(path);
        if !passed.scope.covers(resource, Ids::Exact) {
            return Err(scope_mismatch(
                &hub,
                Subject::Policy(name.to_owned()),
                &passed.scope,
                resource,
            ));
        }
        check_right::<R>(name, passed.rights)?;
        Ok(Authorized::new(hub.name.clone(), Actor::Policy(name.into())))
    }

    /// The right `R` for the operator of this server: its command line, its configuration, its start. Never for a peer.
    pub fn authorize_operator<R: right::Right>(&self) -> Authorized<R> {
        Authorized::new(self.profile().name.clone(), Actor::Operator)
    }

    fn service_token<'t>(&self, text: &'t str) -> Result<Token<'t>, Refusal> {
        if text.is_empty() {
            return Err(
                Refusal::new(Reason::CredentialMissing, Subject::Peer).expecting("a shared access signature")
            );
        }
        if is_bearer(text) {
            return Err(Refusal::new(Reason::BearerUnsupported, Subject::Peer));
        }
        Token::parse(text, &self.limits)
    }

    /// Signature, expiry and form of the scope. Without an identity, only a policy's token can pass.
    pub(super) fn check_token(
        &self,
        hub: &HubProfile,
        token: &Token<'_>,
        of: Option<(&IdentityId, &Registered)>,
    ) -> Result<Passed, Refusal> {
        let (subject, rights, basis) = match (token.policy(), of) {
            (Some(name), _) => {
                let policy = self.policy(hub, name)?;
                let subject = Refusal::of_policy(name, Reason::SignatureMismatch).subject;
                let fingerprint = signing_key(token, [&policy.primary, &policy.secondary])
                    .ok_or_else(|| Refusal::new(Reason::SignatureMismatch, subject.clone()))?;
                let policy_key = Basis::PolicyKey {
                    policy: policy.name.clone(),
                    fingerprint,
                };
                (subject, policy.rights, policy_key)
            }
            (None, Some((identity, registered))) => {
                let subject = Subject::Identity(identity.clone());
                let fingerprint = match &registered.authentication {
                    Authentication::Sas { primary, secondary } => signing_key(token, [primary, secondary]),
                    _ => return Err(Refusal::new(Reason::CertificateExpected, subject)),
                };
                let fingerprint =
                    fingerprint.ok_or_else(|| Refusal::new(Reason::SignatureMismatch, subject.clone()))?;
                (subject, Rights::DEVICE_CONNECT, Basis::IdentityKey(fingerprint))
            }
            (None, None) => {
                return Err(Refusal::new(Reason::TokenMalformed, Subject::Peer)
                    .finding("no field skn")
                    .expecting("the token of a policy"));
            }
        };
        if let Some((identity, _)) = of {
            check_rules(hub, identity)?;
        }
        self.check_expiry(token.expires(), subject.clone())?;
        let scope = Scope::parse(token.resource(), hub).map_err(|invalid| match invalid {
            InvalidScope::Undecodable => Refusal::new(Reason::TokenMalformed, subject.clone())
                .finding("a field sr that is no text")
                .expecting("percent-encoded UTF-8"),
            InvalidScope::ForeignHost(host) => Refusal::new(Reason::HostForeign, subject.clone())
                .finding(&host)
                .expecting(hub.shown_host()),
        })?;
        Ok(Passed {
            scope,
            expires: token.expires(),
            rights,
            basis,
        })
    }

    /// Whether the key that a decision stood on is still valid, and still gives what it gave.
    pub(super) fn check_basis(
        &self,
        hub: &HubProfile,
        basis: &Basis,
        of: Option<(&IdentityId, &Registered)>,
    ) -> Result<(), Refusal> {
        if let Some((identity, registered)) = of {
            if !matches!(registered.authentication, Authentication::Sas { .. }) {
                return Err(Refusal::of(identity, Reason::KeyReplaced));
            }
            check_rules(hub, identity)?;
        }
        match (basis, of) {
            (Basis::IdentityKey(fingerprint), Some((identity, registered))) => {
                match &registered.authentication {
                    Authentication::Sas { primary, secondary }
                        if fingerprint.is_of(primary) || fingerprint.is_of(secondary) =>
                    {
                        Ok(())
                    }
                    _ => Err(Refusal::of(identity, Reason::KeyReplaced)),
                }
            }
            (Basis::IdentityKey(_), None) => Err(Refusal::new(Reason::KeyReplaced, Subject::Peer)),
            (Basis::PolicyKey { policy, fingerprint }, of) => {
                let found = self.policy(hub, policy)?;
                if !(fingerprint.is_of(&found.primary) || fingerprint.is_of(&found.secondary)) {
                    return Err(Refusal::of_policy(policy, Reason::KeyReplaced));
                }
                if of.is_some() {
                    check_device_connect(policy, found.rights)?;
                }
                Ok(())
            }
        }
    }

    /// An open connection or link lasts until the grace after the expiry is over.
    pub(super) fn check_grace(&self, expires: Timestamp, subject: Subject) -> Result<(), Refusal> {
        self.check_within(expires, Limit::SasExpiryGraceSecs, subject)
    }

    /// A new check takes a token until the clock skew after its expiry is over.
    fn check_expiry(&self, expires: Timestamp, subject: Subject) -> Result<(), Refusal> {
        self.check_within(expires, Limit::SasClockSkewSecs, subject)
    }

    fn check_within(&self, expires: Timestamp, limit: Limit, subject: Subject) -> Result<(), Refusal> {
        let now = self.clock.now();
        if now < expires.plus(self.limits.time(limit)) {
            return Ok(());
        }
        let ago = now.since(expires).as_secs().to_string();
        Err(Refusal::new(Reason::TokenExpired, subject).finding(&ago))
    }

    fn policy(&self, hub: &HubProfile, name: &str) -> Result<Arc<Policy>, Refusal> {
        if hub.rules.policy_sas_disabled {
            return Err(Refusal::of_policy(name, Reason::SasDisabled));
        }
        let found = self.policies.get(name);
        found.ok_or_else(|| Refusal::of_policy(name, Reason::PolicyUnknown))
    }

    /// A registered and enabled identity. A module needs its device to be enabled too.
    pub(super) async fn enabled(&self, hub: &HubName, identity: &IdentityId) -> Result<Registered, Refusal> {
        let (registered, status) = self.registered(hub, identity).await?;
        match status {
            Status::Enabled => Ok(registered),
            Status::Disabled => Err(Refusal::of(identity, Reason::IdentityDisabled)),
        }
    }

    /// A registered identity and whether it may connect.
    pub(super) async fn registered(
        &self,
        hub: &HubName,
        identity: &IdentityId,
    ) -> Result<(Registered, Status), Refusal> {
        let device = self.device(hub, identity).await?;
        // A module's record lies in the collection Modules; no operation writes there yet, so none is registered.
        if identity.module.is_some() {
            let reason = match device.status {
                Status::Enabled => Reason::IdentityUnknown,
                Status::Disabled => Reason::IdentityDisabled,
            };
            return Err(Refusal::of(identity, reason));
        }
        let registered = Registered {
            generation: device.generation,
            authentication: device.authentication,
        };
        Ok((registered, device.status))
    }

    async fn device(&self, hub: &HubName, identity: &IdentityId) -> Result<Device, Refusal> {
        match identity::load(&*self.store, hub, &identity.device).await {
            Ok(Some((device, _))) => Ok(device),
            Ok(None) => Err(Refusal::of(identity, Reason::IdentityUnknown)),
            Err(error) => Err(Refusal::unavailable(Subject::Identity(identity.clone()), &error)),
        }
    }
}

/// The decision point of certificates: the identity logs in with one, or has sent no usable token. What the peer's chain is
/// worth is not decided yet, so every answer is a refusal.
fn check_certificate(identity: &IdentityId, credential: &Credential<'_>) -> Refusal {
    if !credential.certificates.is_empty() {
        Refusal::of(identity, Reason::CertificateUnavailable)
    } else if credential.token.is_some() {
        Refusal::of(identity, Reason::CertificateExpected)
    } else {
        Refusal::of(identity, Reason::CredentialMissing).expecting("a client certificate")
    }
}

fn check_rules(hub: &HubProfile, identity: &IdentityId) -> Result<(), Refusal> {
    let disabled = match identity.module {
        None => hub.rules.device_sas_disabled,
        Some(_) => hub.rules.module_sas_disabled,
    };
    if disabled {
        return Err(Refusal::of(identity, Reason::SasDisabled));
    }
    Ok(())
}

/// The table of device-mqtt-https.md 2.2: a policy needs DeviceConnect and any prefix; an own key a scope of its own.
pub(super) fn check_device_scope(
    hub: &HubProfile,
    passed: &Passed,
    identity: &IdentityId,
    resource: Resource<'_>,
) -> Result<(), Refusal> {
    let covers = match &passed.basis {
        Basis::PolicyKey { policy, .. } => {
            check_device_connect(policy, passed.rights)?;
            passed.scope.covers(resource, Ids::Exact)
        }
        Basis::IdentityKey(_) => {
            passed.scope.is_within(identity) && passed.scope.covers(resource, Ids::AnyCase)
        }
    };
    if covers {
        return Ok(());
    }
    Err(scope_mismatch(
        hub,
        Subject::Identity(identity.clone()),
        &passed.scope,
        resource,
    ))
}

pub(super) fn check_device_connect(policy: &str, rights: Rights) -> Result<(), Refusal> {
    if rights.contains(Rights::DEVICE_CONNECT) {
        return Ok(());
    }
    Err(Refusal::of_policy(policy, Reason::RightMissing)
        .finding(&rights.to_string())
        .expecting("DeviceConnect"))
}

pub(super) fn check_right<R: right::Right>(policy: &str, rights: Rights) -> Result<(), Refusal> {
    if R::is_held_by(rights) {
        return Ok(());
    }
    Err(Refusal::of_policy(policy, Reason::RightMissing)
        .finding(&rights.to_string())
        .expecting(R::NAME))
}

pub(super) fn scope_mismatch(
    hub: &HubProfile,
    subject: Subject,
    scope: &Scope,
    resource: Resource<'_>,
) -> Refusal {
    let host = hub.shown_host();
    Refusal::new(Reason::ScopeMismatch, subject)
        .finding(format!("{host}/{scope}").trim_end_matches('/'))
        .expecting(format!("{host}/{resource}").trim_end_matches('/'))
}

pub(super) fn authenticated(
    hub: &HubProfile,
    identity: &IdentityId,
    registered: &Registered,
    passed: &Passed,
) -> Authenticated {
    let scope = match (&passed.basis, &identity.module) {
        (Basis::PolicyKey { .. }, _) => AuthScope::Hub,
        (Basis::IdentityKey(_), None) => AuthScope::Device,
        (Basis::IdentityKey(_), Some(_)) => AuthScope::Module,
    };
    Authenticated {
        hub: hub.name.clone(),
        identity: identity.clone(),
        generation: registered.generation,
        method: AuthMethod {
            scope,
            kind: AuthKind::Sas,
        },
        expires: Some(passed.expires),
        basis: passed.basis.clone(),
    }
}

/// The one of two keys that signed the token.
fn signing_key(token: &Token<'_>, keys: [&SymmetricKey; 2]) -> Option<Fingerprint> {
    let signer = keys.into_iter().find(|key| token.is_signed_by(key));
    signer.map(SymmetricKey::fingerprint)
}

/// `Bearer ..` or three parts with dots (amqp.md 2.1): the body decides, not the declared type.
pub(super) fn is_bearer(text: &str) -> bool {
    let scheme = text.split(' ').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case("bearer") || (!text.contains([' ', '=']) && text.split('.').count() == 3)
}
