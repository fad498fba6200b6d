//! The queues as their users see them.

use std::sync::Arc;
use std::time::Duration;

use crate::access::{Authenticated, Authorized, right};
use crate::bus::{Address, Bus};
use crate::clock::{Clock, Timestamp};
use crate::entropy::Entropy;
use crate::error::{Code, Error};
use crate::identity::{self, Found, IdentityId};
use crate::limits::{Limit, Limits};
use crate::store::{ApplyError, Expect, Range, Store, Write};

use super::core::{Act, Core, Done, feedback_of};
use super::feedback::Feedback;
use super::keys::{QueueId, head_key, sequence_of};
use super::stored::{Entry, Head};
use super::{Command, CommandId, Delivery, LockToken, Outcome, Settlement};

/// Commands that one read of the store brings at most, each of up to 64 KiB.
const PAGE_MAX: usize = 32;

/// Longest message id that is text (amqp.md B.1).
const MESSAGE_ID_CHARS_MAX: usize = 128;

/// Command queues of all identities of a server.
pub struct Commands {
    pub(super) core: Arc<Core>,
}

/// A command that is about to be stored.
struct Draft<'c> {
    command: &'c Command,
    expires: Timestamp,
    now: Timestamp,
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

    /// Puts a command into the queue of an identity; gives its sequence there. Durable when this resolves. The holder of the
    /// identity is sent [`Mail::Commands`](crate::bus::Mail::Commands). Commands of one sender keep the order in which these
    /// calls are first polled.
    ///
    /// A command whose time is up already is taken and expires at once; a disabled device's is kept for it (amqp.md B.1, both
    /// not confirmed).
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`, `DeviceMaximumQueueDepthExceeded`, `MessageTooLarge`, `InvalidMessageExpiryTime`.
    pub async fn send(
        &self,
        right: &Authorized<right::ServiceConnect>,
        to: &IdentityId,
        command: Command,
    ) -> Result<u64, Error> {
        let core = &*self.core;
        check(&command, &core.limits)?;
        let address = Address {
            hub: right.hub().clone(),
            identity: to.clone(),
        };
        let _turn = core.turn(&address).await;
        let mut has_cleared = false;
        for _ in 0..core.limits.get(Limit::WriteAttemptsMax) {
            let found = identity::find(&*core.store, &address.hub, to).await?;
            let found = found.ok_or_else(|| not_found(to))?;
            let queue = QueueId {
                address: address.clone(),
                generation: found.identity().generation(),
            };
            let now = core.clock.now();
            let draft = Draft {
                command: &command,
                expires: expiry(&command, now, &core.limits)?,
                now,
            };
            let (head, expect) = self.head_or_new(&queue).await?;
            if draft.waits() && head.count >= core.limits.get(Limit::CommandsPerQueueMax) {
                if has_cleared {
                    core.limits.hit(Limit::CommandsPerQueueMax);
                    return Err(full(&address, head.count));
                }
                has_cleared = true;
                core.expire_of(&queue).await?;
                continue;
            }
            let writes = draft.writes(&queue, &found, head, expect)?;
            match core.store.apply(writes).await {
                Ok(_) => {}
                Err(ApplyError::Conflict { .. }) => continue,
                Err(ApplyError::Store(error)) => return Err(error.into()),
            }
            if draft.waits() {
                core.call(&address);
            } else {
                core.announce(&address);
            }
            return Ok(head.next);
        }
        Err(core.contended())
    }

    /// The head of a queue, and what its next write must find.
    async fn head_or_new(&self, queue: &QueueId) -> Result<(Head, Expect), Error> {
        let Some(document) = self.core.store.get(&queue.head_key()).await? else {
            return Ok((Head::new(queue.generation), Expect::Absent));
        };
        let head = Head::decode(&document.body)?;
        let is_own = head.generation == queue.generation;
        let head = if is_own { head } else { Head::new(queue.generation) };
        Ok((head, Expect::Version(document.version)))
    }

    /// Empties the queue of an identity, locked commands included; gives the number of commands that were removed.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`.
    pub async fn purge(
        &self,
        right: &Authorized<right::CommandsPurge>,
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
        if !found.is_empty() && core.head(&queue).await?.is_none() {
            core.locks.forget(&queue);
            found.clear();
        }
        Ok(found)
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

impl Draft<'_> {
    /// Whether it is put into the queue, rather than expiring at once.
    fn waits(&self) -> bool {
        self.expires > self.now
    }

    fn writes(
        &self,
        queue: &QueueId,
        found: &Found,
        head: Head,
        expect: Expect,
    ) -> Result<Vec<Write>, Error> {
        let sequence = head.next;
        let next = Head {
            next: sequence.saturating_add(1),
            count: head.count.saturating_add(u64::from(self.waits())),
            ..head
        };
        let mut writes = vec![
            Write::Check {
                key: found.key.clone(),
                expect: Expect::Version(found.version),
            },
            Write::Put {
                key: queue.head_key(),
                body: next.encode()?,
                expect,
            },
        ];
        if !self.waits() {
            writes.extend(feedback_of(
                queue,
                sequence,
                self.command,
                Outcome::Expired,
                self.now,
            )?);
            return Ok(writes);
        }
        let entry = Entry {
            enqueued: self.now,
            expires: self.expires,
            delivery_count: 0,
            command: self.command.clone(),
        };
        writes.push(Write::Put {
            key: queue.command_key(sequence),
            body: entry.encode()?,
            expect: Expect::Absent,
        });
        writes.push(Write::Put {
            key: queue.expiry_key(self.expires, sequence),
            body: INDEX_BODY,
            expect: Expect::Any,
        });
        Ok(writes)
    }
}

/// The body of a document of the expiry index, whose id says all: the version of the form.
const INDEX_BODY: bytes::Bytes = bytes::Bytes::from_static(b"\x01");

fn check(command: &Command, limits: &Limits) -> Result<(), Error> {
    let too_large = |exceeded: crate::limits::Exceeded| match exceeded.limit {
        Limit::CommandBytesMax => Error::peer(Code::MessageTooLarge, exceeded.to_string()),
        _ => exceeded.into(),
    };
    command.check(limits).map_err(too_large)?;
    match &command.message_id {
        Some(CommandId::Text(text)) if text.chars().count() > MESSAGE_ID_CHARS_MAX => Err(Error::argument(
            format!("The message id is longer than {MESSAGE_ID_CHARS_MAX} characters"),
        )),
        _ => Ok(()),
    }
}

/// When a command expires. One that expires too late is refused, with a code that is not confirmed (amqp.md B.1).
fn expiry(command: &Command, now: Timestamp, limits: &Limits) -> Result<Timestamp, Error> {
    let Some(expires) = command.expires else {
        return Ok(now.plus(limits.time(Limit::CommandDefaultLifeSecs)));
    };
    let life: Duration = limits.time(Limit::CommandLifeSecsMax);
    if expires > now.plus(life) {
        limits.hit(Limit::CommandLifeSecsMax);
        return Err(Error::peer(
            Code::InvalidMessageExpiryTime,
            format!("A message expires within {} seconds", life.as_secs()),
        ));
    }
    Ok(expires)
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

fn not_found(id: &IdentityId) -> Error {
    match &id.module {
        Some(_) => Error::peer(Code::ModuleNotFound, id.to_string()),
        None => Error::peer(Code::DeviceNotFound, id.to_string()),
    }
}

fn full(address: &Address, count: u64) -> Error {
    Error::peer(
        Code::DeviceMaximumQueueDepthExceeded,
        format!(
            "The queue of '{}' holds {count} messages, as many as it may",
            address.identity
        ),
    )
}

pub(super) fn lock_lost() -> Error {
    Error::peer(Code::DeviceMessageLockLost, "The lock of the message is gone")
}

impl std::fmt::Debug for Commands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commands").finish_non_exhaustive()
    }
}
