//! Proof that a peer may work on one blob, and the work itself.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::limits::{Exceeded, Limit, Limits};

use super::blob::{
    BlobError, BlobHeaders, BlobProperties, BlobReader, BlobStore, BlobWriter, Block, BlockId, Condition,
    StagingBounds,
};
use super::name::BlobName;
use super::permissions::Permissions;
use super::room::{Reserved, Room};
use super::sas::SasRefusal;

/// The way to one blob, for one request. Made by [`Files`](super::Files) alone.
pub struct BlobAccess {
    blobs: Arc<dyn BlobStore>,
    limits: Arc<Limits>,
    room: Arc<Room>,
    blob: BlobName,
    permissions: Permissions,
}

/// Content of a blob or a block on its way, counted against its limit.
pub struct BlobUpload {
    writer: Box<dyn BlobWriter>,
    limits: Arc<Limits>,
    limit: Limit,
    bytes: u64,
    // Kept until the store itself counts the content.
    reserved: Reserved,
}

impl BlobAccess {
    pub(super) fn new(
        blobs: Arc<dyn BlobStore>,
        limits: Arc<Limits>,
        room: Arc<Room>,
        blob: BlobName,
        permissions: Permissions,
    ) -> Self {
        Self {
            blobs,
            limits,
            room,
            blob,
            permissions,
        }
    }

    /// Demands a permission.
    ///
    /// # Errors
    /// [`SasRefusal::Permission`].
    pub fn demand(&self, permission: Permissions) -> Result<(), SasRefusal> {
        if self.permissions.contains(permission) {
            Ok(())
        } else {
            Err(SasRefusal::Permission)
        }
    }

    /// What a write must find: whoever may only create replaces nothing.
    pub fn demand_write(&self, wanted: Condition) -> Result<Condition, SasRefusal> {
        if self.permissions.contains(Permissions::WRITE) {
            return Ok(wanted);
        }
        self.demand(Permissions::CREATE)?;
        Ok(Condition::Absent)
    }

    /// Begins to write the whole blob.
    pub async fn write(&self) -> Result<BlobUpload, BlobError> {
        self.begin(Limit::BlobPutBytesMax).await
    }

    /// Begins to write a block.
    pub async fn write_block(&self) -> Result<BlobUpload, BlobError> {
        self.begin(Limit::BlobBlockBytesMax).await
    }

    async fn begin(&self, limit: Limit) -> Result<BlobUpload, BlobError> {
        Ok(BlobUpload {
            writer: self.blobs.write(&self.blob).await?,
            limits: Arc::clone(&self.limits),
            limit,
            bytes: 0,
            reserved: self.room.reserve(&self.blobs, &self.limits),
        })
    }

    /// Makes blocks the blob. Blocks that wait are freed by it, so what counts against the quota is by how much the blob is larger:
    /// a list may name a block many times.
    ///
    /// # Errors
    /// The outer one is the quota.
    pub async fn commit(
        &self,
        blocks: &[BlockId],
        headers: BlobHeaders,
        condition: Condition,
    ) -> Result<Result<BlobProperties, BlobError>, Exceeded> {
        let mut reserved = self.room.reserve(&self.blobs, &self.limits);
        match self.growth(blocks).await {
            Ok(growth) => {
                if let Err(error) = reserved.grow_exactly(growth).await? {
                    return Ok(Err(error));
                }
            }
            Err(error) => return Ok(Err(error)),
        }
        let bounds = bounds(&self.limits);
        let committed = self.blobs.commit(&self.blob, blocks, bounds, headers, condition);
        Ok(committed.await)
    }

    /// By how many bytes a blob of these blocks is larger than all that wait. Unknown ones are for the store to refuse.
    async fn growth(&self, blocks: &[BlockId]) -> Result<u64, BlobError> {
        let waiting = self.blobs.blocks(&self.blob).await?;
        let freed: u64 = waiting.iter().map(|block| block.bytes).sum();
        let sizes: HashMap<&BlockId, u64> = waiting.iter().map(|block| (&block.id, block.bytes)).collect();
        let named = blocks.iter().filter_map(|block| sizes.get(block));
        let whole = named.fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
        Ok(whole.saturating_sub(freed))
    }

    /// The blocks that wait.
    pub async fn blocks(&self) -> Result<Vec<Block>, BlobError> {
        self.blobs.blocks(&self.blob).await
    }

    /// Opens the blob to read.
    pub async fn open(&self) -> Result<Option<Box<dyn BlobReader>>, BlobError> {
        self.blobs.open(&self.blob).await
    }

    /// Deletes the blob; says whether it was there.
    pub async fn delete(&self) -> Result<bool, BlobError> {
        self.blobs.delete(&self.blob).await
    }
}

impl BlobUpload {
    /// How many bytes may come in all.
    pub fn bytes_max(&self) -> u64 {
        self.limits.get(self.limit)
    }

    /// Makes room for a size that the peer announces.
    ///
    /// # Errors
    /// The outer one is the limit of the request, or the quota of the hub.
    pub async fn announce(&mut self, bytes: u64) -> Result<Result<(), BlobError>, Exceeded> {
        self.limits.check(self.limit, bytes)?;
        self.reserved.grow_exactly(bytes).await
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// The outer one is the limit of the request, or the quota of the hub.
    pub async fn write(&mut self, bytes: Bytes) -> Result<Result<(), BlobError>, Exceeded> {
        let more = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(more);
        self.limits.check(self.limit, self.bytes)?;
        if let Err(error) = self.reserved.grow_to(self.bytes).await? {
            return Ok(Err(error));
        }
        Ok(self.writer.write(bytes).await)
    }

    /// Makes the content the blob.
    pub async fn publish(
        self,
        headers: BlobHeaders,
        condition: Condition,
    ) -> Result<BlobProperties, BlobError> {
        self.writer.publish(headers, condition).await
    }

    /// Makes the content a block.
    pub async fn stage(self, block: BlockId) -> Result<(), BlobError> {
        let staged = self.writer.stage(block, bounds(&self.limits)).await;
        if staged == Err(BlobError::TooMuch) {
            self.limits.hit(Limit::BlobBytesMax);
        }
        staged
    }
}

fn bounds(limits: &Limits) -> StagingBounds {
    StagingBounds {
        bytes_max: limits.get(Limit::BlobBytesMax),
        blocks_max: limits.get(Limit::BlobBlocksMax),
    }
}

impl std::fmt::Debug for BlobAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobAccess")
            .field("blob", &self.blob)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for BlobUpload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobUpload")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
