//! Reads and searches on disk. Run on blocking threads.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use hub::clock::Timestamp;
use hub::log::{ReadError, Record, Sequence};

use super::Shared;
use super::block::{self, Flaw, Header};
use super::catalog::{Loaded, View, file_name};
use super::header;
use super::stats::add;
use super::tail::Limits;
use super::walk::{Step, Walk};

/// What ends a walk early.
enum Interrupt {
    Damaged(Break),
    Io(io::Error),
}

/// Records that are missed.
struct Break {
    position: u64,
    flaw: Flaw,
    /// The first record that can be read behind them.
    resume: u64,
}

impl From<io::Error> for Interrupt {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Shared {
    /// Records from `from` on, or from the oldest kept one.
    pub(super) fn read_disk(
        &self,
        partition: u16,
        from: u64,
        limits: Limits,
    ) -> Result<Vec<Record>, ReadError> {
        loop {
            let (from, view) = {
                let catalog = self.catalog();
                let from = from.max(catalog.first(partition));
                if from >= catalog.mark(partition).next {
                    return Ok(Vec::new());
                }
                (from, catalog.with_sequence(partition, from))
            };
            let Some(view) = view else {
                return Ok(Vec::new());
            };
            match self.load(&view) {
                Ok(loaded) => return self.read_segment(&view, &loaded, partition, from, limits),
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.was_deleted(&view) => {}
                Err(error) => return Err(self.unreadable(&view, &error)),
            }
        }
    }

    /// The first kept record that was enqueued at or after a time.
    pub(super) fn find_disk(&self, partition: u16, time: Timestamp) -> Result<Sequence, ReadError> {
        loop {
            let (first, next, view) = {
                let catalog = self.catalog();
                (
                    catalog.first(partition),
                    catalog.mark(partition).next,
                    catalog.with_time(partition, time.as_micros()),
                )
            };
            // All kept records are later, or the partition has none.
            let Some(view) = view else {
                return Ok(Sequence(first));
            };
            let found = self
                .load(&view)
                .map_err(Interrupt::Io)
                .and_then(|loaded| self.find_in_segment(&view, &loaded, partition, time.as_micros()));
            match found {
                Ok(found) => return Ok(Sequence(found.unwrap_or(view.end).clamp(first, next))),
                Err(Interrupt::Io(error))
                    if error.kind() == io::ErrorKind::NotFound && self.was_deleted(&view) => {}
                Err(Interrupt::Io(error)) => return Err(self.unreadable(&view, &error)),
                Err(Interrupt::Damaged(missed)) => return Ok(Sequence(missed.resume)),
            }
        }
    }

    fn load(&self, view: &View) -> io::Result<Arc<Loaded>> {
        {
            let catalog = self.catalog();
            if catalog.active.number == view.segment.number {
                return Ok(Arc::clone(&catalog.active));
            }
        }
        self.shelf.load(&*self.disk, &self.meta, &view.segment)
    }

    /// Whether retention has deleted a segment since it was looked up.
    fn was_deleted(&self, view: &View) -> bool {
        self.catalog()
            .segments
            .front()
            .is_some_and(|oldest| oldest.number > view.segment.number)
    }

    fn walk(&self, loaded: &Loaded, position: Option<u32>) -> Walk {
        let partition_count = self.meta.partition_count;
        Walk::new(
            Arc::clone(&loaded.file),
            loaded.number,
            partition_count,
            position.map_or(header::len(partition_count), u64::from),
            loaded.len.load(Ordering::Acquire),
        )
    }

    fn read_segment(
        &self,
        view: &View,
        loaded: &Loaded,
        partition: u16,
        from: u64,
        limits: Limits,
    ) -> Result<Vec<Record>, ReadError> {
        let entry = loaded
            .index
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .before_sequence(partition, from);
        let mut walk = self.walk(loaded, entry.map(|entry| entry.position));
        let mut reading = Reading {
            partition,
            expected: from,
            limits,
            records: Vec::new(),
            bytes: 0,
            flaw: None,
        };
        match reading.run(&mut walk, view.end) {
            Ok(()) => Ok(reading.records),
            // What came before it is served; who goes on from there meets it again.
            Err(Interrupt::Damaged(_)) if !reading.records.is_empty() => Ok(reading.records),
            Err(Interrupt::Damaged(missed)) => Err(self.damaged(view, partition, from, &missed)),
            Err(Interrupt::Io(error)) => Err(self.unreadable(view, &error)),
        }
    }

    fn find_in_segment(
        &self,
        view: &View,
        loaded: &Loaded,
        partition: u16,
        time: i64,
    ) -> Result<Option<u64>, Interrupt> {
        let entry = loaded
            .index
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .before_time(partition, time);
        let mut expected = entry.map_or(view.segment.first(partition), |entry| entry.first);
        let mut walk = self.walk(loaded, entry.map(|entry| entry.position));
        while let Some(step) = walk.next()? {
            let Step::Block(header) = step else { continue };
            if header.partition != partition {
                continue;
            }
            if header.enqueued >= time {
                // Damaged records before it may be what is searched for: a reader must meet them.
                return Ok(Some(expected.min(header.first)));
            }
            expected = header.next();
        }
        Ok((expected < view.end).then_some(expected))
    }

    fn damaged(&self, view: &View, partition: u16, from: u64, missed: &Break) -> ReadError {
        add(&self.counters.damage, 1);
        let file = self.disk.describe(&file_name(view.segment.number));
        let what = format!(
            "records {from} to {} of partition {partition} cannot be read: {file} at byte {}: {}; record {} can be read again",
            missed.resume.saturating_sub(1),
            missed.position,
            missed.flaw,
            missed.resume
        );
        tracing::error!(what, "the event log is damaged; run 'ironhub log check'");
        ReadError::Damaged {
            what,
            resume: Sequence(missed.resume),
        }
    }

    fn unreadable(&self, view: &View, error: &io::Error) -> ReadError {
        let file = self.disk.describe(&file_name(view.segment.number));
        tracing::error!(file, %error, "a segment of the event log could not be read");
        ReadError::Unreadable(format!("{file}: {error}"))
    }
}

/// Collecting the records of one partition from one segment.
struct Reading {
    partition: u16,
    expected: u64,
    limits: Limits,
    records: Vec<Record>,
    bytes: usize,
    /// What did not hold, until the partition's next block shows whether it mattered.
    flaw: Option<(u64, Flaw)>,
}

impl Reading {
    /// Collects until the limits are reached, or up to `end`, the partition's first record behind the segment.
    fn run(&mut self, walk: &mut Walk, end: u64) -> Result<(), Interrupt> {
        let mut position = 0;
        while let Some(step) = walk.next()? {
            match step {
                Step::Block(header) => {
                    position = header.end();
                    let concerns = header.partition == self.partition && header.next() > self.expected;
                    if concerns && !self.block(walk, &header)? {
                        return Ok(());
                    }
                }
                Step::Flaw { position, flaw, .. } => {
                    self.flaw.get_or_insert((position, flaw));
                }
            }
        }
        if self.expected < end {
            return Err(self.missed(position, end));
        }
        Ok(())
    }

    /// Takes a block's records. Says whether there is room for more.
    fn block(&mut self, walk: &mut Walk, header: &Header) -> Result<bool, Interrupt> {
        let body = match walk.body(header)? {
            Ok(body) => body,
            Err(flaw) => {
                if let Step::Flaw { position, flaw, .. } = walk.leave(header, flaw)? {
                    self.flaw.get_or_insert((position, flaw));
                }
                return Ok(true);
            }
        };
        if header.first > self.expected {
            return Err(self.missed(u64::from(header.position), header.first));
        }
        self.flaw = None;
        let skip = usize::try_from(self.expected - header.first).unwrap_or(usize::MAX);
        for record in block::records(&body).take(header.count as usize).skip(skip) {
            if !self.limits.allow(&self.records, self.bytes, record.len()) {
                return Ok(false);
            }
            self.bytes += record.len();
            self.records.push(Record {
                sequence: Sequence(self.expected),
                enqueued: Timestamp::from_micros(header.enqueued),
                bytes: record,
            });
            self.expected += 1;
        }
        if self.expected < header.next() {
            self.flaw = Some((u64::from(header.position), Flaw::Records));
        }
        Ok(true)
    }

    fn missed(&self, position: u64, resume: u64) -> Interrupt {
        let (position, flaw) = self.flaw.unwrap_or((position, Flaw::Missing));
        Interrupt::Damaged(Break {
            position,
            flaw,
            resume,
        })
    }
}
