//! The quota of the files that a hub keeps itself: what is stored, and what was let in and is still under way.

use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::{Exceeded, Limit, Limits};

use super::blob::{BlobError, BlobStore};

/// Bytes that are reserved at a time for content whose length was not announced.
const STEP_BYTES: u64 = 1_048_576;

/// What of the quota of one hub is under way.
#[derive(Debug, Default)]
pub(super) struct Room {
    under_way: Mutex<u64>,
}

/// A share of the quota, given back when it is dropped.
pub(super) struct Reserved {
    room: Arc<Room>,
    blobs: Arc<dyn BlobStore>,
    limits: Arc<Limits>,
    bytes: u64,
}

impl Room {
    /// An empty share, to be made larger.
    pub(super) fn reserve(self: &Arc<Self>, blobs: &Arc<dyn BlobStore>, limits: &Arc<Limits>) -> Reserved {
        Reserved {
            room: Arc::clone(self),
            blobs: Arc::clone(blobs),
            limits: Arc::clone(limits),
            bytes: 0,
        }
    }
}

impl Reserved {
    /// Makes the share at least so large, in steps.
    ///
    /// # Errors
    /// The outer one is the quota.
    pub(super) async fn grow_to(&mut self, bytes: u64) -> Result<Result<(), BlobError>, Exceeded> {
        if bytes <= self.bytes {
            return Ok(Ok(()));
        }
        let wanted = bytes.saturating_add(STEP_BYTES - 1) / STEP_BYTES * STEP_BYTES;
        match self.grow_exactly(wanted).await {
            // The last step need not be whole.
            Err(_) => self.grow_exactly(bytes).await,
            grown => grown,
        }
    }

    /// Makes the share so large.
    pub(super) async fn grow_exactly(&mut self, bytes: u64) -> Result<Result<(), BlobError>, Exceeded> {
        let more = bytes.saturating_sub(self.bytes);
        let stored = match self.blobs.stored_bytes().await {
            Ok(stored) => stored,
            Err(error) => return Ok(Err(error)),
        };
        let mut under_way = self.room.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let after = under_way.saturating_add(more);
        self.limits
            .check(Limit::BlobHubBytesMax, stored.saturating_add(after))?;
        *under_way = after;
        self.bytes = self.bytes.saturating_add(more);
        Ok(Ok(()))
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut under_way = self.room.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        *under_way = under_way.saturating_sub(self.bytes);
    }
}
