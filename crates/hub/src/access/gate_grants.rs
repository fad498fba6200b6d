//! Tokens that are put on a connection first and used by its links later: AMQP's CBS and SASL PLAIN (amqp.md 2.1 to 2.3).

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::identity::IdentityId;
use crate::limits::Limit;

use super::bearer::is_bearer;
use super::checks::{Passed, check_device_connect, check_operation, parse_scope, scope_mismatch};
use super::gate::{Gate, authenticated};
use super::grant::{Grant, Holder};
use super::operation::Operation;
use super::plain::PlainUser;
use super::profile::HubProfile;
use super::proof::{Actor, Authenticated, Authorized};
use super::refusal::{Reason, Refusal, Subject};
use super::sas::Token;
use super::scope::Resource;
use super::trail::Trail;

impl Gate {
    /// Checks a token that is put on a connection. A disabled identity passes: its links are refused when they attach.
    pub async fn grant(&self, token: &str) -> Result<Grant, Refusal> {
        if is_bearer(token) {
            return self.bearer_grant(token).await;
        }
        let hub = self.profile();
        let token = Token::parse(token, &self.limits)?;
        match token.policy() {
            Some(_) => {
                let passed = self.check_token(&hub, &token, None, &mut Trail::silent())?;
                Ok(policy_grant(passed, token.policy().unwrap_or_default()))
            }
            None => self.identity_grant(&hub, &token).await,
        }
    }

    /// Checks user name and password of SASL PLAIN. The password is a token; it must speak of the user.
    pub async fn grant_plain(&self, authcid: &str, password: &str) -> Result<Grant, Refusal> {
        let mismatch = || Refusal::new(Reason::UserMismatch, Subject::Peer).expecting(authcid);
        let user = PlainUser::parse(authcid).ok_or_else(|| {
            Refusal::new(Reason::Malformed, Subject::Peer)
                .expecting("{device}@sas.{hub} or {policy}@sas.root.{hub}")
                .finding(authcid)
        })?;
        let hub = self.profile();
        if !hub.has_label(user.hub()) {
            return Err(Refusal::new(Reason::HostUnknown, Subject::Peer).finding(user.hub()));
        }
        let grant = self.grant(password).await?;
        match (user, &grant.holder) {
            (PlainUser::Policy { policy, .. }, Holder::Policy(name)) if **name == *policy => Ok(grant),
            (PlainUser::Identity { identity, .. }, holder) => {
                if let Holder::Policy(policy) = holder {
                    check_device_connect(policy, grant.rights)?;
                    self.registered(&hub.name, &identity).await?;
                }
                let resource = Resource::Identity {
                    identity: &identity,
                    endpoint: "",
                };
                if grant.covers(resource) {
                    Ok(grant)
                } else {
                    Err(mismatch())
                }
            }
            _ => Err(mismatch()),
        }
    }

    /// Whether a link may speak for an identity by a grant of its connection.
    pub async fn authenticate_granted(
        &self,
        identity: &IdentityId,
        grant: &Grant,
    ) -> Result<Authenticated, Refusal> {
        let hub = self.profile();
        let registered = self.enabled(&hub.name, identity).await?;
        let resource = Resource::Identity {
            identity,
            endpoint: "",
        };
        if !grant.covers(resource) {
            return Err(scope_mismatch(
                &hub,
                Subject::Identity(identity.clone()),
                &grant.scope,
                resource,
            ));
        }
        if grant
            .generation
            .is_some_and(|generation| generation != registered.generation)
        {
            return Err(Refusal::of(identity, Reason::IdentityReplaced));
        }
        self.check_basis(&hub, &grant.basis, Some((identity, &registered)))?;
        self.check_grace(grant.expires, Subject::Identity(identity.clone()))?;
        let passed = Passed {
            scope: grant.scope.clone(),
            expires: grant.expires,
            rights: grant.rights,
            basis: grant.basis.clone(),
        };
        let proof = authenticated(&hub, identity, &registered, &passed);
        self.note_login(&proof);
        Ok(proof)
    }

    /// Whether a grant allows the operation `O` at a path of the service side. Also asked again on
    /// [`Mail::Recheck`](crate::bus::Mail::Recheck) and when the grant's end is near.
    pub fn authorize_granted<O: Operation>(
        &self,
        grant: &Grant,
        path: &str,
    ) -> Result<Authorized<O>, Refusal> {
        if let Holder::Principal(bearer) = &grant.holder {
            return self.authorize_granted_bearer(bearer);
        }
        let hub = self.profile();
        let Holder::Policy(policy) = &grant.holder else {
            let subject = grant.subject();
            return Err(Refusal::new(Reason::RightMissing, subject)
                .finding(&grant.rights.to_string())
                .expecting(&O::DEFINITION.policies_text()));
        };
        self.check_basis(&hub, &grant.basis, None)?;
        self.check_grace(grant.expires, grant.subject())?;
        let resource = Resource::Path(path);
        if !grant.covers(resource) {
            return Err(scope_mismatch(&hub, grant.subject(), &grant.scope, resource));
        }
        // The policy as it is now: a right that was taken away is gone.
        let rights = self
            .policies
            .get(policy)
            .map(|policy| policy.rights)
            .unwrap_or_default();
        check_operation(O::DEFINITION, policy, rights)?;
        let actor = Actor::Policy(policy.clone());
        self.note_use(&actor);
        Ok(Authorized::new(hub.name.clone(), actor))
    }

    /// When links that stand on a grant must end if nothing renews it.
    pub fn grant_ends_at(&self, grant: &Grant) -> Timestamp {
        match &grant.holder {
            Holder::Principal(bearer) => bearer.ends_at(),
            Holder::Identity(_) | Holder::Policy(_) => {
                grant.expires.plus(self.limits.time(Limit::SasExpiryGraceSecs))
            }
        }
    }

    /// A token without policy: the identity is the one in its scope, in exact case, ids as they stand or decoded once more.
    async fn identity_grant(&self, hub: &Arc<HubProfile>, token: &Token<'_>) -> Result<Grant, Refusal> {
        let scope = parse_scope(hub, token, &Subject::Peer)?;
        let mut refusal = Refusal::new(Reason::TokenMalformed, Subject::Peer)
            .finding("neither a device in the field sr nor a field skn")
            .expecting("a token of a device or of a policy");
        for identity in scope.identities() {
            match self.registered(&hub.name, &identity).await {
                Err(unknown) if unknown.reason == Reason::IdentityUnknown => refusal = unknown,
                Err(other) => return Err(other),
                Ok((registered, _)) => {
                    let passed =
                        self.check_token(hub, token, Some((&identity, &registered)), &mut Trail::silent())?;
                    return Ok(Grant {
                        holder: Holder::Identity(identity),
                        generation: Some(registered.generation),
                        scope: passed.scope,
                        rights: passed.rights,
                        expires: passed.expires,
                        basis: passed.basis,
                    });
                }
            }
        }
        Err(refusal)
    }
}

impl Grant {
    /// Whom to name in a record.
    pub fn subject(&self) -> Subject {
        match &self.holder {
            Holder::Identity(identity) => Subject::Identity(identity.clone()),
            Holder::Policy(name) => Subject::Policy(name.to_string()),
            Holder::Principal(bearer) => bearer.subject(),
        }
    }
}

fn policy_grant(passed: Passed, policy: &str) -> Grant {
    Grant {
        holder: Holder::Policy(policy.into()),
        generation: None,
        scope: passed.scope,
        rights: passed.rights,
        expires: passed.expires,
        basis: passed.basis,
    }
}
