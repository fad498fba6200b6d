//! From blocks to a blob: copied one after the other into a file of its own, inside of the kernel where it can.

use std::io::{self, Read as _};

use hub::files::{BlobError, BlobHeaders, BlobName, BlobProperties, BlockId, Condition, StagingBounds};

use super::description::Content;
use super::layout::BlobKey;
use super::staging::open_block;
use super::writer::{NewFile, check, publish};
use super::{Shared, failed};

pub(super) fn commit(
    shared: &Shared,
    blob: &BlobName,
    blocks: &[BlockId],
    bounds: StagingBounds,
    headers: BlobHeaders,
    condition: Condition,
) -> Result<BlobProperties, BlobError> {
    let key = BlobKey::of(blob);
    if u64::try_from(blocks.len()).unwrap_or(u64::MAX) > bounds.blocks_max {
        return Err(BlobError::TooMuch);
    }
    {
        // Before anything is copied; asked again when it is published.
        let _turn = shared.staging.turn(&key);
        check(shared, blob, condition)?;
    }
    let mut new = NewFile::create(shared).map_err(failed)?;
    let mut whole = Content::default();
    for block in blocks {
        let (file, content) = open_block(&shared.layout, &key, block)?.ok_or(BlobError::UnknownBlock)?;
        whole.join(content);
        // A list may name a block many times: its sum counts, not what waits.
        if whole.bytes > bounds.bytes_max {
            return Err(BlobError::TooMuch);
        }
        let copied = io::copy(&mut file.take(content.bytes), new.file()).map_err(failed)?;
        if copied != content.bytes {
            return Err(BlobError::Damaged(format!(
                "{blob}: a block is shorter than it was"
            )));
        }
    }
    publish(shared, blob, &mut new, whole, headers, condition)
}
