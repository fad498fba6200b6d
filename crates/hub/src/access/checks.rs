//! The single questions that the gate asks of a token and of the ground that a proof stands on.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::identity::{Authentication, IdentityId};
use crate::limits::Limit;
use crate::secret::{Fingerprint, SymmetricKey};

use super::gate::{Gate, Registered};
use super::operation::Definition;
use super::policy::Policy;
use super::profile::HubProfile;
use super::proof::Basis;
use super::refusal::{Reason, Refusal, Step, Subject};
use super::rights::Rights;
use super::sas::Token;
use super::scope::{Ids, InvalidScope, Resource, Scope};
use super::trail::Trail;

/// A token that passed.
pub(super) struct Passed {
    pub(super) scope: Scope,
    pub(super) expires: Timestamp,
    pub(super) rights: Rights,
    pub(super) basis: Basis,
}

impl Gate {
    /// Signature, expiry and form of the scope. Without an identity, only a policy's token can pass.
    pub(super) fn check_token(
        &self,
        hub: &HubProfile,
        token: &Token<'_>,
        of: Option<(&IdentityId, &Registered)>,
        trail: &mut Trail,
    ) -> Result<Passed, Refusal> {
        let (subject, rights, basis) = match (token.policy(), of) {
            (Some(name), _) => {
                let policy = self.policy(hub, name)?;
                let subject = Refusal::of_policy(name, Reason::SignatureMismatch).subject;
                let keys = [&policy.primary, &policy.secondary];
                let fingerprint = signing_key(token, keys)
                    .or_else(|| signing_key_by_text(token, keys))
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
                    other => return Err(takes_no_token(identity, other)),
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
        trail.passed(Step::Signature, "Does one of the keys sign the token?", || {
            let expected = format!("the primary or secondary key of {subject}");
            (expected, format!("{basis:?}"))
        });
        if let Some((identity, _)) = of {
            check_rules(hub, identity)?;
        }
        self.check_expiry(token.expires(), subject.clone())
            .inspect_err(|_| {
                if !trail.is_kept() {
                    self.limits.hit(Limit::SasClockSkewSecs);
                }
            })?;
        trail.passed(Step::Expiry, "Is the token still good?", || {
            let now = self.clock.now();
            (format!("an expiry after {now}"), token.expires().to_string())
        });
        if let (Basis::PolicyKey { policy, .. }, false) = (&basis, trail.is_kept()) {
            let observed = self.observed();
            observed.policy_token(policy, token.expires(), self.clock.now());
        }
        let scope = parse_scope(hub, token, &subject)?;
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
        if let (Basis::Certificate(presented), Some((identity, registered))) = (basis, of) {
            return self.recheck_certificate(identity, registered, presented);
        }
        if let Some((identity, registered)) = of {
            if !matches!(registered.authentication, Authentication::Sas { .. }) {
                return Err(takes_no_token(identity, &registered.authentication));
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
            // Never for a device; on the service side the directory is asked.
            (Basis::Bearer, _) => Err(Refusal::new(Reason::BearerUnsupported, Subject::Peer)),
            (Basis::IdentityKey(_) | Basis::Certificate(_), _) => {
                Err(Refusal::new(Reason::KeyReplaced, Subject::Peer))
            }
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
            .inspect_err(|_| self.limits.hit(Limit::SasExpiryGraceSecs))
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
}

/// The scope of a token, if it is one of this hub.
pub(super) fn parse_scope(hub: &HubProfile, token: &Token<'_>, subject: &Subject) -> Result<Scope, Refusal> {
    Scope::parse(token.resource(), hub).map_err(|invalid| match invalid {
        InvalidScope::Undecodable => Refusal::new(Reason::TokenMalformed, subject.clone())
            .finding("a field sr that is no text")
            .expecting("percent-encoded UTF-8"),
        InvalidScope::ForeignHost(host) => Refusal::new(Reason::HostForeign, subject.clone())
            .finding(&host)
            .expecting(hub.shown_host()),
    })
}

/// The refusal of a token for an identity that logs in otherwise, or not at all.
fn takes_no_token(identity: &IdentityId, authentication: &Authentication) -> Refusal {
    let reason = match authentication {
        Authentication::None => Reason::CredentialUnset,
        _ => Reason::CertificateExpected,
    };
    Refusal::of(identity, reason)
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

/// The table of device-mqtt-https.md 2.2: a policy needs `DeviceConnect` and any prefix; an own key a scope of its own.
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
        Basis::Bearer => false,
        Basis::IdentityKey(_) | Basis::Certificate(_) => {
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

pub(super) fn check_operation(operation: &Definition, policy: &str, rights: Rights) -> Result<(), Refusal> {
    if operation.is_held_by(rights) {
        return Ok(());
    }
    Err(Refusal::of_policy(policy, Reason::RightMissing)
        .finding(&rights.to_string())
        .expecting(&operation.policies_text()))
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

/// The one of two keys that signed the token.
fn signing_key(token: &Token<'_>, keys: [&SymmetricKey; 2]) -> Option<Fingerprint> {
    let signer = keys.into_iter().find(|key| token.is_signed_by(key));
    signer.map(SymmetricKey::fingerprint)
}

/// The same for clients to whom a key is a text: those of Event Hubs, which know policies alone.
fn signing_key_by_text(token: &Token<'_>, keys: [&SymmetricKey; 2]) -> Option<Fingerprint> {
    let signer = keys.into_iter().find(|key| token.is_signed_by_text_of(key));
    signer.map(SymmetricKey::fingerprint)
}
