//! Blocks that wait: counted in memory, kept as files.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use hub::clock::Timestamp;
use hub::files::{BlobError, Block, BlockId, StagingBounds};

use super::description::{BLOCK_TAIL_BYTES, Content, read_block};
use super::layout::{BlobKey, Layout, block_of_file, sync_folder};
use super::writer::NewFile;
use super::{Shared, failed};

/// Turns: changes of blobs that share none go on side by side.
const TURNS: usize = 64;

/// What waits, by blob, and whose turn it is to change a blob.
pub(super) struct Staging {
    turns: Vec<Mutex<()>>,
    // Read from the folder when a blob is first touched.
    waiting: Mutex<HashMap<BlobKey, Waiting>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Waiting {
    bytes: u64,
    blocks: u64,
}

impl Default for Staging {
    fn default() -> Self {
        Self {
            turns: (0..TURNS).map(|_| Mutex::default()).collect(),
            waiting: Mutex::default(),
        }
    }
}

impl Staging {
    /// The turn to change what is named so.
    pub(super) fn turn(&self, key: &BlobKey) -> Option<MutexGuard<'_, ()>> {
        let turn = self.turns.get(key.spread() % TURNS);
        turn.map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a synced block in its place, in place of an earlier one.
    pub(super) fn add(
        &self,
        Shared { layout, usage, .. }: &Shared,
        key: &BlobKey,
        block: &BlockId,
        content: Content,
        bounds: StagingBounds,
        new: &mut NewFile,
    ) -> Result<(), BlobError> {
        let _turn = self.turn(key);
        let path = layout.block(key, block);
        let replaced = match fs::metadata(&path) {
            Ok(found) => Some(found.len().saturating_sub(BLOCK_TAIL_BYTES)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let before = self.waiting_of(layout, key)?;
        let after = Waiting {
            bytes: before
                .bytes
                .saturating_sub(replaced.unwrap_or(0))
                .saturating_add(content.bytes),
            blocks: before.blocks.saturating_add(u64::from(replaced.is_none())),
        };
        if after.bytes > bounds.bytes_max || after.blocks > bounds.blocks_max {
            return Err(BlobError::TooMuch);
        }
        layout.make_blocks(key).map_err(failed)?;
        usage.place(new, &path).map_err(failed)?;
        self.lock().insert(key.clone(), after);
        sync_folder(&layout.blocks(key)).map_err(failed)
    }

    fn waiting_of(&self, layout: &Layout, key: &BlobKey) -> Result<Waiting, BlobError> {
        if let Some(waiting) = self.lock().get(key) {
            return Ok(*waiting);
        }
        let blocks = blocks(layout, key)?;
        Ok(Waiting {
            bytes: blocks.iter().map(|block| block.bytes).sum(),
            blocks: u64::try_from(blocks.len()).unwrap_or(u64::MAX),
        })
    }

    /// Drops the blocks of a blob; the caller has its turn. What cannot be removed is left to the sweep.
    pub(super) fn forget(&self, Shared { layout, usage, .. }: &Shared, key: &BlobKey) {
        self.lock().remove(key);
        if let Err(error) = usage.remove_blocks(&layout.blocks(key)) {
            tracing::warn!(%error, "blocks of a file remain; trying again later");
        }
    }

    /// Drops the blocks of blobs whose newest block is older than a time.
    pub(super) fn sweep(&self, shared: &Shared, before: Timestamp) -> Result<usize, BlobError> {
        let layout = &shared.layout;
        let mut removed = 0;
        for key in layout.staged().map_err(failed)? {
            let _turn = self.turn(&key);
            // The folder is touched whenever a block comes.
            let touched = match fs::metadata(layout.blocks(&key)).and_then(|found| found.modified()) {
                Ok(touched) => touched,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            let touched = touched.duration_since(UNIX_EPOCH).unwrap_or_default();
            if Timestamp::from_secs(0).plus(touched) < before {
                removed += blocks(layout, &key)?.len();
                self.forget(shared, &key);
            }
        }
        Ok(removed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BlobKey, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The blocks that wait, by id.
pub(super) fn blocks(layout: &Layout, key: &BlobKey) -> Result<Vec<Block>, BlobError> {
    let entries = match fs::read_dir(layout.blocks(key)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut blocks = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let Some(id) = entry.file_name().to_str().and_then(block_of_file) else {
            continue;
        };
        let bytes = entry.metadata().map_err(failed)?.len();
        blocks.push(Block {
            id,
            bytes: bytes.saturating_sub(BLOCK_TAIL_BYTES),
        });
    }
    blocks.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(blocks)
}

/// Opens a block; none when it does not wait.
pub(super) fn open_block(
    layout: &Layout,
    key: &BlobKey,
    block: &BlockId,
) -> Result<Option<(File, Content)>, BlobError> {
    let file = match File::open(layout.block(key, block)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let content = read_block(&file)?;
    Ok(Some((file, content)))
}
