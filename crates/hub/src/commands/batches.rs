//! Batches of feedback: made of records, handed out under locks, settled, forgotten in time.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Error;
use crate::identity::{self, GenerationId, IdentityId};
use crate::limits::Limit;
use crate::store::{ApplyError, Collection, Document, Expect, Key, StoreError, Write};
use crate::tenancy::HubName;

use super::feedback::FeedbackBatch;
use super::lock_queue::{Found, Kind, LockQueue};
use super::record::{BATCH_PREFIX, Batch, RECORD_PREFIX, Record, time_of};

/// Records of a batch whatever the limit says: a document of the store has room for them.
const BATCH_RECORDS_MAX: usize = 512;

/// Batches that are read at a time.
const BATCHES_PAGE_MAX: usize = 8;

/// What is queued, and under which limits.
pub(super) const BATCHES: Kind = Kind {
    collection: Collection::Feedback,
    what: "a feedback batch",
    life: Limit::FeedbackLifeSecs,
    lock: Limit::FeedbackLockSecs,
    deliveries_max: Limit::FeedbackDeliveriesMax,
    counted,
};

/// The feedback of all hubs.
pub(super) struct Batches {
    pub(super) queue: Arc<LockQueue>,
}

impl Batches {
    pub(super) async fn receive(&self, hub: &HubName) -> Result<Found<FeedbackBatch>, Error> {
        let desk = self.queue.desk(hub);
        let _turn = desk.turn().await;
        self.queue.end_locks();
        if let Some(batch) = self.free_batch(hub).await? {
            return Ok(Found::Item(batch));
        }
        let found = self.make_batch(hub).await?;
        Ok(self.queue.or_when_a_lock_ends(hub, found))
    }

    /// The first batch that nobody holds, without the records that mean nothing any more.
    async fn free_batch(&self, hub: &HubName) -> Result<Option<FeedbackBatch>, Error> {
        let held = self.queue.held(hub);
        let mut after = None;
        loop {
            let documents = self
                .queue
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
                self.queue.remove(vec![document.key.clone()]).await?;
            }
            match documents.last() {
                Some(last) if documents.len() == BATCHES_PAGE_MAX => after = Some(last.key.id.to_string()),
                _ => return Ok(None),
            }
        }
    }

    /// Makes a batch of the records that wait, if they are enough or have waited long enough.
    async fn make_batch(&self, hub: &HubName) -> Result<Found<FeedbackBatch>, Error> {
        let records_max = self
            .queue
            .limits
            .size(Limit::FeedbackBatchMax)
            .clamp(1, BATCH_RECORDS_MAX);
        loop {
            let documents = self.queue.page(hub, RECORD_PREFIX, None, records_max).await?;
            let Some(oldest) = documents.first() else {
                return Ok(Found::Nothing);
            };
            let now = self.queue.clock.now();
            let age = now.since(time_of(&oldest.key.id).unwrap_or(now));
            let delay = self.queue.limits.time(Limit::FeedbackDelaySecs);
            if documents.len() < records_max && age < delay {
                return Ok(Found::Later(delay.saturating_sub(age)));
            }
            let (records, dead) = self.sort_out(hub, &documents).await?;
            if !dead.is_empty() {
                self.queue.remove(dead).await?;
                continue;
            }
            let batch = Batch {
                delivery_count: 0,
                records,
            };
            let mut number = [0; 8];
            self.queue.entropy.fill(&mut number);
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
            match self.queue.store.apply(writes).await {
                Ok(_) => return self.hand_out(hub, &key, &batch).map(Found::Item),
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
        let now = self.queue.clock.now();
        let life = self.queue.limits.time(Limit::FeedbackLifeSecs);
        let mut generations: HashMap<IdentityId, Option<GenerationId>> = HashMap::new();
        let mut living = Vec::with_capacity(records.len());
        for record in records {
            if now >= record.time.plus(life) {
                continue;
            }
            let known = if let Some(generation) = generations.get(&record.identity) {
                *generation
            } else {
                let found = identity::find(&*self.queue.store, hub, &record.identity).await?;
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
        let (lock, locked_until) = self.queue.lock(hub, &key.id);
        Ok(FeedbackBatch {
            lock,
            locked_until,
            enqueued: time_of(&key.id).unwrap_or_else(|| self.queue.clock.now()),
            delivery_count: batch.delivery_count,
            body,
        })
    }
}

fn counted(body: &[u8]) -> Result<(u8, Bytes), StoreError> {
    let mut batch = Batch::decode(body)?;
    batch.delivery_count = batch.delivery_count.saturating_add(1);
    Ok((batch.delivery_count, batch.encode()?))
}
