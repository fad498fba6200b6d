//! The queues as receivers and operators see them; sending is in `sending`.

use std::sync::Arc;

use crate::access::{Authenticated, Authorized, operation};
use crate::bus::{Address, Bus};
use crate::clock::{Clock, Timestamp};
use crate::entropy::Entropy;
use crate::error::{Code, Error};
use crate::identity::{self, IdentityId};
use crate::limits::{Limit, Limits};
use crate::store::{Range, Store};

use super::core::{Act, Core, Done};
use super::feedback::Feedback;
use super::keys::{QueueId, head_key, sequence_of};
use super::stored::{Entry, Head};
use super::{Delivery, LockToken, Outcome, Settlement};

/// Commands that one read of the store brings at most, each of up to 64 KiB.
const PAGE_MAX: usize = 32;

/// Command queues of all identities of a server.
pub struct Commands {
    pub(super) core: Arc<Core>,
}

/// Commands that are locked but not handed out yet. Dropped, they are free again.
struct Handing<'h> {
    core: &'h Core,
    queue: &'h QueueId,
    deliveries: Vec<Delivery>,
}

impl Drop for Handing<'_> {
    fn drop(&mut self) {
        for delivery in &self.deliveries {
            self.core.locks.give_back(self.queue, &delivery.sequence);
        }
    }
}

impl Commands {
    /// Queues over the seams, without feedback.
    pub fn new(
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            core: Arc::new(Core::new(store, bus, clock, entropy, limits, None)),
        }
    }

    /// Wakes those who wait for this feedback when there is some.
    pub fn with_feedback(self, feedback: Arc<Feedback>) -> Self {
        let Core {
            store,
            bus,
            clock,
            entropy,
            limits,
            ..
        } = &*self.core;
        let core = Core::new(
            Arc::clone(store),
            Arc::clone(bus),
            Arc::clone(clock),
            Arc::clone(entropy),
            Arc::clone(limits),
            Some(feedback),
        );
        Self { core: Arc::new(core) }
    }

    /// Empties the queue of an identity, locked commands included; gives the number of commands that were removed.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`.
    pub async fn purge(
        &self,
        right: &Authorized<operation::PurgeCommands>,
        identity: &IdentityId,
    ) -> Result<u64, Error> {
        let core = &*self.core;
        let found = identity::find(&*core.store, right.hub(), identity).await?;
        let found = found.ok_or_else(|| not_found(identity))?;
        let queue = QueueId {
            address: Address {
                hub: right.hub().clone(),
                identity: identity.clone(),
            },
            generation: found.identity().generation(),
        };
        let _turn = core.turn(&queue.address).await;
        let mut purged = 0;
        let mut after = None;
        loop {
            let page = page(&queue, after.take(), PAGE_MAX);
            let documents = core.store.scan(&page).await?;
            let Some(last) = documents.last() else {
                break;
            };
            after = Some(last.key.id.to_string());
            let sequences = documents
                .iter()
                .filter_map(|document| sequence_of(&document.key.id));
            let acts: Vec<_> = sequences.map(|sequence| (sequence, Act::Purge)).collect();
            for ((sequence, _), done) in acts.iter().zip(core.change(&queue, &acts).await?) {
                core.locks.done(&queue, sequence);
                purged += u64::from(done == Done::Ended(Outcome::Purged));
            }
        }
        core.locks.forget(&queue);
        Ok(purged)
    }

    /// How many commands wait for an identity, those under a lock included.
    pub async fn depth(&self, address: &Address) -> Result<u64, Error> {
        let Some(document) = self.core.store.get(&head_key(address)).await? else {
            return Ok(0);
        };
        Ok(Head::decode(&document.body)?.count)
    }

    /// Takes up to `max` commands that nobody holds, in order, each under a lock of its own. Empty when there is none.
    pub async fn receive(&self, proof: &Authenticated, max: usize) -> Result<Vec<Delivery>, Error> {
        let core = &*self.core;
        let queue = QueueId::of(proof);
        let _turn = core.turn(&queue.address).await;
        core.end_locks();
        let (mut found, expired) = self.free_commands(&queue, max).await?;
        if !expired.is_empty() {
            let acts: Vec<_> = expired
                .into_iter()
                .map(|sequence| (sequence, Act::Expire))
                .collect();
            core.change(&queue, &acts).await?;
        }
        let lock_time = core.limits.time(Limit::CommandLockSecs);
        let until = core.clock.elapsed().saturating_add(lock_time);
        let locked_until = core.clock.now().plus(lock_time);
        for delivery in &mut found {
            core.entropy.fill(&mut delivery.lock.0);
            delivery.locked_until = locked_until;
            let was_seen = core.locks.take(&queue, &delivery.sequence, delivery.lock, until);
            delivery.redelivered = was_seen || delivery.delivery_count > 0;
        }
        // An identity that was deleted meanwhile takes its locks along, unless that came before the locks.
        let mut handing = Handing {
            core,
            queue: &queue,
            deliveries: found,
        };
        if !handing.deliveries.is_empty() && core.head(&queue).await?.is_none() {
            core.locks.forget(&queue);
            handing.deliveries.clear();
        }
        Ok(std::mem::take(&mut handing.deliveries))
    }

    /// The first commands that nobody holds, and the sequences of expired ones that were met before them.
    async fn free_commands(&self, queue: &QueueId, max: usize) -> Result<(Vec<Delivery>, Vec<u64>), Error> {
        let core = &*self.core;
        let now = core.clock.now();
        let held = core.locks.held(queue);
        let (mut found, mut expired) = (Vec::new(), Vec::new());
        let mut after = None;
        while found.len() < max {
            let limit = (max - found.len()).saturating_add(held.len()).min(PAGE_MAX);
            let documents = core.store.scan(&page(queue, after.take(), limit)).await?;
            for document in &documents {
                if found.len() == max {
                    break;
                }
                let Some(sequence) =
                    sequence_of(&document.key.id).filter(|sequence| !held.contains(sequence))
                else {
                    continue;
                };
                match Entry::decode(&document.body) {
                    Ok(entry) if entry.expires <= now => expired.push(sequence),
                    Ok(entry) => found.push(delivery(sequence, entry)),
                    Err(error) => {
                        tracing::error!(%error, identity = %queue.address.identity, sequence, "a command is passed over");
                    }
                }
            }
            if documents.len() < limit {
                break;
            }
            after = documents.last().map(|document| document.key.id.to_string());
        }
        Ok((found, expired))
    }

    /// Settles commands that are held; resolves when that is durable, all in one batch. One result per lock, in their order:
    /// `DeviceMessageLockLost` when the lock is gone. Begins when it is called and goes on to its end, whether or not the caller
    /// waits for it. To be called within a tokio runtime.
    ///
    /// # Errors
    /// Of the store; the locks are then as before.
    pub fn settle(
        &self,
        proof: &Authenticated,
        settlements: &[(LockToken, Settlement)],
    ) -> impl Future<Output = Result<Vec<Result<(), Error>>, Error>> + Send + use<> {
        let (core, queue) = (Arc::clone(&self.core), QueueId::of(proof));
        let now = core.clock.elapsed();
        // At once: a release that follows finds them under way.
        let begun: Vec<Option<(u64, Act)>> = settlements
            .iter()
            .map(|(lock, settlement)| Some((core.locks.begin(&queue, *lock, now)?, act(*settlement))))
            .collect();
        let settling = tokio::spawn(async move { core.settle(&queue, &begun).await });
        async move {
            settling
                .await
                .unwrap_or_else(|error| Err(Error::bug(format!("settling failed: {error}"))))
        }
    }

    /// Gives commands back that a connection held when it ended; they can be received again at once. The holder of the identity,
    /// if there is a newer one, is sent [`Mail::Commands`](crate::bus::Mail::Commands).
    pub fn release(&self, proof: &Authenticated, locks: &[LockToken]) {
        let queue = QueueId::of(proof);
        if self.core.locks.release(&queue, locks) {
            self.core.call(&queue.address);
        }
    }

    /// Ends locks whose time is up, and tells the holders of their identities. To be called every second.
    pub fn end_locks(&self) {
        self.core.end_locks();
    }

    /// Identities that cost memory because their commands are held, or were.
    pub fn identities_in_memory(&self) -> usize {
        self.core.locks.len()
    }
}

impl Core {
    async fn settle(
        &self,
        queue: &QueueId,
        begun: &[Option<(u64, Act)>],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let _turn = self.turn(&queue.address).await;
        let acts: Vec<(u64, Act)> = begun.iter().flatten().copied().collect();
        let changed = self.change(queue, &acts).await;
        let mut any_free = false;
        for (index, (sequence, act)) in acts.iter().enumerate() {
            match changed.as_ref().map(|done| done.get(index)) {
                Ok(Some(Done::Kept)) if *act == Act::Abandon => {
                    self.locks.give_back(queue, sequence);
                    any_free = true;
                }
                Ok(_) => self.locks.done(queue, sequence),
                Err(_) => any_free |= self.locks.keep(queue, sequence, self.clock.elapsed()),
            }
        }
        if any_free {
            self.call(&queue.address);
        }
        let mut changed = changed?.into_iter();
        let result = |begun: &Option<(u64, Act)>| match begun.and_then(|_| changed.next()) {
            None | Some(Done::Gone | Done::Ended(Outcome::Expired)) => Err(lock_lost()),
            Some(_) => Ok(()),
        };
        Ok(begun.iter().map(result).collect())
    }

    pub(super) fn end_locks(&self) {
        for queue in self.locks.end_due(self.clock.elapsed()) {
            self.call(&queue.address);
        }
    }
}

fn delivery(sequence: u64, entry: Entry) -> Delivery {
    Delivery {
        sequence,
        lock: LockToken([0; 16]),
        locked_until: Timestamp::NEVER,
        enqueued: entry.enqueued,
        delivery_count: entry.delivery_count,
        redelivered: false,
        command: entry.command,
    }
}

fn act(settlement: Settlement) -> Act {
    match settlement {
        Settlement::Complete => Act::Complete,
        Settlement::Abandon => Act::Abandon,
        Settlement::Reject => Act::Reject,
    }
}

fn page(queue: &QueueId, after: Option<String>, limit: usize) -> Range {
    Range {
        collection: crate::store::Collection::Commands,
        hub: queue.address.hub.clone(),
        prefix: queue.commands_prefix(),
        after,
        limit,
    }
}

pub(super) fn not_found(id: &IdentityId) -> Error {
    match &id.module {
        Some(_) => Error::peer(Code::ModuleNotFound, id.to_string()),
        None => Error::peer(Code::DeviceNotFound, id.to_string()),
    }
}

pub(super) fn lock_lost() -> Error {
    Error::peer(Code::DeviceMessageLockLost, "The lock of the message is gone")
}

impl std::fmt::Debug for Commands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commands").finish_non_exhaustive()
    }
}
