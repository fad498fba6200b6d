//! The queues.

use std::sync::Arc;

use crate::access::{Authenticated, Authorized, right};
use crate::bus::{Address, Bus};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::error::{Code, Error};
use crate::identity::IdentityId;
use crate::limits::Limits;
use crate::store::Store;

use super::{Command, Delivery, LockToken, Settlement};

/// Command queues of all identities of a server.
pub struct Commands {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    limits: Arc<Limits>,
}

impl Commands {
    /// Queues over the seams.
    pub fn new(
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            store,
            bus,
            clock,
            entropy,
            limits,
        }
    }

    /// Puts a command into the queue of an identity; durable when this resolves. The holder of the identity is sent
    /// [`Mail::Commands`](crate::bus::Mail::Commands).
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`, `DeviceMaximumQueueDepthExceeded`, `MessageTooLarge`, `InvalidMessageExpiryTime`.
    pub async fn send(
        &self,
        right: &Authorized<right::ServiceConnect>,
        to: &IdentityId,
        command: Command,
    ) -> Result<(), Error> {
        let _ = (
            right,
            to,
            command,
            &self.store,
            &self.bus,
            &self.clock,
            &self.entropy,
            &self.limits,
        );
        Err(unsupported())
    }

    /// Empties the queue of an identity; gives the number of commands that were removed.
    pub async fn purge(
        &self,
        right: &Authorized<right::CommandsPurge>,
        identity: &IdentityId,
    ) -> Result<u64, Error> {
        let _ = (right, identity);
        Err(unsupported())
    }

    /// How many commands wait for an identity, those under a lock included.
    pub async fn depth(&self, address: &Address) -> Result<u64, Error> {
        let _ = address;
        Ok(0)
    }

    /// Takes up to `max` commands that nobody holds, in order, each under a lock of its own. Empty when there is none.
    pub async fn receive(&self, proof: &Authenticated, max: usize) -> Result<Vec<Delivery>, Error> {
        let _ = (proof, max);
        Ok(Vec::new())
    }

    /// Settles commands that are held; resolves when that is durable, all in one batch. One result per lock, in their order:
    /// `DeviceMessageLockLost` when the lock is gone.
    pub async fn settle(
        &self,
        proof: &Authenticated,
        settlements: &[(LockToken, Settlement)],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let _ = proof;
        Ok(settlements.iter().map(|_| Ok(())).collect())
    }

    /// Gives commands back that a connection held when it ended; they can be received again at once. The holder of the identity,
    /// if there is a newer one, is sent [`Mail::Commands`](crate::bus::Mail::Commands).
    pub fn release(&self, proof: &Authenticated, locks: &[LockToken]) {
        let _ = (proof, locks);
    }
}

fn unsupported() -> Error {
    Error::operator(Code::FeatureNotSupported, "Commands are not offered yet")
}

impl std::fmt::Debug for Commands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commands").finish_non_exhaustive()
    }
}
