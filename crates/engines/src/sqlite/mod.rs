//! The document store of one node: SQLite with a write-ahead log, synced at every commit.
//!
//! One thread writes and gathers all waiting batches into one transaction (`writer`), so a thousand callers share a sync.
//! Point reads run on the caller's thread, on a small set of connections (`reader`): a hop to another thread costs more than
//! the read. Scans run on blocking threads. The file is described in `docs/formats/sqlite-store.md`.
//!
//! Refused: memory-mapped reads (they count as resident memory) and a cache of documents (SQLite and the page cache are one).

mod file;
mod reader;
mod row;
mod writer;

use std::path::Path;
use std::sync::Arc;

use hub::BoxFuture;
use hub::store::{ApplyError, Document, Key, Range, Store, StoreError, Version, Write};
use tokio::sync::watch;

pub use file::OpenError;
use reader::Readers;
pub use writer::Stats;
use writer::Writer;

/// Longest id of a document, in bytes.
const ID_BYTES_MAX: usize = 1_024;
/// Largest body of a document, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// What an appended document holds beside its body, in bytes: the hash of the one before.
const APPENDED_BYTES: usize = 32;

/// How healthy the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Writes are accepted.
    Writable,
    /// The last commit found no room. Every later one tries again.
    Full(String),
    /// Stopped for good until a restart.
    Stopped(String),
}

/// Documents in one SQLite file.
///
/// ```no_run
/// # fn main() -> Result<(), engines::sqlite::OpenError> {
/// let store = engines::sqlite::SqliteStore::open(std::path::Path::new("data/store.sqlite"))?;
/// # drop(store); Ok(()) }
/// ```
pub struct SqliteStore {
    readers: Arc<Readers>,
    writer: Writer,
}

impl SqliteStore {
    /// Opens the store's file, or creates it. Dropping the store waits for the commits that are queued.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let connection = file::open_writer(path)?;
        let readers = Readers::open(path)?;
        Ok(Self {
            readers: Arc::new(readers),
            writer: Writer::start(connection, path)?,
        })
    }

    /// Overwrites what was deleted or replaced: afterwards neither file nor write-ahead log holds any of it. Writes wait meanwhile, for
    /// about a second for every 100 MB; reads do not.
    ///
    /// # Errors
    /// When there is no room for a second copy of the file, or a reader does not end. Nothing is lost then.
    pub async fn scrub(&self) -> Result<(), StoreError> {
        self.writer
            .scrub()
            .await
            .unwrap_or_else(|_| Err(StoreError::Stopped("the writer has ended".into())))
    }

    /// Follows the health.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.writer.health()
    }

    /// Counters since the store was opened.
    pub fn stats(&self) -> Stats {
        self.writer.stats()
    }
}

impl Store for SqliteStore {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Document>, StoreError>> {
        Box::pin(async move { self.readers.get(key) })
    }

    fn scan<'a>(&'a self, range: &'a Range) -> BoxFuture<'a, Result<Vec<Document>, StoreError>> {
        let (readers, range) = (Arc::clone(&self.readers), range.clone());
        Box::pin(async move {
            tokio::task::spawn_blocking(move || readers.scan(&range))
                .await
                .unwrap_or_else(|error| Err(StoreError::Unreadable(error.to_string())))
        })
    }

    fn apply(&self, batch: Vec<Write>) -> BoxFuture<'static, Result<Version, ApplyError>> {
        if let Err(reason) = check_limits(&batch) {
            return Box::pin(async move { Err(StoreError::Refused(reason).into()) });
        }
        let reply = self.writer.queue(batch);
        Box::pin(async move {
            reply
                .await
                .unwrap_or_else(|_| Err(StoreError::Stopped("the writer has ended".into()).into()))
        })
    }

    fn counter<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<i64, StoreError>> {
        Box::pin(async move { self.readers.counter(key) })
    }
}

fn check_limits(batch: &[Write]) -> Result<(), &'static str> {
    for write in batch {
        let (id_len, body_len) = match write {
            Write::Put { key, body, .. } => (key.id.len(), body.len()),
            // With room for the hash that goes before it.
            Write::Append { body, .. } => (0, body.len().saturating_add(APPENDED_BYTES)),
            Write::Delete { key, .. } | Write::Add { key, .. } | Write::Check { key, .. } => {
                (key.id.len(), 0)
            }
        };
        if id_len > ID_BYTES_MAX {
            return Err("an id has more than 1,024 bytes");
        }
        if body_len > BODY_BYTES_MAX {
            return Err("a body has more than 1 MiB");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
