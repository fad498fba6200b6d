//! The segments of a log and where its partitions stand: what readers look at and the writer changes after each commit.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use hub::clock::Timestamp;

use super::disk::{Disk, DiskFile};
use super::header::{self, Mark, Standing};
use super::index::Index;
use super::meta::Meta;
use super::scan::{Extent, scan};
use super::sidecar::{Found, Sidecar};

/// Sealed segments whose file and index are kept at hand for readers.
const LOADED_COUNT_MAX: usize = 8;

pub(super) fn file_name(segment: u64) -> String {
    format!("{segment:010}.segment")
}

/// What is known of a segment without opening it.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Where the partitions stood when it began.
    pub(super) start: Arc<Standing>,
    /// Length in bytes; of the active segment, when it was opened.
    pub(super) len: u64,
}

/// A segment that can be read.
pub(super) struct Loaded {
    pub(super) number: u64,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) index: RwLock<Index>,
    /// Bytes that are durable; readers see no further.
    pub(super) len: AtomicU64,
}

/// All segments, oldest first; the last one is active.
pub(super) struct Catalog {
    pub(super) segments: VecDeque<Segment>,
    pub(super) active: Arc<Loaded>,
    /// Where the partitions stand, durable.
    pub(super) marks: Vec<Mark>,
}

/// The segments that a read or a search goes through, seen at one moment.
pub(super) struct View {
    pub(super) segment: Segment,
    /// Sequence number of the partition's first record behind the segment.
    pub(super) end: u64,
}

impl Catalog {
    pub(super) fn mark(&self, partition: u16) -> Mark {
        self.marks
            .get(usize::from(partition))
            .copied()
            .unwrap_or(Mark::START)
    }

    /// The partition's oldest record that is kept.
    pub(super) fn first(&self, partition: u16) -> u64 {
        self.segments
            .front()
            .map_or(0, |segment| segment.first(partition))
    }

    /// The segment that holds a record.
    pub(super) fn with_sequence(&self, partition: u16, sequence: u64) -> Option<View> {
        let count = self
            .segments
            .partition_point(|segment| segment.first(partition) <= sequence);
        self.view(partition, count.checked_sub(1)?)
    }

    /// The first segment with a record that was enqueued at or after a time.
    pub(super) fn with_time(&self, partition: u16, time: i64) -> Option<View> {
        // The last time of a segment is what the next one's header says.
        let count = self.segments.partition_point(|segment| {
            let mark = segment.start.marks.get(usize::from(partition));
            mark.is_none_or(|mark| mark.last_enqueued < time)
        });
        self.view(partition, count.checked_sub(1)?)
    }

    fn view(&self, partition: u16, at: usize) -> Option<View> {
        let segment = self.segments.get(at)?.clone();
        let end = self
            .segments
            .get(at + 1)
            .map_or(self.mark(partition).next, |next| next.first(partition));
        Some(View { segment, end })
    }

    /// Bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        let sealed: u64 = self
            .segments
            .iter()
            .filter(|segment| segment.number != self.active.number)
            .map(|segment| segment.len)
            .sum();
        sealed + self.active.len.load(Ordering::Acquire)
    }

    /// When the last record of the oldest segment was enqueued, unless that is the active one.
    pub(super) fn oldest_sealed_until(&self) -> Option<Timestamp> {
        let next = self.segments.get(1)?;
        let newest = next.start.marks.iter().map(|mark| mark.last_enqueued).max()?;
        Some(Timestamp::from_micros(newest))
    }
}

impl Segment {
    pub(super) fn first(&self, partition: u16) -> u64 {
        self.start
            .marks
            .get(usize::from(partition))
            .map_or(0, |mark| mark.next)
    }
}

/// Sealed segments that were read lately.
#[derive(Default)]
pub(super) struct Shelf(Mutex<VecDeque<Arc<Loaded>>>);

impl Shelf {
    /// The sealed segment, opened and indexed if it is not at hand.
    pub(super) fn load(&self, disk: &dyn Disk, meta: &Meta, segment: &Segment) -> io::Result<Arc<Loaded>> {
        if let Some(loaded) = self.find(segment.number) {
            return Ok(loaded);
        }
        let loaded = Arc::new(load(disk, meta, segment)?);
        self.put(Arc::clone(&loaded));
        Ok(loaded)
    }

    pub(super) fn put(&self, loaded: Arc<Loaded>) {
        let mut kept = self.lock();
        kept.retain(|other| other.number != loaded.number);
        kept.push_back(loaded);
        if kept.len() > LOADED_COUNT_MAX {
            kept.pop_front();
        }
    }

    pub(super) fn remove(&self, number: u64) {
        let mut kept = self.lock();
        kept.retain(|loaded| loaded.number != number);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Loaded>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, number: u64) -> Option<Arc<Loaded>> {
        let mut kept = self.lock();
        let at = kept.iter().position(|loaded| loaded.number == number)?;
        let loaded = kept.remove(at)?;
        kept.push_back(Arc::clone(&loaded));
        Some(loaded)
    }
}

/// Opens a sealed segment; reads what its sidecar does not cover.
pub(super) fn load(disk: &dyn Disk, meta: &Meta, segment: &Segment) -> io::Result<Loaded> {
    let file = disk.open(&file_name(segment.number))?;
    let len = file.len()?;
    let (standing, index, from) = match Sidecar::read(disk, meta, segment.number)? {
        Found::Sound(sidecar) => (sidecar.standing, sidecar.index, sidecar.covers),
        Found::Missing | Found::Damaged => (
            Standing::clone(&segment.start),
            Index::new(meta.partition_count),
            header::len(meta.partition_count),
        ),
    };
    let index = if from < len {
        let extent = Extent {
            file: Arc::clone(&file),
            segment: segment.number,
            from,
            len,
            durable_to: len,
        };
        scan(extent, standing, index)?.index
    } else {
        index
    };
    Ok(Loaded {
        number: segment.number,
        file,
        index: RwLock::new(index),
        len: AtomicU64::new(len),
    })
}
