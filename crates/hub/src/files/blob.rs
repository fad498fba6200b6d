//! The blob store seam: files of any size under names, written whole or in blocks.
//!
//! One instance serves one hub. One contract suite (`engines::contract::blobs`) is passed by every implementation. Reads see what
//! was published and nothing of what is under way; a name shows the file before or the file after, whatever happens in between.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;

use crate::BoxFuture;
use crate::clock::Timestamp;

use super::name::BlobName;

/// Longest block id, in bytes once decoded; Azure's own limit.
const BLOCK_ID_BYTES_MAX: usize = 64;

/// Names a block of one blob: the bytes that the client encoded in base64.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(Arc<[u8]>);

/// The text is no block id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a block id is the base64 text of 1 to {BLOCK_ID_BYTES_MAX} bytes")]
pub struct InvalidBlockId;

impl BlockId {
    /// Reads base64 text.
    pub fn parse(text: &str) -> Result<Self, InvalidBlockId> {
        if text.len() > BLOCK_ID_BYTES_MAX.div_ceil(3) * 4 {
            return Err(InvalidBlockId);
        }
        let bytes = crate::secret::TOLERANT_BASE64
            .decode(text)
            .map_err(|_| InvalidBlockId)?;
        Self::from_bytes(&bytes)
    }

    /// From its bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidBlockId> {
        if bytes.is_empty() || bytes.len() > BLOCK_ID_BYTES_MAX {
            return Err(InvalidBlockId);
        }
        Ok(Self(bytes.into()))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Base64, as clients write it.
impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the writer says of a blob beside its bytes; given back to readers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlobHeaders {
    /// Media type.
    pub content_type: Option<String>,
    /// Content encoding.
    pub content_encoding: Option<String>,
    /// Content language.
    pub content_language: Option<String>,
    /// Content disposition.
    pub content_disposition: Option<String>,
    /// Cache control.
    pub cache_control: Option<String>,
    /// MD5 of the content, as the writer computed it or had it computed.
    pub content_md5: Option<[u8; 16]>,
    /// Names and values of the writer's own.
    pub metadata: Vec<(String, String)>,
}

/// What is known of a published blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobProperties {
    /// Bytes of its content.
    pub bytes: u64,
    /// When it was published.
    pub last_modified: Timestamp,
    /// Another one for every publication.
    pub etag: u64,
    /// What its writer said.
    pub headers: BlobHeaders,
}

/// A block that waits to become part of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its id.
    pub id: BlockId,
    /// Its size.
    pub bytes: u64,
}

/// What must hold for a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// Nothing: what is there is replaced.
    #[default]
    Any,
    /// Nothing is there.
    Absent,
    /// Something is there.
    Present,
    /// Exactly this publication is there.
    Etag(u64),
}

/// How large one blob, and all that waits in blocks for it, may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StagingBounds {
    /// Bytes of all blocks.
    pub bytes_max: u64,
    /// Blocks.
    pub blocks_max: u64,
}

/// Why an operation on blobs failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The condition does not hold. `exists` says whether something is there.
    #[error("the condition of the write does not hold")]
    Condition {
        /// Whether something is there.
        exists: bool,
    },
    /// A list names a block that does not wait.
    #[error("a block of the list is not there")]
    UnknownBlock,
    /// Over the bounds of staging.
    #[error("the blocks of the blob are over their bounds")]
    TooMuch,
    /// No room. Nothing was published.
    #[error("there is no room for blobs: {0}")]
    Full(String),
    /// The environment failed; what was there before is still there.
    #[error("blobs cannot be written or read: {0}")]
    Failed(String),
    /// Another server that keeps the blobs cannot be reached, or is not well.
    #[error("the store of blobs does not answer: {0}")]
    Unreachable(String),
    /// Another server that keeps the blobs refuses the hub.
    #[error("the store of blobs refuses the hub: {0}")]
    Refused(String),
    /// The store cannot hold a blob of this name.
    #[error("the store of files cannot hold a file of this name: {0}")]
    Name(String),
    /// What is stored is not as it was written.
    #[error("a blob is damaged: {0}")]
    Damaged(String),
}

/// Content on its way. It is nowhere visible; dropping the writer leaves nothing behind.
pub trait BlobWriter: Send {
    /// Adds bytes.
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>>;

    /// Makes the content a block of the blob, in place of an earlier one of that id. Durable when this resolves.
    fn stage(
        self: Box<Self>,
        block: BlockId,
        bounds: StagingBounds,
    ) -> BoxFuture<'static, Result<(), BlobError>>;

    /// Makes the content the blob, and drops the blocks that waited. Durable when this resolves.
    fn publish(
        self: Box<Self>,
        headers: BlobHeaders,
        condition: Condition,
    ) -> BoxFuture<'static, Result<BlobProperties, BlobError>>;
}

/// A published blob as it was when it was opened, whatever is published meanwhile.
pub trait BlobReader: Send {
    /// What is known of it.
    fn properties(&self) -> &BlobProperties;

    /// Up to `bytes_max` bytes from a position; none at the end.
    fn read(&mut self, position: u64, bytes_max: usize) -> BoxFuture<'_, Result<Bytes, BlobError>>;
}

/// The files of one hub.
pub trait BlobStore: Send + Sync + 'static {
    /// Begins to write.
    fn write<'a>(&'a self, blob: &'a BlobName) -> BoxFuture<'a, Result<Box<dyn BlobWriter>, BlobError>>;

    /// Makes blocks that wait the blob, in this order, and drops the others. A block may be named more than once. Durable when this resolves.
    fn commit<'a>(
        &'a self,
        blob: &'a BlobName,
        blocks: &'a [BlockId],
        bounds: StagingBounds,
        headers: BlobHeaders,
        condition: Condition,
    ) -> BoxFuture<'a, Result<BlobProperties, BlobError>>;

    /// The blocks that wait, by id.
    fn blocks<'a>(&'a self, blob: &'a BlobName) -> BoxFuture<'a, Result<Vec<Block>, BlobError>>;

    /// Opens a published blob.
    fn open<'a>(
        &'a self,
        blob: &'a BlobName,
    ) -> BoxFuture<'a, Result<Option<Box<dyn BlobReader>>, BlobError>>;

    /// Removes a published blob; says whether it was there.
    fn delete<'a>(&'a self, blob: &'a BlobName) -> BoxFuture<'a, Result<bool, BlobError>>;

    /// Bytes of all blobs and of all blocks that wait, as they lie in the store; not of content on its way.
    fn stored_bytes(&self) -> BoxFuture<'_, Result<u64, BlobError>>;

    /// Drops the blocks that nobody touched since a time; says how many.
    fn sweep(&self, before: Timestamp) -> BoxFuture<'_, Result<usize, BlobError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_ids() {
        assert_eq!(BlockId::parse("QUFB").unwrap().as_bytes(), b"AAA");
        assert_eq!(BlockId::parse("QUFB").unwrap().to_string(), "QUFB");
        for bad in ["", "*", &"QUFB".repeat(22), &"QUFB".repeat(1_000)] {
            assert_eq!(BlockId::parse(bad), Err(InvalidBlockId), "{bad}");
        }
    }
}
