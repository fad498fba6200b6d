//! The bus seam: who holds an identity's connection, and messages to it.
//!
//! One contract suite (`engines::contract::bus`) is passed by every implementation. A connection claims each identity that it
//! speaks for; the newest claim wins and the older holder is told to let go. Mail is small and bounded: bulk data lies in the
//! store or the log, mail only says that there is some.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::BoxFuture;
use crate::identity::IdentityId;
use crate::methods::Invocation;
use crate::tenancy::HubName;

/// An identity of a hub.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The hub.
    pub hub: HubName,
    /// The device or module.
    pub identity: IdentityId,
}

/// A message to the connection that holds an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mail {
    /// A newer connection claimed the identity; `by` says from where, for the record.
    Displaced {
        /// Peer address of the newer connection.
        by: SocketAddr,
    },
    /// The identity's registry entry or a policy changed: check again whether the connection may stay.
    Recheck,
    /// Desired properties changed. For a connection that subscribed to them; others drop it. In the order of the versions.
    Desired {
        /// The new version of the desired properties.
        version: u64,
        /// What changed, as JSON with `$version`.
        document: Bytes,
    },
    /// A direct method is called. Dropping it without an answer tells the caller that the connection ended.
    Method(Arc<Invocation>),
    /// Commands wait for the identity.
    Commands,
    /// More desired properties came than could be kept: what the connection's peer knows of them is stale, and whoever follows them
    /// must be made to read the twin again.
    Overflow,
}

/// Where mail is delivered: the inbox of one connection. Must not block.
pub trait Inbox: Send + Sync + 'static {
    /// Takes a message for one of the identities that the connection has claimed.
    fn deliver(&self, to: &Address, mail: Mail);
}

/// A moment in the order of the mail to an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub u64);

/// What a connection is told about its claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Names this claim among all of its identity; a release with another number has no effect.
    pub number: u64,
    /// Whether an older holder was told to let go.
    pub displaced: bool,
    /// When the claim began to hold: mail that is sent later reaches its inbox.
    pub moment: Moment,
}

impl Claim {
    /// Whether mail may have been sent to the identity between a moment and the claim. It did not reach the claim's inbox.
    pub fn may_have_missed(&self, since: Moment) -> bool {
        self.moment != since
    }
}

/// Who holds an identity's connection.
pub trait Bus: Send + Sync + 'static {
    /// Now, in the order of the mail to an identity. It stays the same until mail is sent that could concern the identity, whether
    /// somebody holds it or not.
    fn moment(&self, address: &Address) -> Moment;

    /// Makes `inbox` the holder of an identity. An older holder is sent [`Mail::Displaced`] with `peer`.
    fn claim<'a>(
        &'a self,
        address: &'a Address,
        peer: SocketAddr,
        inbox: Arc<dyn Inbox>,
    ) -> BoxFuture<'a, Claim>;

    /// Ends a claim, unless a newer one has replaced it. Says whether the identity is now without a holder.
    fn release(&self, address: &Address, claim: Claim) -> bool;

    /// Sends mail to the holder; `false` when nobody holds the identity.
    fn send(&self, address: &Address, mail: Mail) -> bool;

    /// Sends mail to every holder of a hub's identities. Gives the number of them.
    fn broadcast(&self, hub: &HubName, mail: Mail) -> usize;

    /// Whether somebody holds the identity.
    fn is_held(&self, address: &Address) -> bool;

    /// Number of device identities (modules not counted) of a hub that are held.
    fn held_devices(&self, hub: &HubName) -> usize;
}
