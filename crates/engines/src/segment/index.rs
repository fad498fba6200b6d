//! The sparse index of a segment: for each partition, where about every 64 KiB of its records lie.

use super::block::Header;

/// Own bytes of a partition between two entries. 128 MiB of records have about 2,048 entries of 24 bytes.
const ENTRY_DISTANCE_BYTES: u64 = 64 << 10;

/// A block of which the index knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) first: u64,
    pub(super) enqueued: i64,
    pub(super) position: u32,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Entries {
    entries: Vec<Entry>,
    /// Own bytes since the last entry.
    since: u64,
}

/// Entries by partition, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index(Vec<Entries>);

impl Index {
    pub(super) fn new(partition_count: u16) -> Self {
        Self(vec![Entries::default(); usize::from(partition_count)])
    }

    pub(super) fn from_entries(partitions: Vec<Vec<Entry>>) -> Self {
        let entries = |entries| Entries { entries, since: 0 };
        Self(partitions.into_iter().map(entries).collect())
    }

    /// Takes note of a block that follows all others of its partition.
    pub(super) fn note(&mut self, header: &Header) {
        let Some(partition) = self.0.get_mut(usize::from(header.partition)) else {
            return;
        };
        if partition.entries.is_empty() || partition.since >= ENTRY_DISTANCE_BYTES {
            partition.since = 0;
            partition.entries.push(Entry {
                first: header.first,
                enqueued: header.enqueued,
                position: header.position,
            });
        }
        partition.since += header.block_len();
    }

    /// Forgets blocks at or behind a position.
    pub(super) fn truncate(&mut self, position: u64) {
        for partition in &mut self.0 {
            partition
                .entries
                .retain(|entry| u64::from(entry.position) < position);
        }
    }

    pub(super) fn entries(&self, partition: u16) -> &[Entry] {
        self.0
            .get(usize::from(partition))
            .map_or(&[], |partition| &partition.entries)
    }

    /// The last entry at or before a sequence number.
    pub(super) fn before_sequence(&self, partition: u16, sequence: u64) -> Option<Entry> {
        last_where(self.entries(partition), |entry| entry.first <= sequence)
    }

    /// The last entry whose records were all enqueued before a time.
    pub(super) fn before_time(&self, partition: u16, time: i64) -> Option<Entry> {
        last_where(self.entries(partition), |entry| entry.enqueued < time)
    }
}

fn last_where(entries: &[Entry], holds: impl Fn(&Entry) -> bool) -> Option<Entry> {
    let count = entries.partition_point(holds);
    count.checked_sub(1).and_then(|last| entries.get(last)).copied()
}
