//! The tokens that a connection holds: put at `$cbs` or given with SASL PLAIN (amqp.md 2.2).

use hub::access::{Authorized, Gate, Grant, Operation, Reason, Refusal, Resource, Subject};
use hub::clock::Timestamp;
use hub::identity::IdentityId;
use hub::limits::{Limit, Limits};

/// Grants by the audience that they were put for: a renewal replaces the one of its audience.
#[derive(Debug, Default)]
pub(super) struct Grants {
    // Boxed: a connection of many devices has many, and a list that grows has room for twice as many.
    by_audience: Vec<(Box<str>, Box<Grant>)>,
}

impl Grants {
    /// Adds a grant, or replaces the one of its audience.
    pub(super) fn put(&mut self, audience: &str, grant: Grant, limits: &Limits) -> Result<(), Refusal> {
        if let Some((_, held)) = self.by_audience.iter_mut().find(|(name, _)| **name == *audience) {
            **held = grant;
            return Ok(());
        }
        if self.by_audience.len() >= limits.size(Limit::GrantsPerConnectionMax) {
            limits.hit(Limit::GrantsPerConnectionMax);
            return Err(Refusal::new(Reason::TooManyGrants, Subject::Peer));
        }
        self.by_audience.push((audience.into(), Box::new(grant)));
        Ok(())
    }

    /// Drops the grant of an audience.
    pub(super) fn delete(&mut self, audience: &str) {
        self.by_audience.retain(|(name, _)| **name != *audience);
    }

    /// Whether any grant allows the operation `O` at a path; the last refusal if none does.
    pub(super) fn authorize<O: Operation>(&self, gate: &Gate, path: &str) -> Result<Authorized<O>, Refusal> {
        let mut refusal = Refusal::new(Reason::CredentialMissing, Subject::Peer)
            .expecting("a token, put at $cbs or given with SASL PLAIN");
        for (_, grant) in &self.by_audience {
            match gate.authorize_granted::<O>(grant, path) {
                Ok(proof) => return Ok(proof),
                Err(refused) => refusal = refused,
            }
        }
        Err(refusal)
    }

    /// Grants whose scope covers an identity. Whether they hold is for the gate to say.
    pub(super) fn covering(&self, identity: &IdentityId) -> Vec<Grant> {
        let resource = Resource::Identity {
            identity,
            endpoint: "",
        };
        let covers = self
            .by_audience
            .iter()
            .filter(|(_, grant)| grant.covers(resource));
        covers.map(|(_, grant)| Grant::clone(grant)).collect()
    }

    /// Any grant, if there is one.
    pub(super) fn any(&self) -> Option<Grant> {
        self.by_audience.first().map(|(_, grant)| Grant::clone(grant))
    }

    /// Forgets grants whose time is up; says whether any went.
    pub(super) fn expire(&mut self, gate: &Gate, now: Timestamp) -> bool {
        let before = self.by_audience.len();
        self.by_audience
            .retain(|(_, grant)| gate.grant_ends_at(grant) > now);
        self.by_audience.len() < before
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_audience.is_empty()
    }
}
