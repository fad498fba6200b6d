//! What a log did, as plain numbers; the server turns them into metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets of [`Stats::sync_buckets`], in microseconds; the last bucket is what took longer.
pub const SYNC_BUCKET_BOUNDS_MICROS: [u64; 12] = [
    125, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 250_000, 1_000_000,
];
const BUCKET_COUNT: usize = SYNC_BUCKET_BOUNDS_MICROS.len() + 1;

/// Counters since the log was opened, and how full it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records that were acknowledged.
    pub appended_records: u64,
    /// Bytes of those records.
    pub appended_bytes: u64,
    /// Bytes written, headers included.
    pub written_bytes: u64,
    /// Commits: a write and a sync each.
    pub commits: u64,
    /// Time spent in the writes and syncs of commits, in microseconds.
    pub sync_micros_total: u64,
    /// Commits by the time of their write and sync; not cumulative.
    pub sync_buckets: [u64; BUCKET_COUNT],
    /// Commits that found the disk full, repetitions included.
    pub full: u64,
    /// Appends that were refused, whatever the reason.
    pub refused_appends: u64,
    /// Damage found at open and by reads. One place that is read twice counts twice.
    pub damage: u64,
    /// Segments that retention deleted.
    pub deleted_segments: u64,
    /// How long the next commit waits for company, in microseconds.
    pub delay_micros: u64,
    /// Bytes that wait to be written.
    pub queue_bytes: u64,
    /// Segments on disk.
    pub segments: u64,
    /// Their bytes.
    pub disk_bytes: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) appended_records: AtomicU64,
    pub(super) appended_bytes: AtomicU64,
    pub(super) written_bytes: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) full: AtomicU64,
    pub(super) refused_appends: AtomicU64,
    pub(super) damage: AtomicU64,
    pub(super) deleted_segments: AtomicU64,
    delay_micros: AtomicU64,
    sync_micros_total: AtomicU64,
    sync_buckets: [AtomicU64; BUCKET_COUNT],
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Counters {
    pub(super) fn synced(&self, took: Duration) {
        let micros = micros(took);
        add(&self.sync_micros_total, micros);
        let bucket = SYNC_BUCKET_BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.sync_buckets.get(bucket) {
            add(bucket, 1);
        }
    }

    pub(super) fn waits(&self, delay: Duration) {
        self.delay_micros.store(micros(delay), Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            appended_records: read(&self.appended_records),
            appended_bytes: read(&self.appended_bytes),
            written_bytes: read(&self.written_bytes),
            commits: read(&self.commits),
            sync_micros_total: read(&self.sync_micros_total),
            sync_buckets: self.sync_buckets.each_ref().map(read),
            full: read(&self.full),
            refused_appends: read(&self.refused_appends),
            damage: read(&self.damage),
            deleted_segments: read(&self.deleted_segments),
            delay_micros: read(&self.delay_micros),
            queue_bytes: 0,
            segments: 0,
            disk_bytes: 0,
        }
    }
}
