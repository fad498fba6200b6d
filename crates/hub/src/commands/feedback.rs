//! Feedback: what became of commands whose senders asked (service-rest.md 7, amqp.md B.2).

use std::sync::Arc;

use bytes::Bytes;

use crate::access::{Authorized, right};
use crate::clock::{Clock, Timestamp};
use crate::entropy::Entropy;
use crate::error::{Code, Error};
use crate::limits::Limits;
use crate::store::Store;

use super::{LockToken, Settlement};

/// Feedback queues, one for each hub of a server.
pub struct Feedback {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    limits: Arc<Limits>,
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
            store,
            clock,
            entropy,
            limits,
        }
    }

    /// The next batch under a lock, or `None` when there is none that is due.
    pub async fn receive(
        &self,
        right: &Authorized<right::ServiceConnect>,
    ) -> Result<Option<FeedbackBatch>, Error> {
        let _ = (right, &self.store, &self.clock, &self.entropy, &self.limits);
        Ok(None)
    }

    /// Waits for the next batch. Several that wait compete.
    pub async fn next(&self, right: &Authorized<right::ServiceConnect>) -> Result<FeedbackBatch, Error> {
        let _ = right;
        std::future::pending().await
    }

    /// Settles a batch; resolves when that is durable.
    ///
    /// # Errors
    /// `DeviceMessageLockLost`.
    pub async fn settle(
        &self,
        right: &Authorized<right::ServiceConnect>,
        lock: LockToken,
        settlement: Settlement,
    ) -> Result<(), Error> {
        let _ = (right, lock, settlement);
        Err(Error::operator(
            Code::FeatureNotSupported,
            "Feedback is not offered yet",
        ))
    }

    /// Gives batches back that a receiver held when it went; not counted as deliveries.
    pub fn release(&self, right: &Authorized<right::ServiceConnect>, locks: &[LockToken]) {
        let _ = (right, locks);
    }
}

impl std::fmt::Debug for Feedback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feedback").finish_non_exhaustive()
    }
}
