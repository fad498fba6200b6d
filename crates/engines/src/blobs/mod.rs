//! Uploaded files on the machine's own disk, one folder for each hub (docs/formats/uploads.md).
//!
//! A published blob is one file: its content, then a description with checksums. Whatever is on its way is written in `staging/` and
//! becomes visible by a rename, after it and its description were synced. A kill therefore leaves the file before or the file
//! after, and leftovers in `staging/`, which the next start and the sweep remove.
//!
//! Names of files are digests of names of blobs: whatever a device calls its file, it names no path of ours. Refused: a tree of
//! folders that looks like the names, where `a` and `a/b` exclude each other and long names do not fit.

mod assemble;
mod description;
mod layout;
mod reader;
mod staging;
mod usage;
mod writer;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;

use hub::BoxFuture;
use hub::clock::{Clock, Timestamp};
use hub::entropy::Entropy;
use hub::files::{
    BlobError, BlobHeaders, BlobName, BlobProperties, BlobReader, BlobStore, BlobWriter, Block, BlockId,
    Condition, StagingBounds,
};

use layout::{BlobKey, Layout};
use reader::FileReader;
use staging::Staging;
use usage::Usage;
use writer::FileWriter;

/// The files of one hub.
pub struct LocalBlobs {
    shared: Arc<Shared>,
}

/// What writers and readers hold on to.
struct Shared {
    layout: Layout,
    staging: Staging,
    usage: Usage,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl LocalBlobs {
    /// Opens a folder, making it where there is none, and removes what was on its way when the process ended.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> io::Result<Self> {
        let layout = Layout::open(folder)?;
        Ok(Self {
            shared: Arc::new(Shared {
                layout,
                staging: Staging::default(),
                usage: Usage::default(),
                clock,
                entropy,
            }),
        })
    }
}

impl BlobStore for LocalBlobs {
    fn write<'a>(&'a self, blob: &'a BlobName) -> BoxFuture<'a, Result<Box<dyn BlobWriter>, BlobError>> {
        let (shared, blob) = (Arc::clone(&self.shared), blob.clone());
        Box::pin(blocking(move || {
            let writer = FileWriter::create(shared, blob)?;
            Ok(Box::new(writer) as Box<dyn BlobWriter>)
        }))
    }

    fn commit<'a>(
        &'a self,
        blob: &'a BlobName,
        blocks: &'a [BlockId],
        bounds: StagingBounds,
        headers: BlobHeaders,
        condition: Condition,
    ) -> BoxFuture<'a, Result<BlobProperties, BlobError>> {
        let (shared, blob, blocks) = (Arc::clone(&self.shared), blob.clone(), blocks.to_vec());
        Box::pin(blocking(move || {
            assemble::commit(&shared, &blob, &blocks, bounds, headers, condition)
        }))
    }

    fn blocks<'a>(&'a self, blob: &'a BlobName) -> BoxFuture<'a, Result<Vec<Block>, BlobError>> {
        let (shared, key) = (Arc::clone(&self.shared), BlobKey::of(blob));
        Box::pin(blocking(move || staging::blocks(&shared.layout, &key)))
    }

    fn open<'a>(
        &'a self,
        blob: &'a BlobName,
    ) -> BoxFuture<'a, Result<Option<Box<dyn BlobReader>>, BlobError>> {
        let (shared, blob) = (Arc::clone(&self.shared), blob.clone());
        Box::pin(blocking(move || {
            let reader = FileReader::open(&shared.layout, &blob)?;
            Ok(reader.map(|reader| Box::new(reader) as Box<dyn BlobReader>))
        }))
    }

    fn delete<'a>(&'a self, blob: &'a BlobName) -> BoxFuture<'a, Result<bool, BlobError>> {
        let (shared, key) = (Arc::clone(&self.shared), BlobKey::of(blob));
        Box::pin(blocking(move || {
            let _turn = shared.staging.turn(&key);
            let path = shared.layout.content(&key);
            if !shared.usage.remove(&path).map_err(failed)? {
                return Ok(false);
            }
            shared.layout.sync_content(&key).map_err(failed)?;
            Ok(true)
        }))
    }

    fn stored_bytes(&self) -> BoxFuture<'_, Result<u64, BlobError>> {
        if let Some(known) = self.shared.usage.known() {
            return Box::pin(std::future::ready(Ok(known)));
        }
        let shared = Arc::clone(&self.shared);
        Box::pin(blocking(move || {
            shared.usage.bytes(&shared.layout).map_err(failed)
        }))
    }

    fn sweep(&self, before: Timestamp) -> BoxFuture<'_, Result<usize, BlobError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(blocking(move || shared.staging.sweep(&shared, before)))
    }
}

/// Work on files, apart from the threads that serve connections.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(BlobError::Failed(error.to_string())))
}

#[allow(clippy::needless_pass_by_value, reason = "used as a function of map_err")]
fn failed(error: io::Error) -> BlobError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BlobError::Full(error.to_string()),
        _ => BlobError::Failed(error.to_string()),
    }
}
