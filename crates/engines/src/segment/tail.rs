//! The last records of each partition, in memory: whoever follows the tail is served without a read.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hub::clock::Timestamp;
use hub::log::{Record, Sequence};

use super::block::{self, Header};

/// Bytes of records that are kept, over all partitions.
const BYTES_MAX: usize = 4 << 20;
/// What a block costs beside its records, in bytes.
const BLOCK_OVERHEAD_BYTES: usize = 96;

/// What a read may give at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) records_max: usize,
    pub(super) bytes_max: usize,
}

impl Limits {
    /// Whether one more record is within the limits. The first one always is, however large.
    pub(super) fn allow(&self, given: &[Record], given_bytes: usize, next_bytes: usize) -> bool {
        given.len() < self.records_max
            && (given.is_empty() || given_bytes.saturating_add(next_bytes) <= self.bytes_max)
    }
}

pub(super) struct Tail {
    partitions: Box<[Mutex<Blocks>]>,
    bytes_max: usize,
}

/// Blocks of a partition, without a gap.
#[derive(Default)]
struct Blocks {
    blocks: VecDeque<Block>,
    bytes: usize,
}

struct Block {
    first: u64,
    next: u64,
    enqueued: i64,
    body: Bytes,
}

impl Tail {
    pub(super) fn new(partition_count: u16) -> Self {
        Self {
            partitions: (0..partition_count).map(|_| Mutex::default()).collect(),
            bytes_max: BYTES_MAX / usize::from(partition_count.max(1)),
        }
    }

    /// Adds a block; `body` lies in the writer's buffer and is copied.
    pub(super) fn push(&self, header: &Header, body: &[u8]) {
        let Some(mut blocks) = self.lock(header.partition) else {
            return;
        };
        if blocks.blocks.back().is_some_and(|last| last.next != header.first) || body.len() > self.bytes_max {
            *blocks = Blocks::default();
        }
        if body.len() > self.bytes_max {
            return;
        }
        blocks.bytes += body.len() + BLOCK_OVERHEAD_BYTES;
        blocks.blocks.push_back(Block {
            first: header.first,
            next: header.next(),
            enqueued: header.enqueued,
            body: Bytes::copy_from_slice(body),
        });
        while blocks.bytes > self.bytes_max {
            let Some(oldest) = blocks.blocks.pop_front() else {
                break;
            };
            blocks.bytes -= oldest.body.len() + BLOCK_OVERHEAD_BYTES;
        }
    }

    /// Records from `from` on, if that is in memory.
    pub(super) fn read(&self, partition: u16, from: u64, limits: Limits) -> Option<Vec<Record>> {
        let blocks = self.lock(partition)?;
        if blocks.blocks.front()?.first > from {
            return None;
        }
        let at = blocks.blocks.partition_point(|block| block.next <= from);
        let mut records = Vec::new();
        let mut bytes = 0;
        for block in blocks.blocks.iter().skip(at) {
            let skip = usize::try_from(from.saturating_sub(block.first)).unwrap_or(usize::MAX);
            let sequences = block.first..block.next;
            for (sequence, record) in sequences.zip(block::records(&block.body)).skip(skip) {
                if !limits.allow(&records, bytes, record.len()) {
                    return Some(records);
                }
                bytes += record.len();
                records.push(Record {
                    sequence: Sequence(sequence),
                    enqueued: Timestamp::from_micros(block.enqueued),
                    bytes: record,
                });
            }
        }
        (!records.is_empty()).then_some(records)
    }

    fn lock(&self, partition: u16) -> Option<MutexGuard<'_, Blocks>> {
        let blocks = self.partitions.get(usize::from(partition))?;
        Some(blocks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
