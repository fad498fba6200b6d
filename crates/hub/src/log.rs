//! The event log seam: one hub's telemetry, in ordered, durable partitions.
//!
//! One contract suite (`engines::contract::log`) is passed by every implementation. A log belongs to one hub: its partition
//! count is fixed when it is created, retention is per log.

use bytes::Bytes;
use tokio::sync::watch;

use crate::BoxFuture;
use crate::clock::Timestamp;

/// Number of a partition of one log, `0..partition_count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u16);

/// Place of a record in its partition: starts at 0, no gaps. Also its offset on the wire (docs/decisions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// Records that are appended together and in this order, in one buffer.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record that `write` appends to the buffer it is given. What `write` returns is passed on; when it is an
    /// error, the batch is as before.
    pub fn push_with<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let start = self.bytes.len();
        if let Err(error) = write(&mut self.bytes) {
            self.bytes.truncate(start);
            return Err(error);
        }
        self.ends
            .push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        Ok(())
    }

    /// Adds a record.
    pub fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends
            .push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all records together. A batch is kept well below 4 GiB by its writer: 16 MiB is the limit of `append`.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The records in order.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let end = *end as usize;
            let record = self.bytes.get(start..end).unwrap_or_default();
            start = end;
            record
        })
    }
}

/// Where a batch came to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Sequence number of the first record; the others follow without a gap.
    pub first: Sequence,
    /// The enqueued time that all records carry; never earlier than that of a record before them in the partition.
    pub enqueued: Timestamp,
}

/// A record as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub sequence: Sequence,
    /// When it was appended.
    pub enqueued: Timestamp,
    /// The bytes that were appended.
    pub bytes: Bytes,
}

/// State of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionInfo {
    /// The oldest record still kept; equal to `next` when there is none.
    pub first: Sequence,
    /// The sequence number the next record will get; `next - 1` is the last one.
    pub next: Sequence,
    /// Enqueued time of the last record, if any was ever appended.
    pub last_enqueued: Option<Timestamp>,
}

impl PartitionInfo {
    /// Whether no record is kept.
    pub fn is_empty(&self) -> bool {
        self.first == self.next
    }
}

/// Why records could not be appended. Environment, never the device's fault.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The disk is full, or more bytes wait for it than the engine may queue. The records were not stored. The engine tries
    /// again by itself whether there is room.
    #[error("the event log has no room: {0}")]
    Full(String),
    /// A sync failed: what is on disk is unknown. Nothing is appended any more until a restart has recovered the log.
    #[error("the event log stopped after a failed write or sync; restart the server to recover: {0}")]
    Stopped(String),
    /// The batch is empty or over 16 MiB, or the partition does not exist: a bug of the caller.
    #[error("the event log refused a batch: {0}")]
    Refused(&'static str),
}

/// Why records could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// A checksum or a header does not hold. The damaged records are never served.
    #[error("the event log is damaged: {what}")]
    Damaged {
        /// Where and what, for the operator.
        what: String,
        /// The first record after the damage, from where reading can go on; a reader could not guess it.
        resume: Sequence,
    },
    /// The file could not be read.
    #[error("the event log could not be read: {0}")]
    Unreadable(String),
}

impl ReadError {
    /// Where a reader that stands at `from` goes on, if the rest of the partition can be read; always further on.
    pub fn resume_behind(&self, from: Sequence) -> Option<Sequence> {
        match self {
            Self::Damaged { resume, .. } => Some((*resume).max(Sequence(from.0.saturating_add(1)))),
            Self::Unreadable(_) => None,
        }
    }
}

/// How healthy the log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogHealth {
    /// Appends are accepted.
    Writable,
    /// No room; appends wait (see [`Log::append`]).
    Full(String),
    /// Stopped for good until a restart.
    Stopped(String),
}

/// Partitioned, durable, ordered records.
pub trait Log: Send + Sync + 'static {
    /// Number of partitions, fixed when the log was created.
    fn partition_count(&self) -> u16;

    /// When the log was created.
    fn created(&self) -> Timestamp;

    /// Appends; resolves when the records are durable. The batch is queued when this is called, before the future is first
    /// polled, so batches for a partition keep the order of the calls. While the disk is full the future stays pending and
    /// resolves once there was room; the engine bounds what it queues and resolves with [`AppendError::Full`] beyond.
    fn append(&self, partition: Partition, batch: Batch)
    -> BoxFuture<'static, Result<Appended, AppendError>>;

    /// Records from `from` on (from the oldest kept one if that is later), at least one if there is any, until the next would
    /// exceed `bytes_max` or `records_max`. Only durable records are seen.
    fn read(
        &self,
        partition: Partition,
        from: Sequence,
        records_max: usize,
        bytes_max: usize,
    ) -> BoxFuture<'static, Result<Vec<Record>, ReadError>>;

    /// State of a partition; `None` when it does not exist.
    fn info(&self, partition: Partition) -> Option<PartitionInfo>;

    /// The first kept record whose enqueued time is at or after `time`; `next` when there is none.
    fn find(&self, partition: Partition, time: Timestamp) -> BoxFuture<'static, Result<Sequence, ReadError>>;

    /// Follows the `next` of a partition: changes whenever records became durable. `None` when it does not exist.
    fn watch(&self, partition: Partition) -> Option<watch::Receiver<Sequence>>;

    /// Follows the health.
    fn health(&self) -> watch::Receiver<LogHealth>;
}
