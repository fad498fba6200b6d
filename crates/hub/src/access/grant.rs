//! What a token put on an AMQP connection allows there (amqp.md 2.2).

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::identity::{GenerationId, IdentityId};

use super::gate_bearer::Bearer;
use super::proof::Basis;
use super::rights::Rights;
use super::scope::{Ids, Resource, Scope};

/// Whose key signed the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// The identity's own. Its grant never covers another identity, nor the modules of a device.
    Identity(IdentityId),
    /// A policy's.
    Policy(Arc<str>),
    /// An issuer's, for somebody with roles. Its grant never covers a device.
    Principal(Bearer),
}

/// A checked token: scope, rights, expiry. Whether an identity may still connect is asked when a link uses it.
#[derive(Debug, Clone)]
pub struct Grant {
    pub(super) holder: Holder,
    /// The generation of the holder, if it is an identity.
    pub(super) generation: Option<GenerationId>,
    pub(super) scope: Scope,
    pub(super) rights: Rights,
    pub(super) expires: Timestamp,
    pub(super) basis: Basis,
}

impl Grant {
    /// Whose key signed the token.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// What it covers.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What it allows there.
    pub fn rights(&self) -> Rights {
        self.rights
    }

    /// When the token expires; links last for a grace longer ([`super::Gate::grant_ends_at`]).
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Whether a link's resource lies in the scope. The right is another question.
    pub fn covers(&self, resource: Resource<'_>) -> bool {
        let is_own = match (&self.holder, resource) {
            (Holder::Policy(_), _) | (Holder::Principal(_), Resource::Path(_)) => true,
            (Holder::Identity(own), Resource::Identity { identity, .. }) => own == identity,
            (Holder::Identity(_), Resource::Path(_)) | (Holder::Principal(_), Resource::Identity { .. }) => {
                false
            }
        };
        is_own && self.scope.covers(resource, Ids::Exact)
    }
}
