//! Content on its way: a file of its own, which becomes a block or a blob by a rename.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use hub::BoxFuture;
use hub::files::{
    BlobError, BlobHeaders, BlobName, BlobProperties, BlobWriter, BlockId, Condition, StagingBounds,
};

use super::description::{Content, Description, block_tail};
use super::layout::BlobKey;
use super::reader::FileReader;
use super::{Shared, blocking, failed};

/// Bytes that are gathered for one write to the file.
const BUFFER_BYTES: usize = 256 * 1_024;

/// A file of `staging/new` that is removed unless it is moved.
pub(super) struct NewFile {
    path: PathBuf,
    file: File,
    moved: bool,
}

impl NewFile {
    pub(super) fn create(shared: &Shared) -> io::Result<Self> {
        let mut number = [0; 16];
        shared.entropy.fill(&mut number);
        let path = shared.layout.new_file(number);
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Self {
            path,
            file,
            moved: false,
        })
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Syncs the content, and gives the file its name.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    pub(super) fn move_to(&mut self, path: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, path)?;
        self.moved = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.moved
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(%error, "what was on its way is left to the next start");
        }
    }
}

/// Writes one content.
pub(super) struct FileWriter {
    shared: Arc<Shared>,
    blob: BlobName,
    // None while a write is under way that nobody waited for.
    open: Option<Open>,
    buffer: Vec<u8>,
}

struct Open {
    new: NewFile,
    content: Content,
}

impl Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.content.append(bytes);
        self.new.file().write_all(bytes)
    }
}

impl FileWriter {
    pub(super) fn create(shared: Arc<Shared>, blob: BlobName) -> Result<Self, BlobError> {
        let new = NewFile::create(&shared).map_err(failed)?;
        Ok(Self {
            shared,
            blob,
            open: Some(Open {
                new,
                content: Content::default(),
            }),
            buffer: Vec::new(),
        })
    }

    async fn flush(&mut self) -> Result<(), BlobError> {
        let mut open = self.open.take().ok_or_else(interrupted)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        let (open, buffer) = blocking(move || {
            open.write(&buffer).map_err(failed)?;
            buffer.clear();
            Ok((open, buffer))
        })
        .await?;
        self.open = Some(open);
        self.buffer = buffer;
        Ok(())
    }

    /// Ends the writing: the rest of the bytes is written, the file not yet synced.
    fn finish(self) -> Result<(Arc<Shared>, BlobName, Open), BlobError> {
        let Self {
            shared,
            blob,
            open,
            buffer,
        } = self;
        let mut open = open.ok_or_else(interrupted)?;
        open.write(&buffer).map_err(failed)?;
        Ok((shared, blob, open))
    }
}

impl BlobWriter for FileWriter {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        Box::pin(async move {
            if self.buffer.capacity() == 0 {
                self.buffer.reserve_exact(BUFFER_BYTES);
            }
            if self.buffer.len() + bytes.len() > BUFFER_BYTES {
                self.flush().await?;
            }
            self.buffer.extend_from_slice(&bytes);
            Ok(())
        })
    }

    fn stage(
        self: Box<Self>,
        block: BlockId,
        bounds: StagingBounds,
    ) -> BoxFuture<'static, Result<(), BlobError>> {
        Box::pin(blocking(move || {
            let (shared, blob, mut open) = (*self).finish()?;
            open.new
                .file()
                .write_all(&block_tail(open.content))
                .map_err(failed)?;
            open.new.sync().map_err(failed)?;
            let key = BlobKey::of(&blob);
            shared
                .staging
                .add(&shared, &key, &block, open.content, bounds, &mut open.new)
        }))
    }

    fn publish(
        self: Box<Self>,
        headers: BlobHeaders,
        condition: Condition,
    ) -> BoxFuture<'static, Result<BlobProperties, BlobError>> {
        Box::pin(blocking(move || {
            let (shared, blob, mut open) = (*self).finish()?;
            publish(&shared, &blob, &mut open.new, open.content, headers, condition)
        }))
    }
}

/// Makes content that was written the blob, if the condition holds, and drops its blocks.
pub(super) fn publish(
    shared: &Shared,
    blob: &BlobName,
    new: &mut NewFile,
    content: Content,
    headers: BlobHeaders,
    condition: Condition,
) -> Result<BlobProperties, BlobError> {
    let mut etag = [0; 8];
    shared.entropy.fill(&mut etag);
    let description = Description {
        properties: BlobProperties {
            bytes: content.bytes,
            last_modified: shared.clock.now(),
            etag: u64::from_be_bytes(etag),
            headers,
        },
        crc: content.crc,
    };
    let behind = description.encode(blob)?;
    new.file().write_all(&behind).map_err(failed)?;
    new.sync().map_err(failed)?;
    let key = BlobKey::of(blob);
    let _turn = shared.staging.turn(&key);
    check(shared, blob, condition)?;
    shared.layout.make_shelf(&key).map_err(failed)?;
    shared
        .usage
        .place(new, &shared.layout.content(&key))
        .map_err(failed)?;
    shared.layout.sync_content(&key).map_err(failed)?;
    shared.staging.forget(shared, &key);
    Ok(description.properties)
}

/// Whether a condition holds; the caller has the turn of the blob.
pub(super) fn check(shared: &Shared, blob: &BlobName, condition: Condition) -> Result<(), BlobError> {
    let etag = match condition {
        Condition::Any => return Ok(()),
        // What is damaged is there, too.
        Condition::Absent | Condition::Present => {
            let exists = shared
                .layout
                .content(&BlobKey::of(blob))
                .try_exists()
                .map_err(failed)?;
            let holds = exists == (condition == Condition::Present);
            return if holds {
                Ok(())
            } else {
                Err(BlobError::Condition { exists })
            };
        }
        Condition::Etag(etag) => etag,
    };
    let found = FileReader::open(&shared.layout, blob)?.map(|reader| reader.etag());
    if found == Some(etag) {
        Ok(())
    } else {
        Err(BlobError::Condition {
            exists: found.is_some(),
        })
    }
}

fn interrupted() -> BlobError {
    BlobError::Failed("an earlier write did not come to its end".to_owned())
}
