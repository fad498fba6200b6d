//! Feedback: what became of commands whose senders asked (service-rest.md 7, amqp.md B.2).
//!
//! Records are stored one by one, in the batch that ends their command. When they are due they become a batch, which is stored
//! before anybody is given it: it keeps its records, however often it is delivered.

use std::sync::Arc;

use bytes::Bytes;

use crate::access::{Authorized, operation};
use crate::clock::{Clock, Timestamp};
use crate::entropy::Entropy;
use crate::error::Error;
use crate::limits::Limits;
use crate::store::Store;
use crate::tenancy::HubName;

use super::batches::{BATCHES, Batches};
use super::lock_queue::{Found, LockQueue};
use super::record::{BATCH_PREFIX, RECORD_PREFIX};
use super::{LockToken, Settlement};

/// Feedback queues, one for each hub of a server.
pub struct Feedback {
    batches: Batches,
}

/// Records that are handed out together under one lock.
#[derive(Debug, Clone)]
pub struct FeedbackBatch {
    /// The lock.
    pub lock: LockToken,
    /// When the lock ends by itself.
    pub locked_until: Timestamp,
    /// When the batch was made.
    pub enqueued: Timestamp,
    /// How often it was abandoned before.
    pub delivery_count: u8,
    /// The records: a JSON array.
    pub body: Bytes,
}

impl Feedback {
    /// Feedback over the seams.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            batches: Batches {
                queue: Arc::new(LockQueue::new(BATCHES, store, clock, entropy, limits)),
            },
        }
    }

    /// The next batch under a lock, or `None` when there is none that is due.
    pub async fn receive(
        &self,
        right: &Authorized<operation::ReceiveFeedback>,
    ) -> Result<Option<FeedbackBatch>, Error> {
        match self.batches.receive(right.hub()).await? {
            Found::Item(batch) => Ok(Some(batch)),
            Found::Later(_) | Found::Nothing => Ok(None),
        }
    }

    /// Waits for the next batch. Several that wait compete. One that stops waiting takes nothing along.
    pub async fn next(&self, right: &Authorized<operation::ReceiveFeedback>) -> Result<FeedbackBatch, Error> {
        let hub = right.hub();
        self.batches.queue.next(hub, || self.batches.receive(hub)).await
    }

    /// Settles a batch; resolves when that is durable. Begins when it is called and goes on to its end, whether or not the caller
    /// waits for it. To be called within a tokio runtime.
    ///
    /// # Errors
    /// `DeviceMessageLockLost`.
    pub fn settle(
        &self,
        right: &Authorized<operation::ReceiveFeedback>,
        lock: LockToken,
        settlement: Settlement,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        self.batches.queue.settle(right.hub(), lock, settlement)
    }

    /// Gives batches back that a receiver held when it went; not counted as deliveries.
    pub fn release(&self, right: &Authorized<operation::ReceiveFeedback>, locks: &[LockToken]) {
        self.batches.queue.release(right.hub(), locks);
    }

    /// Ends the locks whose time is up, and removes what nobody read in time. To be called every second or so.
    pub async fn sweep(&self, hub: &HubName) -> Result<(), Error> {
        self.batches.queue.end_locks();
        self.batches.queue.expire(hub, RECORD_PREFIX).await?;
        self.batches.queue.expire(hub, BATCH_PREFIX).await
    }

    /// There is something new for the receivers of a hub.
    pub(super) fn announce(&self, hub: &HubName) {
        self.batches.queue.announce(hub);
    }
}

impl std::fmt::Debug for Feedback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feedback").finish_non_exhaustive()
    }
}
