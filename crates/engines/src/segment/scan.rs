//! Reading a whole segment, to recover it, to index it or to check it: where it ends, what is damaged, what is a torn tail.
//!
//! The next commit begins only when the one before is durable. So what does not hold is a torn tail if nothing valid of a
//! later commit lies behind it, and damage otherwise (docs/formats/segment-log.md, "Opening").

use std::io;
use std::sync::Arc;

use super::block::{Flaw, Header};
use super::disk::DiskFile;
use super::header::Standing;
use super::index::Index;
use super::walk::{Step, Walk};

/// A place that does not hold, and what was lost there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damaged {
    pub(super) position: u64,
    /// Bytes up to the next block that holds.
    pub(super) len: u64,
    pub(super) flaw: Flaw,
    pub(super) lost: Vec<Lost>,
}

/// Records of a partition that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) partition: u16,
    pub(super) first: u64,
    pub(super) last: u64,
}

/// What is read, and from where.
pub(super) struct Extent {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) segment: u64,
    /// The end of a commit or of the header.
    pub(super) from: u64,
    pub(super) len: u64,
    /// What lies before this is known to be durable: it is damaged or sound, never torn.
    pub(super) durable_to: u64,
}

/// What was found.
pub(super) struct Scan {
    /// The end of the last complete commit; a torn tail lies behind it.
    pub(super) end: u64,
    /// Where the partitions stand at `end`.
    pub(super) standing: Standing,
    pub(super) index: Index,
    pub(super) damages: Vec<Damaged>,
    /// Blocks and records that hold, before `end`.
    pub(super) blocks: u64,
    pub(super) records: u64,
}

/// Reads an extent. `standing` and `index` are those at its beginning.
pub(super) fn scan(extent: Extent, standing: Standing, index: Index) -> io::Result<Scan> {
    let partition_count = u16::try_from(standing.marks.len()).unwrap_or(u16::MAX);
    let mut walk = Walk::new(
        extent.file,
        extent.segment,
        partition_count,
        extent.from,
        extent.len,
    );
    let mut state = Scanner {
        durable_to: extent.durable_to,
        open: standing.clone(),
        commit_at: extent.from,
        suspects: Vec::new(),
        blocks: 0,
        records: 0,
        found: Scan {
            end: extent.from,
            standing,
            index,
            damages: Vec::new(),
            blocks: 0,
            records: 0,
        },
    };
    while let Some(step) = walk.next()? {
        match step {
            Step::Block(header) => match walk.body(&header)? {
                Ok(_) if state.contradicts(&header) => {
                    let step = walk.leave(&header, Flaw::Impossible)?;
                    state.step_flaw(&step);
                }
                Ok(_) => state.block(&header),
                Err(flaw) => {
                    let step = walk.leave(&header, flaw)?;
                    state.step_flaw(&step);
                }
            },
            flaw @ Step::Flaw { .. } => state.step_flaw(&flaw),
        }
    }
    Ok(state.finish(extent.len))
}

struct Scanner {
    durable_to: u64,
    /// Where the partitions stand, with the blocks of the commit that is being read.
    open: Standing,
    /// Where that commit began.
    commit_at: u64,
    /// Flaws that are a torn tail or damage, as what follows will tell.
    suspects: Vec<Damaged>,
    /// Counts with the blocks of the commit that is being read.
    blocks: u64,
    records: u64,
    found: Scan,
}

impl Scanner {
    /// A block that would go back in its partition, or in the order of commits.
    fn contradicts(&self, header: &Header) -> bool {
        let mark = self.open.marks.get(usize::from(header.partition));
        mark.is_none_or(|mark| header.first < mark.next || header.enqueued < mark.last_enqueued)
            || header.commit <= self.found.standing.commit
    }

    fn step_flaw(&mut self, step: &Step) {
        if let Step::Flaw { position, flaw, next } = step {
            let damaged = Damaged {
                position: *position,
                len: next.saturating_sub(*position),
                flaw: *flaw,
                lost: Vec::new(),
            };
            if *position < self.durable_to {
                self.found.damages.push(damaged);
            } else {
                self.suspects.push(damaged);
            }
        }
    }

    fn block(&mut self, header: &Header) {
        let position = u64::from(header.position);
        if position >= self.durable_to {
            self.accept_durable(header.commit.saturating_sub(1));
        }
        if header.commit > self.found.standing.commit.saturating_add(1) {
            // A later commit, so what came before was durable.
            self.found.damages.append(&mut self.suspects);
        }
        if let Some(mark) = self.open.marks.get_mut(usize::from(header.partition)) {
            if header.first > mark.next {
                let lost = Lost {
                    partition: header.partition,
                    first: mark.next,
                    last: header.first - 1,
                };
                let damages = if self.suspects.is_empty() {
                    &mut self.found.damages
                } else {
                    &mut self.suspects
                };
                attach(damages, position, lost);
            }
            mark.next = header.next();
            mark.last_enqueued = header.enqueued;
        }
        self.blocks += 1;
        self.records += u64::from(header.count);
        self.found.index.note(header);
        if header.end() == header.commit_end() && self.suspects.is_empty() {
            self.open.commit = header.commit;
            self.commit_at = header.end();
            self.accept();
        }
    }

    /// Takes what was read as complete.
    fn accept(&mut self) {
        self.found.end = self.commit_at;
        self.found.standing = self.open.clone();
        self.found.blocks = self.blocks;
        self.found.records = self.records;
    }

    /// Behind what is known to be durable: that is complete, whatever of it does not hold.
    fn accept_durable(&mut self, commit: u64) {
        if self.found.end < self.durable_to {
            self.open.commit = commit.max(self.found.standing.commit);
            self.commit_at = self.durable_to;
            self.accept();
        }
    }

    fn finish(mut self, len: u64) -> Scan {
        if self.durable_to >= len && self.found.end < len {
            if self.found.damages.is_empty() {
                // The blocks hold, and the file ends inside a commit.
                self.found.damages.push(Damaged {
                    position: len,
                    len: 0,
                    flaw: Flaw::CutOff,
                    lost: Vec::new(),
                });
            }
            self.durable_to = len;
        }
        self.accept_durable(self.open.commit.saturating_add(1));
        self.found.index.truncate(self.found.end);
        self.found
    }
}

/// Ascribes lost records to the last damage, or to a new one where they are missed.
pub(super) fn attach(damages: &mut Vec<Damaged>, position: u64, lost: Lost) {
    if let Some(damage) = damages.last_mut() {
        damage.lost.push(lost);
        return;
    }
    damages.push(Damaged {
        position,
        len: 0,
        flaw: Flaw::Missing,
        lost: vec![lost],
    });
}
