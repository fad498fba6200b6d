//! Batches of feedback: made of records, handed out under locks, settled, forgotten in time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, watch};

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::error::{Code, Error};
use crate::identity::{self, GenerationId, IdentityId};
use crate::limits::{Limit, Limits};
use crate::store::{ApplyError, Collection, Document, Expect, Key, Range, Store, Write};
use crate::tenancy::HubName;

use super::feedback::FeedbackBatch;
use super::locks::Locks;
use super::queue::lock_lost;
use super::record::{BATCH_PREFIX, Batch, RECORD_PREFIX, Record, time_of};
use super::{LockToken, Settlement};

/// Records of a batch whatever the limit says: a document of the store has room for them.
const BATCH_RECORDS_MAX: usize = 512;

/// Batches that are read at a time.
const BATCHES_PAGE_MAX: usize = 8;

/// Documents that are removed at a time.
const REMOVED_MAX: usize = 256;

/// The feedback of all hubs, and who holds what of it.
pub(super) struct Batches {
    store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    limits: Arc<Limits>,
    // By the id of the batch's document.
    pub(super) locks: Locks<HubName, Arc<str>>,
    hubs: StdMutex<HashMap<HubName, Arc<Desk>>>,
}

/// What receivers of one hub share.
#[derive(Default)]
pub(super) struct Desk {
    // Receivers are served one after the other.
    turn: Mutex<()>,
    // Moves when there may be something to receive.
    pub(super) changed: watch::Sender<()>,
}

/// What a receiver finds.
pub(super) enum Found {
    Batch(FeedbackBatch),
    /// Nothing that is due; perhaps after this time.
    Later(Duration),
    Nothing,
}

impl Batches {
    pub(super) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            store,
            clock,
            entropy,
            limits,
            locks: Locks::default(),
            hubs: StdMutex::default(),
        }
    }

    pub(super) fn desk(&self, hub: &HubName) -> Arc<Desk> {
        let mut hubs = self.hubs.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(hubs.entry(hub.clone()).or_default())
    }

    pub(super) fn announce(&self, hub: &HubName) {
        self.desk(hub).changed.send_replace(());
    }

    pub(super) fn end_locks(&self) {
        for hub in self.locks.end_due(self.clock.elapsed()) {
            self.announce(&hub);
        }
    }

    pub(super) async fn receive(&self, hub: &HubName) -> Result<Found, Error> {
        let desk = self.desk(hub);
        let _turn = desk.turn.lock().await;
        self.end_locks();
        if let Some(batch) = self.free_batch(hub).await? {
            return Ok(Found::Batch(batch));
        }
        let found = self.make_batch(hub).await?;
        let Some(end) = self.locks.next_end(hub) else {
            return Ok(found);
        };
        let until_end = end.saturating_sub(self.clock.elapsed());
        Ok(match found {
            Found::Batch(batch) => Found::Batch(batch),
            Found::Later(after) => Found::Later(after.min(until_end)),
            Found::Nothing => Found::Later(until_end),
        })
    }

    /// The first batch that nobody holds, without the records that mean nothing any more.
    async fn free_batch(&self, hub: &HubName) -> Result<Option<FeedbackBatch>, Error> {
        let held = self.locks.held(hub);
        let mut after = None;
        loop {
            let documents = self
                .page(hub, BATCH_PREFIX, after.take(), BATCHES_PAGE_MAX)
                .await?;
            for document in documents
                .iter()
                .filter(|document| !held.contains(&document.key.id))
            {
                let mut batch = match Batch::decode(&document.body) {
                    Ok(batch) => batch,
                    Err(error) => {
                        tracing::error!(%error, id = &*document.key.id, "a feedback batch is passed over");
                        continue;
                    }
                };
                batch.records = self.living(hub, batch.records).await?;
                if !batch.records.is_empty() {
                    return self.hand_out(hub, &document.key, &batch).map(Some);
                }
                self.remove(vec![document.key.clone()]).await?;
            }
            match documents.last() {
                Some(last) if documents.len() == BATCHES_PAGE_MAX => after = Some(last.key.id.to_string()),
                _ => return Ok(None),
            }
        }
    }

    /// Makes a batch of the records that wait, if they are enough or have waited long enough.
    async fn make_batch(&self, hub: &HubName) -> Result<Found, Error> {
        let records_max = self
            .limits
            .size(Limit::FeedbackBatchMax)
            .clamp(1, BATCH_RECORDS_MAX);
        loop {
            let documents = self.page(hub, RECORD_PREFIX, None, records_max).await?;
            let Some(oldest) = documents.first() else {
                return Ok(Found::Nothing);
            };
            let now = self.clock.now();
            let age = now.since(time_of(&oldest.key.id).unwrap_or(now));
            let delay = self.limits.time(Limit::FeedbackDelaySecs);
            if documents.len() < records_max && age < delay {
                return Ok(Found::Later(delay.saturating_sub(age)));
            }
            let (records, dead) = self.sort_out(hub, &documents).await?;
            if !dead.is_empty() {
                self.remove(dead).await?;
                continue;
            }
            let batch = Batch {
                delivery_count: 0,
                records,
            };
            let mut number = [0; 8];
            self.entropy.fill(&mut number);
            let key = Batch::key(hub, now, u64::from_be_bytes(number));
            let mut writes = vec![Write::Put {
                key: key.clone(),
                body: batch.encode()?,
                expect: Expect::Absent,
            }];
            writes.extend(documents.into_iter().map(|document| Write::Delete {
                key: document.key,
                expect: Expect::Version(document.version),
            }));
            match self.store.apply(writes).await {
                Ok(_) => return self.hand_out(hub, &key, &batch).map(Found::Batch),
                // Another process took them, or they expired.
                Err(ApplyError::Conflict { .. }) => {}
                Err(ApplyError::Store(error)) => return Err(error.into()),
            }
        }
    }

    /// Records that still mean something, and the keys of those that do not or cannot be read.
    async fn sort_out(
        &self,
        hub: &HubName,
        documents: &[Document],
    ) -> Result<(Vec<Record>, Vec<Key>), Error> {
        let (mut records, mut dead) = (Vec::new(), Vec::new());
        for document in documents {
            let living = match Record::decode(&document.body) {
                Ok(record) => self.living(hub, vec![record]).await?,
                Err(error) => {
                    tracing::error!(%error, id = &*document.key.id, "a feedback record is dropped");
                    Vec::new()
                }
            };
            if living.is_empty() {
                dead.push(document.key.clone());
            }
            records.extend(living);
        }
        Ok((records, dead))
    }

    /// Drops the records of identities that are no more, and those that nobody read in time.
    async fn living(&self, hub: &HubName, records: Vec<Record>) -> Result<Vec<Record>, Error> {
        let now = self.clock.now();
        let life = self.limits.time(Limit::FeedbackLifeSecs);
        let mut generations: HashMap<IdentityId, Option<GenerationId>> = HashMap::new();
        let mut living = Vec::with_capacity(records.len());
        for record in records {
            if now >= record.time.plus(life) {
                continue;
            }
            let known = if let Some(generation) = generations.get(&record.identity) {
                *generation
            } else {
                let found = identity::find(&*self.store, hub, &record.identity).await?;
                let generation = found.map(|found| found.identity().generation());
                generations.insert(record.identity.clone(), generation);
                generation
            };
            if known == Some(record.generation) {
                living.push(record);
            }
        }
        Ok(living)
    }

    fn hand_out(&self, hub: &HubName, key: &Key, batch: &Batch) -> Result<FeedbackBatch, Error> {
        let body = batch.to_wire()?;
        let mut lock = LockToken([0; 16]);
        self.entropy.fill(&mut lock.0);
        let time = self.limits.time(Limit::FeedbackLockSecs);
        let until = self.clock.elapsed().saturating_add(time);
        self.locks.take(hub, &key.id, lock, until);
        let now = self.clock.now();
        Ok(FeedbackBatch {
            lock,
            locked_until: now.plus(time),
            enqueued: time_of(&key.id).unwrap_or(now),
            delivery_count: batch.delivery_count,
            body,
        })
    }

    pub(super) async fn settle(
        &self,
        hub: &HubName,
        id: &Arc<str>,
        settlement: Settlement,
    ) -> Result<(), Error> {
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

    /// Says whether the batch waits again.
    async fn write_settlement(
        &self,
        hub: &HubName,
        id: &Arc<str>,
        settlement: Settlement,
    ) -> Result<bool, Error> {
        let key = Key::new(Collection::Feedback, hub, Arc::clone(id));
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
            "a feedback batch met another writer at every attempt",
        ))
    }

    /// The batch with one more delivery, unless those were enough.
    fn counted(&self, document: &Document) -> Result<Option<Bytes>, Error> {
        let mut batch = Batch::decode(&document.body)?;
        batch.delivery_count = batch.delivery_count.saturating_add(1);
        if u64::from(batch.delivery_count) >= self.limits.get(Limit::FeedbackDeliveriesMax) {
            self.limits.hit(Limit::FeedbackDeliveriesMax);
            return Ok(None);
        }
        Ok(Some(batch.encode()?))
    }

    /// Removes what is older than feedback lives and is held by nobody.
    pub(super) async fn expire(&self, hub: &HubName, prefix: &str) -> Result<(), Error> {
        let life = self.limits.time(Limit::FeedbackLifeSecs);
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

    async fn remove(&self, keys: Vec<Key>) -> Result<(), Error> {
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

    async fn page(
        &self,
        hub: &HubName,
        prefix: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<Document>, Error> {
        let range = Range {
            collection: Collection::Feedback,
            hub: hub.clone(),
            prefix: prefix.to_owned(),
            after,
            limit,
        };
        Ok(self.store.scan(&range).await?)
    }
}
