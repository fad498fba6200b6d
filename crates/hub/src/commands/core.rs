//! What all operations on queues share: turns, locks, and the one way in which commands end.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};

use crate::bus::{Address, Bus, Mail};
use crate::clock::{Clock, Timestamp};
use crate::entropy::Entropy;
use crate::error::{Code, Error};
use crate::lazy_table::LazyTable;
use crate::limits::{Limit, Limits};
use crate::store::{ApplyError, Expect, Store, Version, Write};

use super::feedback::Feedback;
use super::keys::QueueId;
use super::locks::Locks;
use super::record::Record;
use super::stored::{Entry, Head};
use super::{Ack, Outcome};

/// Queues that are worked on at one time, at most; two that share a turn only wait for each other.
const TURNS: usize = 1_024;

/// The queues behind [`Commands`](super::Commands).
pub(super) struct Core {
    pub(super) store: Arc<dyn Store>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) limits: Arc<Limits>,
    pub(super) locks: Locks<QueueId, u64>,
    pub(super) feedback: Option<Arc<Feedback>>,
    turns: LazyTable<Mutex<()>>,
}

/// What shall become of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Complete,
    Abandon,
    Reject,
    /// If its time is up.
    Expire,
    Purge,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// It was gone before.
    Gone,
    /// It is gone now.
    Ended(Outcome),
    /// It waits again, or still.
    Kept,
}

/// What is to be written for one command.
enum Verdict {
    End(Outcome),
    Again(Box<Entry>),
    Keep,
}

impl Core {
    pub(super) fn new(
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        limits: Arc<Limits>,
        feedback: Option<Arc<Feedback>>,
    ) -> Self {
        Self {
            store,
            bus,
            clock,
            entropy,
            limits,
            locks: Locks::default(),
            feedback,
            turns: LazyTable::new(TURNS),
        }
    }

    /// Waits until nobody else of this process works on the queue, in the order of asking. It spares conflicts; what is true
    /// is in the store.
    pub(super) async fn turn(&self, address: &Address) -> MutexGuard<'_, ()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(address);
        self.turns.of(hash).lock().await
    }

    /// The head of a queue. That of another generation is none.
    pub(super) async fn head(&self, queue: &QueueId) -> Result<Option<(Head, Version)>, Error> {
        let Some(document) = self.store.get(&queue.head_key()).await? else {
            return Ok(None);
        };
        let head = Head::decode(&document.body)?;
        Ok((head.generation == queue.generation).then_some((head, document.version)))
    }

    /// Does something to commands of one queue, all in one batch, with the feedback that was asked for; one answer per act, in
    /// order. The caller has the queue's turn.
    pub(super) async fn change(&self, queue: &QueueId, acts: &[(u64, Act)]) -> Result<Vec<Done>, Error> {
        for _ in 0..self.limits.get(Limit::WriteAttemptsMax) {
            let Some((head, version)) = self.head(queue).await? else {
                return Ok(vec![Done::Gone; acts.len()]);
            };
            let mut batch = Batch::new(queue, self.clock.now());
            for (sequence, act) in acts {
                self.judge(&mut batch, *sequence, *act).await?;
            }
            if let Some(done) = self.apply(batch, head, version).await? {
                return Ok(done);
            }
        }
        Err(self.contended())
    }

    async fn judge(&self, batch: &mut Batch<'_>, sequence: u64, act: Act) -> Result<(), Error> {
        let key = batch.queue.command_key(sequence);
        let Some(document) = self.store.get(&key).await? else {
            batch.done.push(Done::Gone);
            return Ok(());
        };
        let expect = Expect::Version(document.version);
        let entry = match Entry::decode(&document.body) {
            Ok(entry) => entry,
            Err(error) if matches!(act, Act::Expire | Act::Purge) => {
                tracing::error!(%error, queue = %batch.queue.address.identity, sequence, "a damaged command is removed");
                batch.writes.push(Write::Delete { key, expect });
                batch.ended(Outcome::Purged);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        match verdict(act, &entry, batch.now, &self.limits) {
            Verdict::Keep => batch.done.push(Done::Kept),
            Verdict::Again(entry) => {
                let body = entry.encode()?;
                batch.writes.push(Write::Put { key, body, expect });
                batch.done.push(Done::Kept);
            }
            Verdict::End(outcome) => {
                batch.writes.push(Write::Delete { key, expect });
                batch.writes.push(Write::Delete {
                    key: batch.queue.expiry_key(entry.expires, sequence),
                    expect: Expect::Any,
                });
                batch.tell(sequence, &entry, outcome)?;
                batch.ended(outcome);
            }
        }
        Ok(())
    }

    /// Writes a batch; `None` when somebody else was faster.
    async fn apply(
        &self,
        mut batch: Batch<'_>,
        mut head: Head,
        version: Version,
    ) -> Result<Option<Vec<Done>>, Error> {
        if batch.writes.is_empty() {
            return Ok(Some(batch.done));
        }
        if batch.count > 0 {
            head.count = head.count.saturating_sub(batch.count);
            batch.writes.push(Write::Put {
                key: batch.queue.head_key(),
                body: head.encode()?,
                expect: Expect::Version(version),
            });
        }
        match self.store.apply(batch.writes).await {
            Ok(_) => {}
            Err(ApplyError::Conflict { .. }) => return Ok(None),
            Err(ApplyError::Store(error)) => return Err(error.into()),
        }
        if batch.has_feedback {
            self.announce(&batch.queue.address);
        }
        Ok(Some(batch.done))
    }

    /// Tells who waits for feedback that there is some.
    pub(super) fn announce(&self, address: &Address) {
        if let Some(feedback) = &self.feedback {
            feedback.announce(&address.hub);
        }
    }

    /// Tells the holder of an identity that commands wait.
    pub(super) fn call(&self, address: &Address) {
        self.bus.send(address, Mail::Commands);
    }

    pub(super) fn contended(&self) -> Error {
        self.limits.hit(Limit::WriteAttemptsMax);
        Error::environment(
            Code::ServerBusy,
            "a write to a command queue met another writer at every attempt",
        )
    }
}

/// Writes that belong together.
struct Batch<'q> {
    queue: &'q QueueId,
    now: Timestamp,
    writes: Vec<Write>,
    done: Vec<Done>,
    // Commands that end.
    count: u64,
    has_feedback: bool,
}

impl<'q> Batch<'q> {
    fn new(queue: &'q QueueId, now: Timestamp) -> Self {
        Self {
            queue,
            now,
            writes: Vec::new(),
            done: Vec::new(),
            count: 0,
            has_feedback: false,
        }
    }

    fn ended(&mut self, outcome: Outcome) {
        self.count += 1;
        self.done.push(Done::Ended(outcome));
    }

    fn tell(&mut self, sequence: u64, entry: &Entry, outcome: Outcome) -> Result<(), Error> {
        if let Some(write) = feedback_of(self.queue, sequence, &entry.command, outcome, self.now)? {
            self.writes.push(write);
            self.has_feedback = true;
        }
        Ok(())
    }
}

/// The feedback that the sender of a command asked for, if it did.
pub(super) fn feedback_of(
    queue: &QueueId,
    sequence: u64,
    command: &super::Command,
    outcome: Outcome,
    now: Timestamp,
) -> Result<Option<Write>, Error> {
    if !command.ack.unwrap_or(Ack::None).wants(outcome) {
        return Ok(None);
    }
    let record = Record::new(queue, command, outcome, now);
    Ok(Some(Write::Put {
        key: record.key(&queue.address.hub, sequence),
        body: record.encode()?,
        expect: Expect::Any,
    }))
}

/// A command whose time is up has expired, whatever else was about to become of it: its lock is lost (amqp.md A.3).
fn verdict(act: Act, entry: &Entry, now: Timestamp, limits: &Limits) -> Verdict {
    if entry.expires <= now {
        return Verdict::End(Outcome::Expired);
    }
    match act {
        Act::Expire => Verdict::Keep,
        Act::Complete => Verdict::End(Outcome::Success),
        Act::Reject => Verdict::End(Outcome::Rejected),
        Act::Purge => Verdict::End(Outcome::Purged),
        Act::Abandon => {
            let delivery_count = entry.delivery_count.saturating_add(1);
            if u64::from(delivery_count) >= limits.get(Limit::CommandDeliveriesMax) {
                limits.hit(Limit::CommandDeliveriesMax);
                return Verdict::End(Outcome::DeliveryCountExceeded);
            }
            Verdict::Again(Box::new(Entry {
                delivery_count,
                ..entry.clone()
            }))
        }
    }
}
