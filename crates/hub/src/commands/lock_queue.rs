//! A queue whose items are documents and whose holders are in memory: what feedback and file notifications share.
//!
//! An item is handed out under a lock, settled, or comes back; one that was abandoned too often or that nobody read in time goes.
//! Items sort by the time in their ids (`{prefix}{time}|..`). Receivers of one hub compete and are served one after the other.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, MutexGuard, watch};

use crate::clock::{Clock, Timestamp};
use crate::entropy::Entropy;
use crate::error::{Code, Error};
use crate::limits::{Limit, Limits};
use crate::store::{ApplyError, Collection, Document, Expect, Key, Range, Store, StoreError, Write};
use crate::tenancy::HubName;

use super::locks::Locks;
use super::queue::lock_lost;
use super::record::time_of;
use super::{LockToken, Settlement};

/// Documents that are removed at a time.
const REMOVED_MAX: usize = 256;

/// Longest wait without another look, in case the time of day is set.
const PATIENCE_MAX: Duration = Duration::from_secs(5);

/// What is queued, and under which limits.
pub(crate) struct Kind {
    /// Where the documents lie.
    pub(crate) collection: Collection,
    /// What an item is called in the log.
    pub(crate) what: &'static str,
    /// How long an item waits.
    pub(crate) life: Limit,
    /// How long a receiver holds one.
    pub(crate) lock: Limit,
    /// How often one may be abandoned.
    pub(crate) deliveries_max: Limit,
    /// The document with one more delivery, and how many it has then.
    pub(crate) counted: Counted,
}

/// Reads a document; gives how many deliveries it has with one more, and writes it so.
pub(crate) type Counted = fn(&[u8]) -> Result<(u8, Bytes), StoreError>;

/// The queues of one kind, one for each hub.
pub(crate) struct LockQueue {
    kind: Kind,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) limits: Arc<Limits>,
    // By the id of the item's document.
    locks: Locks<HubName, Arc<str>>,
    hubs: StdMutex<HashMap<HubName, Arc<Desk>>>,
}

/// What receivers of one hub share.
#[derive(Default)]
pub(crate) struct Desk {
    turn: Mutex<()>,
    // Moves when there may be something to receive.
    changed: watch::Sender<()>,
}

impl Desk {
    /// Waits until the receivers before this one are served.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }
}

/// What a receiver finds.
pub(crate) enum Found<T> {
    /// An item, under a lock.
    Item(T),
    /// Nothing that is due; perhaps after this time.
    Later(Duration),
    /// Nothing.
    Nothing,
}

impl LockQueue {
    pub(crate) fn new(
        kind: Kind,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            kind,
            store,
            clock,
            entropy,
            limits,
            locks: Locks::default(),
            hubs: StdMutex::default(),
        }
    }

    pub(crate) fn desk(&self, hub: &HubName) -> Arc<Desk> {
        let mut hubs = self.hubs.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(hubs.entry(hub.clone()).or_default())
    }

    /// There is something new for the receivers of a hub.
    pub(crate) fn announce(&self, hub: &HubName) {
        self.desk(hub).changed.send_replace(());
    }

    pub(crate) fn end_locks(&self) {
        for hub in self.locks.end_due(self.clock.elapsed()) {
            self.announce(&hub);
        }
    }

    /// The ids of the items that somebody holds.
    pub(crate) fn held(&self, hub: &HubName) -> BTreeSet<Arc<str>> {
        self.locks.held(hub)
    }

    /// What was found, or when the next lock ends if that is sooner.
    pub(crate) fn or_when_a_lock_ends<T>(&self, hub: &HubName, found: Found<T>) -> Found<T> {
        let Some(end) = self.locks.next_end(hub) else {
            return found;
        };
        let until_end = end.saturating_sub(self.clock.elapsed());
        match found {
            Found::Item(item) => Found::Item(item),
            Found::Later(after) => Found::Later(after.min(until_end)),
            Found::Nothing => Found::Later(until_end),
        }
    }

    /// Looks until there is an item. Whoever stops waiting takes nothing along.
    pub(crate) async fn next<T, F>(&self, hub: &HubName, look: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<Found<T>, Error>>,
    {
        let desk = self.desk(hub);
        let mut changed = desk.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let patience = match look().await? {
                Found::Item(item) => return Ok(item),
                Found::Later(after) => after.clamp(Duration::from_millis(1), PATIENCE_MAX),
                Found::Nothing => Duration::MAX,
            };
            // That it timed out and that something changed come to the same: another look. The sender lives in `desk`.
            let _ = tokio::time::timeout(patience, changed.changed()).await;
        }
    }

    /// Gives an item to a receiver; says under which lock, and until when.
    pub(crate) fn lock(&self, hub: &HubName, id: &Arc<str>) -> (LockToken, Timestamp) {
        let mut lock = LockToken([0; 16]);
        self.entropy.fill(&mut lock.0);
        let time = self.limits.time(self.kind.lock);
        let until = self.clock.elapsed().saturating_add(time);
        self.locks.take(hub, id, lock, until);
        (lock, self.clock.now().plus(time))
    }

    /// Settles an item; resolves when that is durable. Begins when it is called and goes on to its end, whether or not the caller
    /// waits for it. To be called within a tokio runtime.
    ///
    /// # Errors
    /// `DeviceMessageLockLost`.
    pub(crate) fn settle(
        self: &Arc<Self>,
        hub: &HubName,
        lock: LockToken,
        settlement: Settlement,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let (queue, hub) = (Arc::clone(self), hub.clone());
        // At once: a release that follows finds it under way.
        let begun = queue.locks.begin(&hub, lock, queue.clock.elapsed());
        let settling =
            begun.map(|id| tokio::spawn(async move { queue.settle_item(&hub, &id, settlement).await }));
        async move {
            let settled = settling.ok_or_else(lock_lost)?.await;
            settled.unwrap_or_else(|error| Err(Error::bug(format!("settling failed: {error}"))))
        }
    }

    /// Gives items back that a receiver held when it went; not counted as deliveries.
    pub(crate) fn release(&self, hub: &HubName, locks: &[LockToken]) {
        if self.locks.release(hub, locks) {
            self.announce(hub);
        }
    }

    async fn settle_item(&self, hub: &HubName, id: &Arc<str>, settlement: Settlement) -> Result<(), Error> {
        let settled = self.write_settlement(hub, id, settlement).await;
        match &settled {
            Ok(true) => self.locks.give_back(hub, id),
            Ok(false) => self.locks.done(hub, id),
            Err(error) if error.code() == Code::DeviceMessageLockLost => self.locks.done(hub, id),
            Err(_) => {
                self.locks.keep(hub, id, self.clock.elapsed());
            }
        }
        self.announce(hub);
        settled.map(|_| ())
    }

    /// Says whether the item waits again.
    async fn write_settlement(
        &self,
        hub: &HubName,
        id: &Arc<str>,
        settlement: Settlement,
    ) -> Result<bool, Error> {
        let key = Key::new(self.kind.collection, hub, Arc::clone(id));
        for _ in 0..self.limits.get(Limit::WriteAttemptsMax) {
            let document = self.store.get(&key).await?.ok_or_else(lock_lost)?;
            let expect = Expect::Version(document.version);
            let again = match settlement {
                Settlement::Complete | Settlement::Reject => None,
                Settlement::Abandon => self.counted(&document)?,
            };
            let waits = again.is_some();
            let write = match again {
                Some(body) => Write::Put {
                    key: key.clone(),
                    body,
                    expect,
                },
                None => Write::Delete {
                    key: key.clone(),
                    expect,
                },
            };
            match self.store.apply(vec![write]).await {
                Ok(_) => return Ok(waits),
                Err(ApplyError::Conflict { .. }) => {}
                Err(ApplyError::Store(error)) => return Err(error.into()),
            }
        }
        self.limits.hit(Limit::WriteAttemptsMax);
        Err(Error::environment(
            Code::ServerBusy,
            format!("{} met another writer at every attempt", self.kind.what),
        ))
    }

    /// The item with one more delivery, unless those were enough.
    fn counted(&self, document: &Document) -> Result<Option<Bytes>, Error> {
        let (deliveries, body) = (self.kind.counted)(&document.body)?;
        if u64::from(deliveries) >= self.limits.get(self.kind.deliveries_max) {
            self.limits.hit(self.kind.deliveries_max);
            return Ok(None);
        }
        Ok(Some(body))
    }

    /// Removes what is older than items live and is held by nobody.
    pub(crate) async fn expire(&self, hub: &HubName, prefix: &str) -> Result<(), Error> {
        let life = self.limits.time(self.kind.life);
        let mut after = None;
        loop {
            let documents = self.page(hub, prefix, after.take(), REMOVED_MAX).await?;
            let now = self.clock.now();
            let is_old = |key: &Key| time_of(&key.id).is_none_or(|time| now >= time.plus(life));
            let held = self.locks.held(hub);
            let old: Vec<Key> = documents
                .iter()
                .map(|document| &document.key)
                .take_while(|key| is_old(key))
                .filter(|key| !held.contains(&key.id))
                .cloned()
                .collect();
            let all_old = documents.last().is_some_and(|last| is_old(&last.key));
            if !old.is_empty() {
                self.remove(old).await?;
            }
            match documents.last() {
                Some(last) if all_old && documents.len() == REMOVED_MAX => {
                    after = Some(last.key.id.to_string());
                }
                _ => return Ok(()),
            }
        }
    }

    pub(crate) async fn remove(&self, keys: Vec<Key>) -> Result<(), Error> {
        let delete = |key| Write::Delete {
            key,
            expect: Expect::Any,
        };
        match self.store.apply(keys.into_iter().map(delete).collect()).await {
            // Nothing is expected, so nothing can conflict.
            Ok(_) | Err(ApplyError::Conflict { .. }) => Ok(()),
            Err(ApplyError::Store(error)) => Err(error.into()),
        }
    }

    pub(crate) async fn page(
        &self,
        hub: &HubName,
        prefix: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<Document>, Error> {
        let range = Range {
            collection: self.kind.collection,
            hub: hub.clone(),
            prefix: prefix.to_owned(),
            after,
            limit,
        };
        Ok(self.store.scan(&range).await?)
    }
}
