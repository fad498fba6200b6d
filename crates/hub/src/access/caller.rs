//! Who does something, and from where: what a proof remembers for records and the audit trail.

use std::net::SocketAddr;
use std::sync::Arc;

use super::proof::Actor;

/// Where a request came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Address and port of the peer.
    pub peer: SocketAddr,
    /// `https`, `amqp`, ...
    pub protocol: &'static str,
    /// By which the request is found in the log and in its answer.
    pub tracking_id: Box<str>,
}

/// Somebody who was let do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    actor: Actor,
    provenance: Option<Arc<Provenance>>,
}

impl Caller {
    /// Somebody of whom nothing but the name is known.
    pub(super) const fn new(actor: Actor) -> Self {
        Self {
            actor,
            provenance: None,
        }
    }

    /// The operator of the server, and the server itself.
    pub const fn operator() -> Self {
        Self::new(Actor::Operator)
    }

    /// The same, who called from there.
    pub(super) fn coming_from(mut self, provenance: Arc<Provenance>) -> Self {
        self.provenance = Some(provenance);
        self
    }

    /// Who.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// From where; the operator of the server comes from nowhere.
    pub fn provenance(&self) -> Option<&Provenance> {
        self.provenance.as_deref()
    }
}
