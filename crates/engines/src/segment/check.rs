//! Checking a log offline: every byte is read, nothing is changed.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::block::Flaw;
use super::catalog::file_name;
use super::disk::{Disk, RealDisk};
use super::header;
use super::index::Index;
use super::meta::Meta;
use super::open::{Failure, Listing, OpenError, read_header, read_meta};
use super::room::is_room;
use super::scan::{Damaged, Extent, Lost, Scan, attach, scan};
use super::sidecar::{self, Found, Sidecar};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Partitions of the log.
    pub partition_count: u16,
    /// The segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// Everything that does not hold, in the order of the files.
    pub damage: Vec<Damage>,
    /// What a crash left unfinished: normal, and cut off at the next start.
    pub torn_tail: Option<TornTail>,
    /// Sidecars that are missing or damaged: nothing is lost, they are made anew.
    pub notes: Vec<String>,
}

/// What holds of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentReport {
    /// Path of the file.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Blocks that hold.
    pub blocks: u64,
    /// Records in them.
    pub records: u64,
}

/// A place that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Path of the file.
    pub file: String,
    /// Where in the file it begins, in bytes.
    pub position: u64,
    /// Bytes up to the next place that holds.
    pub bytes: u64,
    /// What does not hold.
    pub what: String,
    /// The records that are lost there.
    pub lost: Vec<LostRecords>,
}

/// Records that are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostRecords {
    /// Their partition.
    pub partition: u16,
    /// Sequence number of the first.
    pub first: u64,
    /// Sequence number of the last.
    pub last: u64,
}

/// A commit that a crash interrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// Path of the file.
    pub file: String,
    /// Where in the file it begins.
    pub position: u64,
    /// Its length.
    pub bytes: u64,
}

/// Reads every byte of the log in a folder. Changes nothing; a log that is being written may seem to have a torn tail.
pub fn check(folder: &Path) -> Result<Report, OpenError> {
    check_on(&RealDisk::new(folder)).map_err(|failure| match failure {
        Failure::Open(error) => error,
        Failure::Io(source) => OpenError::Io {
            folder: folder.to_owned(),
            source,
        },
    })
}

impl Report {
    /// Whether nothing that was acknowledged is damaged.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }

    /// Records that hold.
    pub fn records(&self) -> u64 {
        self.segments.iter().map(|segment| segment.records).sum()
    }
}

pub(super) fn check_on(disk: &dyn Disk) -> Result<Report, Failure> {
    let listing = Listing::read(disk)?;
    let meta = read_meta(disk)?;
    let mut checker = Checker {
        disk,
        meta,
        before: None,
        report: Report {
            partition_count: meta.partition_count,
            segments: Vec::new(),
            damage: Vec::new(),
            torn_tail: None,
            notes: Vec::new(),
        },
    };
    for (at, number) in listing.segments.iter().enumerate() {
        let is_last = at + 1 == listing.segments.len();
        checker.segment(*number, is_last)?;
    }
    if listing.segments.is_empty() {
        checker.damage(
            0,
            Damaged::of_file(Flaw::Missing, 0),
            Some("all segment files are missing"),
        );
    }
    Ok(checker.report)
}

struct Checker<'a> {
    disk: &'a dyn Disk,
    meta: Meta,
    /// The segment before and what was found in it.
    before: Option<(u64, Scan)>,
    report: Report,
}

impl Checker<'_> {
    fn segment(&mut self, number: u64, is_last: bool) -> io::Result<()> {
        let file = self.disk.open(&file_name(number))?;
        let len = file.len()?;
        let header_len = header::len(self.meta.partition_count);
        let header = read_header(&*file, &self.meta, number)?;
        if header.is_none() && is_last && len <= header_len && self.before.is_some() {
            self.torn_tail(number, 0, len);
            return Ok(());
        }
        self.missing_before(number, header.as_ref());
        let start = match (header, &self.before) {
            (Some(standing), _) => standing,
            (None, before) => {
                let standing = match before {
                    Some((_, scan)) => scan.standing.clone(),
                    None => header::Standing::start(self.meta.partition_count),
                };
                let what = "the segment's header does not hold";
                self.damage(
                    number,
                    Damaged::of_file(Flaw::HeaderSum, header_len.min(len)),
                    Some(what),
                );
                standing
            }
        };
        let sidecar = self.sidecar(number, is_last, len)?;
        let covers = sidecar.as_ref().map_or(0, |sidecar| sidecar.covers);
        let extent = Extent {
            file: Arc::clone(&file),
            segment: number,
            from: header_len,
            len,
            durable_to: if is_last { covers.min(len) } else { len },
        };
        let mut found = scan(extent, start, Index::new(self.meta.partition_count))?;
        for damaged in std::mem::take(&mut found.damages) {
            self.damage(number, damaged, None);
        }
        if let Some(sidecar) = sidecar {
            let lost = behind(&mut found.standing, &sidecar.standing);
            self.lost_at_end(number, found.end, lost);
        }
        if found.end < len && !(is_last && is_room(&*file, found.end, len)?) {
            self.torn_tail(number, found.end, len - found.end);
        }
        self.report.segments.push(SegmentReport {
            file: self.disk.describe(&file_name(number)),
            bytes: len,
            blocks: found.blocks,
            records: found.records,
        });
        self.before = Some((number, found));
        Ok(())
    }

    /// Compares where the segment before ended with where this one says it began.
    fn missing_before(&mut self, number: u64, header: Option<&header::Standing>) {
        let Some((before, mut scan)) = self.before.take() else {
            return;
        };
        let lost = header.map_or_else(Vec::new, |header| behind(&mut scan.standing, header));
        if number > before + 1 {
            let what = format!("the segment files {} to {} are missing", before + 1, number - 1);
            let damaged = Damaged {
                lost,
                ..Damaged::of_file(Flaw::Missing, 0)
            };
            self.damage(before + 1, damaged, Some(&what));
        } else {
            self.lost_at_end(before, scan.end, lost);
        }
        self.before = Some((before, scan));
    }

    /// Ascribes what is missing at the end of a segment to its last damage.
    fn lost_at_end(&mut self, number: u64, end: u64, lost: Vec<Lost>) {
        let file = self.disk.describe(&file_name(number));
        if let Some(damage) = self.report.damage.last_mut().filter(|damage| damage.file == file) {
            damage.lost.extend(lost.into_iter().map(LostRecords::from));
            return;
        }
        let mut damages = Vec::new();
        for lost in lost {
            attach(&mut damages, end, lost);
        }
        for damaged in damages {
            self.damage(number, damaged, None);
        }
    }

    /// The sidecar of a segment, if it is sound.
    fn sidecar(&mut self, number: u64, is_last: bool, len: u64) -> io::Result<Option<Sidecar>> {
        let name = self.disk.describe(&sidecar::file_name(number));
        match Sidecar::read(self.disk, &self.meta, number)? {
            Found::Sound(sidecar) if sidecar.covers > len => {
                let what = format!(
                    "the file is shorter than it was: {} bytes are gone",
                    sidecar.covers - len
                );
                let damaged = Damaged {
                    position: len,
                    ..Damaged::of_file(Flaw::Missing, 0)
                };
                self.damage(number, damaged, Some(&what));
                Ok(Some(sidecar))
            }
            Found::Sound(sidecar) => Ok(Some(sidecar)),
            Found::Missing => {
                if !is_last {
                    self.report
                        .notes
                        .push(format!("{name} is missing; the segment is read without it"));
                }
                Ok(None)
            }
            Found::Damaged => {
                self.report.notes.push(format!(
                    "{name} is damaged; nothing is lost, the segment is read without it"
                ));
                Ok(None)
            }
        }
    }

    fn damage(&mut self, number: u64, damaged: Damaged, what: Option<&str>) {
        self.report.damage.push(Damage {
            file: self.disk.describe(&file_name(number)),
            position: damaged.position,
            bytes: damaged.len,
            what: what.map_or_else(|| damaged.flaw.to_string(), str::to_owned),
            lost: damaged.lost.into_iter().map(LostRecords::from).collect(),
        });
    }

    fn torn_tail(&mut self, number: u64, position: u64, bytes: u64) {
        self.report.torn_tail = Some(TornTail {
            file: self.disk.describe(&file_name(number)),
            position,
            bytes,
        });
    }
}

/// The records between where the blocks end and where they are known to have ended; brings the first up to the second.
fn behind(found: &mut header::Standing, known: &header::Standing) -> Vec<Lost> {
    let mut lost = Vec::new();
    for (partition, (found, known)) in (0u16..).zip(found.marks.iter_mut().zip(&known.marks)) {
        if known.next > found.next {
            lost.push(Lost {
                partition,
                first: found.next,
                last: known.next - 1,
            });
            *found = *known;
        }
    }
    lost
}

impl Damaged {
    fn of_file(flaw: Flaw, len: u64) -> Self {
        Self {
            position: 0,
            len,
            flaw,
            lost: Vec::new(),
        }
    }
}

impl From<Lost> for LostRecords {
    fn from(lost: Lost) -> Self {
        Self {
            partition: lost.partition,
            first: lost.first,
            last: lost.last,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            writeln!(
                f,
                "{}: {} bytes, {} blocks, {} records",
                segment.file, segment.bytes, segment.blocks, segment.records
            )?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        if let Some(torn) = &self.torn_tail {
            writeln!(
                f,
                "torn tail: {} from byte {}: {} bytes of a commit that was interrupted. This is normal after a crash: nobody was \
                 told that they were stored, and the next start cuts them off",
                torn.file, torn.position, torn.bytes
            )?;
        }
        for damage in &self.damage {
            writeln!(f, "DAMAGE: {damage}")?;
        }
        if self.is_sound() {
            write!(
                f,
                "sound: {} records in {} segments",
                self.records(),
                self.segments.len()
            )
        } else {
            write!(
                f,
                "damaged in {} places; {} records in {} segments can be read. Restore the named files from a backup to get the others back",
                self.damage.len(),
                self.records(),
                self.segments.len()
            )
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at byte {}, {} bytes: {}",
            self.file, self.position, self.bytes, self.what
        )?;
        if self.lost.is_empty() {
            return f.write_str("; no record is known to be lost");
        }
        f.write_str("; lost are")?;
        for (at, lost) in self.lost.iter().enumerate() {
            let separator = if at == 0 { "" } else { "," };
            write!(
                f,
                "{separator} records {} to {} of partition {}",
                lost.first, lost.last, lost.partition
            )?;
        }
        Ok(())
    }
}
