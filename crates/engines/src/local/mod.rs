//! The bus of one node: a map from identity to the inbox of its connection.
//!
//! The map is cut into shards by hash, each behind its own lock that is held for a look-up only; mail is delivered after the
//! lock is let go, so an inbox may call the bus. An entry costs about 100 bytes: the parts of an address are shared with the
//! connection. A concurrent-map crate was refused: the locks are not contended at the rates a node can take connections.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hub::BoxFuture;
use hub::bus::{Address, Bus, Claim, Inbox, Mail, Moment};
use hub::tenancy::HubName;

/// Number of shards: enough that two workers seldom meet, small enough that an empty bus costs nothing.
const SHARD_COUNT: usize = 64;

/// Who holds which identity, in this process.
pub struct LocalBus {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    next_claim: AtomicU64,
}

#[derive(Default)]
struct Shard {
    holders: HashMap<Address, Holder>,
    /// Devices (without modules) of each hub in `holders`, so that counting needs no walk.
    device_counts: HashMap<HubName, usize>,
    /// Counts the mail to identities of the shard, also to those that nobody holds.
    mail_count: u64,
}

struct Holder {
    claim: u64,
    inbox: Arc<dyn Inbox>,
}

impl LocalBus {
    /// A bus that nobody holds anything on.
    pub fn new() -> Self {
        Self {
            shards: (0..SHARD_COUNT).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            next_claim: AtomicU64::new(1),
        }
    }

    fn shard(&self, address: &Address) -> MutexGuard<'_, Shard> {
        let hash = usize::try_from(self.hasher.hash_one(address) % SHARD_COUNT as u64).unwrap_or_default();
        #[allow(clippy::indexing_slicing, reason = "a remainder of the length is inside")]
        let shard = &self.shards[hash];
        lock(shard)
    }

    fn replace(&self, address: &Address, peer: SocketAddr, inbox: &Arc<dyn Inbox>) -> Claim {
        let number = self.next_claim.fetch_add(1, Ordering::Relaxed);
        let holder = Holder {
            claim: number,
            inbox: Arc::clone(inbox),
        };
        let (older, moment) = {
            let mut shard = self.shard(address);
            (shard.insert(address, holder), shard.moment())
        };
        // A connection that claims an identity again is not displaced by itself.
        let displaced = older.filter(|older| !Arc::ptr_eq(&older.inbox, inbox));
        if let Some(older) = &displaced {
            older.inbox.deliver(address, Mail::Displaced { by: peer });
        }
        Claim {
            number,
            displaced: displaced.is_some(),
            moment,
        }
    }
}

impl Default for LocalBus {
    fn default() -> Self {
        Self::new()
    }
}

impl Bus for LocalBus {
    fn moment(&self, address: &Address) -> Moment {
        self.shard(address).moment()
    }

    fn claim<'a>(
        &'a self,
        address: &'a Address,
        peer: SocketAddr,
        inbox: Arc<dyn Inbox>,
    ) -> BoxFuture<'a, Claim> {
        Box::pin(async move { self.replace(address, peer, &inbox) })
    }

    fn release(&self, address: &Address, claim: Claim) -> bool {
        let mut shard = self.shard(address);
        match shard.holders.get(address) {
            None => true,
            Some(holder) if holder.claim == claim.number => {
                // The inbox may be the last of its connection; it is dropped after the lock.
                let removed = shard.remove(address);
                drop(shard);
                drop(removed);
                true
            }
            Some(_) => false,
        }
    }

    fn send(&self, address: &Address, mail: Mail) -> bool {
        let inbox = {
            let mut shard = self.shard(address);
            shard.mail_count += 1;
            shard.holders.get(address).map(|holder| Arc::clone(&holder.inbox))
        };
        match inbox {
            Some(inbox) => {
                inbox.deliver(address, mail);
                true
            }
            None => false,
        }
    }

    fn broadcast(&self, hub: &HubName, mail: Mail) -> usize {
        let mut count = 0;
        for shard in &self.shards {
            let inboxes: Vec<(Address, Arc<dyn Inbox>)> = {
                let mut shard = lock(shard);
                shard.mail_count += 1;
                shard
                    .holders
                    .iter()
                    .filter(|(address, _)| address.hub == *hub)
                    .map(|(address, holder)| (address.clone(), Arc::clone(&holder.inbox)))
                    .collect()
            };
            count += inboxes.len();
            for (address, inbox) in inboxes {
                inbox.deliver(&address, mail.clone());
            }
        }
        count
    }

    fn is_held(&self, address: &Address) -> bool {
        self.shard(address).holders.contains_key(address)
    }

    fn held_devices(&self, hub: &HubName) -> usize {
        self.shards
            .iter()
            .map(|shard| lock(shard).device_counts.get(hub).copied().unwrap_or_default())
            .sum()
    }
}

impl Shard {
    fn moment(&self) -> Moment {
        Moment(self.mail_count)
    }

    fn insert(&mut self, address: &Address, holder: Holder) -> Option<Holder> {
        let older = self.holders.insert(address.clone(), holder);
        if older.is_none() && address.identity.module.is_none() {
            *self.device_counts.entry(address.hub.clone()).or_default() += 1;
        }
        older
    }

    fn remove(&mut self, address: &Address) -> Option<Holder> {
        let removed = self.holders.remove(address)?;
        if address.identity.module.is_none()
            && let Some(count) = self.device_counts.get_mut(&address.hub)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.device_counts.remove(&address.hub);
            }
        }
        Some(removed)
    }
}

/// A shard stays consistent at every step, so a panic elsewhere while it was locked does no harm.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;

    #[tokio::test]
    async fn keeps_the_contract() {
        contract::bus::all(|| Arc::new(LocalBus::new())).await;
    }
}
