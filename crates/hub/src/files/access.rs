//! Proof that a peer may work on one blob, and the work itself.

use std::sync::Arc;

use bytes::Bytes;

use crate::limits::{Exceeded, Limit, Limits};

use super::blob::{
    BlobError, BlobHeaders, BlobProperties, BlobReader, BlobStore, BlobWriter, Block, BlockId, Condition,
    StagingBounds,
};
use super::name::BlobName;
use super::permissions::Permissions;
use super::sas::SasRefusal;

/// The way to one blob, for one request. Made by [`Files`](super::Files) alone.
pub struct BlobAccess {
    blobs: Arc<dyn BlobStore>,
    limits: Arc<Limits>,
    blob: BlobName,
    permissions: Permissions,
}

/// Content of a blob or a block on its way, counted against its limit.
pub struct BlobUpload {
    writer: Box<dyn BlobWriter>,
    limits: Arc<Limits>,
    limit: Limit,
    bytes: u64,
}

impl BlobAccess {
    pub(super) fn new(
        blobs: Arc<dyn BlobStore>,
        limits: Arc<Limits>,
        blob: BlobName,
        permissions: Permissions,
    ) -> Self {
        Self {
            blobs,
            limits,
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
        })
    }

    /// Makes blocks the blob.
    pub async fn commit(
        &self,
        blocks: &[BlockId],
        headers: BlobHeaders,
        condition: Condition,
    ) -> Result<BlobProperties, BlobError> {
        let bounds = bounds(&self.limits);
        self.blobs
            .commit(&self.blob, blocks, bounds, headers, condition)
            .await
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

    /// Refuses a size that the peer announces.
    pub fn announce(&self, bytes: u64) -> Result<(), Exceeded> {
        self.limits.check(self.limit, bytes)
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// The outer one is the limit.
    pub async fn write(&mut self, bytes: Bytes) -> Result<Result<(), BlobError>, Exceeded> {
        let more = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(more);
        self.limits.check(self.limit, self.bytes)?;
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
