//! The event log of one node: segment files that all partitions of a hub share.
//!
//! `append` queues (`queue`); one thread per log (`writer`) lays out everything that waits as blocks (`commit`), writes
//! them with one write, syncs once and then answers. Readers find a block through a sparse index (`index`), walk over the
//! file (`walk`) and give out slices of what they read (`read`); who follows the tail is served from memory (`tail`).
//! The bytes, and what a crash or a flipped bit does to them, are written down in `docs/formats/segment-log.md`.
//!
//! Refused: a file per partition (a sync each), `io_uring` (no gain at one write per commit), and a thread per reader.

mod block;
mod catalog;
pub mod check;
mod commit;
pub(crate) mod disk;
mod fields;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod header;
mod index;
mod meta;
mod open;
mod patience;
mod queue;
mod read;
mod room;
mod scan;
mod sidecar;
mod stats;
mod tail;
mod walk;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use hub::BoxFuture;
use hub::clock::{Clock, Timestamp};
use hub::log::{
    AppendError, Appended, Batch, Log, LogHealth, Partition, PartitionInfo, ReadError, Record, Sequence,
};
use tokio::sync::{oneshot, watch};

use catalog::{Catalog, Shelf};
pub use check::{Report, check};
use disk::{Disk, RealDisk};
use meta::Meta;
pub use open::OpenError;
use queue::{Append, Queue, encoded_bytes};
use stats::Counters;
pub use stats::{SYNC_BUCKET_BOUNDS_MICROS, Stats};
use tail::{Limits, Tail};

/// Largest batch, with four bytes for each record.
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// Smallest and largest [`Settings::segment_bytes`]. Positions in a segment are 32 bits wide.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 4 << 10..=1 << 30;
/// How late the system may wake the writer. The usual 50 us are a fifth of what a quick disk takes for a commit.
#[cfg(target_os = "linux")]
const TIMER_SLACK_NANOS: std::num::NonZeroU64 = std::num::NonZeroU64::MIN;
/// Stack of the writer's thread. It needs little; 2 MiB would be the default.
const STACK_BYTES: usize = 512 << 10;

/// How a log is kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Partitions, 1 to 1,024. Counts when the log is created; later the log's own number does.
    pub partition_count: u16,
    /// What is kept.
    pub retention: Retention,
    /// Size at which a segment is sealed, 4 KiB to 1 GiB. Retention works in whole segments.
    pub segment_bytes: u64,
    /// Within this an append is to be durable, if the disk can: a commit waits for company for what its write leaves of it. It does not
    /// wait where nobody comes, nor once 64 KiB have come together.
    pub commit_within: Duration,
    /// Bytes that may wait to be written before appends are refused.
    pub queue_bytes_max: usize,
    /// How long to wait on a full disk before the next attempt.
    pub retry_delay: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            partition_count: 4,
            retention: Retention::default(),
            segment_bytes: 128 << 20,
            commit_within: Duration::from_millis(2),
            queue_bytes_max: 64 << 20,
            retry_delay: Duration::from_secs(1),
        }
    }
}

/// What is kept. The segment that is being written is never deleted; a segment is sealed at an eighth of the age, so records
/// go at most an eighth late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Records are deleted once they are older.
    pub age: Duration,
    /// The oldest records are deleted once all segments together are larger.
    pub bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(24 * 60 * 60),
            bytes: 64 << 30,
        }
    }
}

/// The event log of one hub in a folder. Dropping it waits for the commits that are queued.
pub struct SegmentLog {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    meta: Meta,
    settings: Settings,
    retention: Mutex<Retention>,
    queue: Queue,
    catalog: RwLock<Catalog>,
    shelf: Shelf,
    tail: Tail,
    watches: Vec<watch::Sender<Sequence>>,
    health: watch::Sender<LogHealth>,
    counters: Counters,
}

impl SegmentLog {
    /// Opens the log of a folder, recovering it if needed; makes folder and log when there are none. Blocks.
    pub fn open(folder: &Path, settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let folder_error = |source| OpenError::Io {
            folder: folder.to_owned(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(folder_error)?;
        Self::open_on(Arc::new(RealDisk::new(folder)), folder, settings, clock)
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        folder: &Path,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        check_settings(&settings)?;
        let io_error = |source| OpenError::Io {
            folder: PathBuf::from(folder),
            source,
        };
        let opened =
            open::open(&*disk, settings.partition_count, clock.now()).map_err(|failure| match failure {
                open::Failure::Io(source) => io_error(source),
                open::Failure::Open(error) => error,
            })?;
        let counters = Counters::default();
        stats::add(&counters.damage, opened.damage_count);
        let marks = &opened.standing.marks;
        let shared = Arc::new(Shared {
            disk,
            queue: Queue::new(settings.queue_bytes_max, Arc::clone(&clock)),
            clock,
            meta: opened.meta,
            retention: Mutex::new(settings.retention),
            shelf: Shelf::default(),
            tail: Tail::new(opened.meta.partition_count),
            watches: marks
                .iter()
                .map(|mark| watch::Sender::new(Sequence(mark.next)))
                .collect(),
            catalog: RwLock::new(opened.catalog),
            health: watch::Sender::new(LogHealth::Writable),
            counters,
            settings,
        });
        let writer = writer::Writer::new(Arc::clone(&shared), opened.standing, opened.end);
        let guard = writer::StopOnExit(Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("log-writer".into())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let _guard = guard;
                wake_on_time();
                writer.run();
            })
            .map_err(io_error)?;
        Ok(Self {
            shared,
            writer: Mutex::new(Some(thread)),
        })
    }

    /// Changes what is kept, and applies it soon.
    pub fn set_retention(&self, retention: Retention) {
        *self
            .shared
            .retention
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = retention;
        self.shared.queue.tidy();
    }

    /// What is kept.
    pub fn retention(&self) -> Retention {
        *self
            .shared
            .retention
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Counters and sizes.
    pub fn stats(&self) -> Stats {
        let catalog = self.shared.catalog();
        Stats {
            queue_bytes: self.shared.queue.bytes() as u64,
            segments: catalog.segments.len() as u64,
            disk_bytes: catalog.bytes(),
            ..self.shared.counters.snapshot()
        }
    }

    /// Commits what is queued and ends writing; reads go on. Blocks. On a full disk, what waits is refused.
    pub fn close(&self) {
        self.shared.queue.close();
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

impl Drop for SegmentLog {
    fn drop(&mut self) {
        self.close();
    }
}

/// Asks the system to wake this thread when its time has come, and not up to 50 us later.
fn wake_on_time() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_current_timer_slack(Some(TIMER_SLACK_NANOS)) {
        tracing::debug!(%error, "the system keeps its timer slack, so commits begin up to 50 us later");
    }
}

fn check_settings(settings: &Settings) -> Result<(), OpenError> {
    if !(1..=meta::PARTITION_COUNT_MAX).contains(&settings.partition_count) {
        return Err(OpenError::Settings("a log has 1 to 1,024 partitions"));
    }
    if !SEGMENT_BYTES.contains(&settings.segment_bytes) {
        return Err(OpenError::Settings("a segment has 4 KiB to 1 GiB"));
    }
    if settings.commit_within > Duration::from_secs(1) {
        return Err(OpenError::Settings("a commit waits for a second at most"));
    }
    Ok(())
}

impl Shared {
    /// The catalog is consistent at every step, so a panic while it was locked does no harm.
    fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn catalog_mut(&self) -> RwLockWriteGuard<'_, Catalog> {
        self.catalog.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_append(&self, partition: Partition, batch: &Batch) -> Result<(), AppendError> {
        if partition.0 >= self.meta.partition_count {
            return Err(AppendError::Refused("the partition does not exist"));
        }
        if batch.is_empty() {
            return Err(AppendError::Refused("the batch is empty"));
        }
        if encoded_bytes(batch) > BATCH_BYTES_MAX {
            return Err(AppendError::Refused("the batch is larger than 16 MiB"));
        }
        Ok(())
    }

    fn why_full(&self) -> Option<String> {
        match &*self.health.borrow() {
            LogHealth::Full(reason) => Some(reason.clone()),
            LogHealth::Writable | LogHealth::Stopped(_) => None,
        }
    }

    /// What can be said without a read: that there is nothing, or what the tail still holds.
    fn read_memory(&self, partition: u16, from: u64, limits: Limits) -> Result<Vec<Record>, u64> {
        let (first, next) = {
            let catalog = self.catalog();
            (catalog.first(partition), catalog.mark(partition).next)
        };
        let from = from.max(first);
        if from >= next || limits.records_max == 0 {
            return Ok(Vec::new());
        }
        self.tail.read(partition, from, limits).ok_or(from)
    }
}

impl Log for SegmentLog {
    fn partition_count(&self) -> u16 {
        self.shared.meta.partition_count
    }

    fn created(&self) -> Timestamp {
        self.shared.meta.created
    }

    fn append(
        &self,
        partition: Partition,
        batch: Batch,
    ) -> BoxFuture<'static, Result<Appended, AppendError>> {
        if let Err(error) = self.shared.check_append(partition, &batch) {
            return Box::pin(async move { Err(error) });
        }
        let (reply, receiver) = oneshot::channel();
        let append = Append {
            partition,
            batch,
            reply,
        };
        if !self.shared.queue.push(append, || self.shared.why_full()) {
            stats::add(&self.shared.counters.refused_appends, 1);
        }
        Box::pin(async move {
            receiver
                .await
                .unwrap_or_else(|_| Err(AppendError::Stopped("the writer has ended".to_owned())))
        })
    }

    fn read(
        &self,
        partition: Partition,
        from: Sequence,
        records_max: usize,
        bytes_max: usize,
    ) -> BoxFuture<'static, Result<Vec<Record>, ReadError>> {
        let limits = Limits {
            records_max,
            bytes_max,
        };
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            if partition.0 >= shared.meta.partition_count {
                return Err(ReadError::Unreadable("the partition does not exist".to_owned()));
            }
            let from = match shared.read_memory(partition.0, from.0, limits) {
                Ok(records) => return Ok(records),
                Err(from) => from,
            };
            tokio::task::spawn_blocking(move || shared.read_disk(partition.0, from, limits))
                .await
                .unwrap_or_else(|error| Err(ReadError::Unreadable(error.to_string())))
        })
    }

    fn info(&self, partition: Partition) -> Option<PartitionInfo> {
        if partition.0 >= self.shared.meta.partition_count {
            return None;
        }
        let catalog = self.shared.catalog();
        let mark = catalog.mark(partition.0);
        Some(PartitionInfo {
            first: Sequence(catalog.first(partition.0)),
            next: Sequence(mark.next),
            last_enqueued: (mark.last_enqueued != i64::MIN)
                .then(|| Timestamp::from_micros(mark.last_enqueued)),
        })
    }

    fn find(&self, partition: Partition, time: Timestamp) -> BoxFuture<'static, Result<Sequence, ReadError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            if partition.0 >= shared.meta.partition_count {
                return Err(ReadError::Unreadable("the partition does not exist".to_owned()));
            }
            let mark = shared.catalog().mark(partition.0);
            if mark.last_enqueued < time.as_micros() {
                return Ok(Sequence(mark.next));
            }
            tokio::task::spawn_blocking(move || shared.find_disk(partition.0, time))
                .await
                .unwrap_or_else(|error| Err(ReadError::Unreadable(error.to_string())))
        })
    }

    fn watch(&self, partition: Partition) -> Option<watch::Receiver<Sequence>> {
        self.shared
            .watches
            .get(usize::from(partition.0))
            .map(watch::Sender::subscribe)
    }

    fn health(&self) -> watch::Receiver<LogHealth> {
        self.shared.health.subscribe()
    }
}

#[cfg(test)]
mod tests;
