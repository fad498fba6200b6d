//! Opening a log: creating it, or recovering what a crash left (docs/formats/segment-log.md, "Opening").

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};

use hub::clock::Timestamp;

use super::block;
use super::catalog::{Catalog, Loaded, Segment, file_name};
use super::disk::{self, Disk, DiskFile, NEW_SUFFIX, read_up_to, write_all_at};
use super::header::{self, Standing};
use super::index::Index;
use super::meta::{self, Invalid, Meta};
use super::room::is_room;
use super::scan::{Damaged, Extent, Scan, scan};
use super::sidecar::{Found, Sidecar};

/// What is copied at a time when the end of a log is made durable.
const COPY_BYTES: usize = 1 << 20;

/// Why a log could not be opened. Operator or environment.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting is impossible.
    #[error("the event log's settings are impossible: {0}")]
    Settings(&'static str),
    /// The log was written by a newer release.
    #[error("{file} has format {found}; start the newer release that wrote it")]
    Newer {
        /// The file.
        file: String,
        /// Its format version.
        found: u16,
    },
    /// The log cannot be opened without losing what it promised.
    #[error(
        "{file} is damaged: {what}. Nothing was changed. Run 'ironhub log check' on the folder, and restore the file from a backup"
    )]
    Damaged {
        /// The file.
        file: String,
        /// What does not hold.
        what: String,
    },
    /// A file could not be read or written.
    #[error("the event log in {} could not be opened: {source}", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A log that is ready to be read and appended to.
pub(super) struct Opened {
    pub(super) meta: Meta,
    pub(super) catalog: Catalog,
    pub(super) standing: Standing,
    /// Where the next commit goes in the active segment.
    pub(super) end: u64,
    /// Damage that was found on the way.
    pub(super) damage_count: u64,
}

/// Failures inside, before the folder's name is added.
pub(super) enum Failure {
    Io(io::Error),
    Open(OpenError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What lies in a folder.
pub(super) struct Listing {
    /// Numbers of the segments, ascending.
    pub(super) segments: Vec<u64>,
    pub(super) has_meta: bool,
    pub(super) unfinished: Vec<String>,
}

impl Listing {
    pub(super) fn read(disk: &dyn Disk) -> io::Result<Self> {
        let mut listing = Self {
            segments: Vec::new(),
            has_meta: false,
            unfinished: Vec::new(),
        };
        for name in disk.list()? {
            if name == meta::FILE_NAME {
                listing.has_meta = true;
            } else if name.ends_with(NEW_SUFFIX) {
                listing.unfinished.push(name);
            } else if let Some(number) = name.strip_suffix(".segment").and_then(|n| n.parse().ok())
                && file_name(number) == name
            {
                listing.segments.push(number);
            }
        }
        listing.segments.sort_unstable();
        Ok(listing)
    }
}

/// Opens the log of a folder that exists; creates it when there is none.
pub(super) fn open(disk: &dyn Disk, partition_count: u16, now: Timestamp) -> Result<Opened, Failure> {
    let listing = Listing::read(disk)?;
    for name in &listing.unfinished {
        disk.remove(name)?;
    }
    if !listing.has_meta {
        return create(disk, &listing, partition_count, now);
    }
    let meta = read_meta(disk)?;
    let mut numbers = listing.segments;
    remove_cut_off_segment(disk, &meta, &mut numbers)?;
    let mut segments = VecDeque::new();
    for number in numbers {
        let segment = read_segment(disk, &meta, number, segments.back())?;
        segments.push_back(segment);
    }
    let Some(last) = segments.back() else {
        return Err(damaged(
            disk,
            meta::FILE_NAME,
            "all segment files of the log are missing",
        ));
    };
    let (active, scan) = recover(disk, &meta, last)?;
    Ok(Opened {
        meta,
        standing: scan.standing.clone(),
        end: scan.end,
        damage_count: scan.damages.len() as u64,
        catalog: Catalog {
            segments,
            active: Arc::new(active),
            marks: scan.standing.marks,
        },
    })
}

pub(super) fn read_meta(disk: &dyn Disk) -> Result<Meta, Failure> {
    let bytes = read_up_to(&*disk.open(meta::FILE_NAME)?, meta::LEN + 1, 0)?;
    Meta::parse(&bytes).map_err(|invalid| match invalid {
        Invalid::Damaged(what) => damaged(disk, meta::FILE_NAME, what),
        Invalid::Newer(found) => Failure::Open(OpenError::Newer {
            file: disk.describe(meta::FILE_NAME),
            found,
        }),
    })
}

/// Makes a log. The meta file comes last: without it, what is there is an attempt that was cut off, or damage.
fn create(
    disk: &dyn Disk,
    listing: &Listing,
    partition_count: u16,
    now: Timestamp,
) -> Result<Opened, Failure> {
    let cut_off = match *listing.segments {
        [] => true,
        [0] => holds_no_block(&*disk.open(&file_name(0))?)?,
        _ => false,
    };
    if !cut_off {
        return Err(damaged(
            disk,
            meta::FILE_NAME,
            "it is missing, and there are segments",
        ));
    }
    let meta = Meta {
        partition_count,
        created: now,
    };
    let standing = Standing::start(partition_count);
    let file = create_segment(disk, &meta, 0, &standing)?;
    disk::replace(disk, meta::FILE_NAME, &meta.encode())?;
    disk.sync_folder()?;
    let end = header::len(partition_count);
    let segment = Segment {
        number: 0,
        start: Arc::new(standing.clone()),
        len: end,
    };
    Ok(Opened {
        meta,
        end,
        damage_count: 0,
        catalog: Catalog {
            segments: VecDeque::from([segment]),
            active: Arc::new(Loaded {
                number: 0,
                file,
                index: RwLock::new(Index::new(partition_count)),
                len: AtomicU64::new(end),
            }),
            marks: standing.marks.clone(),
        },
        standing,
    })
}

/// Whether a file is at most a header, of whatever partition count.
fn holds_no_block(file: &dyn DiskFile) -> io::Result<bool> {
    let len_max = usize::try_from(header::len(meta::PARTITION_COUNT_MAX)).map_err(io::Error::other)?;
    let bytes = read_up_to(file, len_max + 1, 0)?;
    let has_block = bytes.windows(block::MAGIC.len()).any(|part| part == block::MAGIC);
    Ok(bytes.len() <= len_max && !has_block)
}

/// Makes a segment whose name and header are durable. Leaves nothing behind when that fails.
pub(super) fn create_segment(
    disk: &dyn Disk,
    meta: &Meta,
    number: u64,
    standing: &Standing,
) -> io::Result<Arc<dyn DiskFile>> {
    let name = file_name(number);
    let make = || {
        let file = disk.create(&name)?;
        write_all_at(&*file, &header::encode(meta, number, standing), 0)?;
        file.sync()?;
        disk.sync_folder()?;
        Ok(file)
    };
    make().inspect_err(|_| {
        // If it cannot be removed either, the next open sees that it was cut off.
        let _ = disk.remove(&name);
    })
}

/// A last segment whose creation did not get as far as its header never held a record.
fn remove_cut_off_segment(disk: &dyn Disk, meta: &Meta, numbers: &mut Vec<u64>) -> Result<(), Failure> {
    let [.., _, last] = **numbers else {
        return Ok(());
    };
    let header_len = header::len(meta.partition_count);
    let file = disk.open(&file_name(last))?;
    if file.len()? <= header_len && read_header(&*file, meta, last)?.is_none() {
        tracing::info!(
            file = disk.describe(&file_name(last)),
            "removed a segment whose creation was cut off; it held no record"
        );
        disk.remove(&file_name(last))?;
        disk.sync_folder()?;
        numbers.pop();
    }
    Ok(())
}

pub(super) fn read_header(file: &dyn DiskFile, meta: &Meta, number: u64) -> io::Result<Option<Standing>> {
    let len = usize::try_from(header::len(meta.partition_count)).map_err(io::Error::other)?;
    let bytes = read_up_to(file, len, 0)?;
    Ok(header::parse(&bytes, meta, number))
}

/// What a segment's header says; when it does not hold, what the segment before says of its end.
pub(super) fn read_segment(
    disk: &dyn Disk,
    meta: &Meta,
    number: u64,
    before: Option<&Segment>,
) -> Result<Segment, Failure> {
    let file = disk.open(&file_name(number))?;
    let len = file.len()?;
    let start = match (read_header(&*file, meta, number)?, before) {
        (Some(standing), _) => standing,
        (None, Some(before)) => {
            tracing::error!(
                file = disk.describe(&file_name(number)),
                "the header of a segment is damaged; what it said is taken from the segment before"
            );
            read_to_end(disk, meta, before)?.standing
        }
        (None, None) => {
            return Err(damaged(
                disk,
                &file_name(number),
                "its header does not hold, and there is no segment before it to take its place",
            ));
        }
    };
    Ok(Segment {
        number,
        start: Arc::new(start),
        len,
    })
}

/// Reads a segment that is known to be durable, from where its sidecar ends.
fn read_to_end(disk: &dyn Disk, meta: &Meta, segment: &Segment) -> io::Result<Scan> {
    let file = disk.open(&file_name(segment.number))?;
    let (extent, standing, index) = extent(disk, meta, segment, file)?;
    let durable_to = extent.len;
    scan(Extent { durable_to, ..extent }, standing, index)
}

fn extent(
    disk: &dyn Disk,
    meta: &Meta,
    segment: &Segment,
    file: Arc<dyn DiskFile>,
) -> io::Result<(Extent, Standing, Index)> {
    let len = file.len()?;
    let (from, standing, index) = match Sidecar::read(disk, meta, segment.number)? {
        Found::Sound(sidecar) => (sidecar.covers, sidecar.standing, sidecar.index),
        Found::Missing | Found::Damaged => (
            header::len(meta.partition_count),
            Standing::clone(&segment.start),
            Index::new(meta.partition_count),
        ),
    };
    let extent = Extent {
        file,
        segment: segment.number,
        from,
        len,
        durable_to: from.min(len),
    };
    Ok((extent, standing, index))
}

/// Cuts a torn tail off the last segment, reports damage, and makes durable what is left.
fn recover(disk: &dyn Disk, meta: &Meta, last: &Segment) -> Result<(Loaded, Scan), Failure> {
    let name = file_name(last.number);
    let file = disk.open_to_write(&name)?;
    let (extent, standing, index) = extent(disk, meta, last, Arc::clone(&file))?;
    let (from, len) = (extent.from, extent.len);
    let mut scan = scan(extent, standing, index)?;
    if from > len {
        report_shortened(disk, &name, from, len);
        scan.damages.push(Damaged {
            position: len,
            len: from - len,
            flaw: block::Flaw::Missing,
            lost: Vec::new(),
        });
        // What is appended must not take the place of what was lost, so it goes behind the end that is there.
        scan.end = len.max(header::len(meta.partition_count));
    } else if scan.end < len {
        if !is_room(&*file, scan.end, len)? {
            tracing::info!(
                file = disk.describe(&name),
                position = scan.end,
                bytes = len - scan.end,
                "cut off the last commit of the event log: it was not complete, and nobody was told that it was"
            );
        }
        file.set_len(scan.end)?;
    }
    for damage in &scan.damages {
        report(disk, &name, damage);
    }
    match write_again(&*file, from, scan.end) {
        // A file system that never writes in place may have no room for it; the log must open on a full disk as well.
        Err(error) if disk::is_full(&error) => {}
        outcome => outcome?,
    }
    file.sync()?;
    let loaded = Loaded {
        number: last.number,
        file,
        index: RwLock::new(scan.index.clone()),
        len: AtomicU64::new(scan.end),
    };
    Ok((loaded, scan))
}

/// Writes what is there once more, so that the sync after it means something: after a sync that failed the kernel may hold
/// pages that it takes for clean and that never reached the disk.
fn write_again(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let mut position = from;
    while position < to {
        let len = usize::try_from(to - position)
            .unwrap_or(usize::MAX)
            .min(COPY_BYTES);
        let bytes = read_up_to(file, len, position)?;
        if bytes.is_empty() {
            break;
        }
        write_all_at(file, &bytes, position)?;
        position += bytes.len() as u64;
    }
    Ok(())
}

fn report(disk: &dyn Disk, name: &str, damage: &Damaged) {
    tracing::error!(
        file = disk.describe(name),
        position = damage.position,
        bytes = damage.len,
        what = %damage.flaw,
        lost = ?damage.lost,
        "the event log is damaged; the damaged records are not served, all others are. Run 'ironhub log check'"
    );
}

fn report_shortened(disk: &dyn Disk, name: &str, was: u64, is: u64) {
    tracing::error!(
        file = disk.describe(name),
        was,
        is,
        "a segment of the event log is shorter than it was; records that were acknowledged are lost"
    );
}

fn damaged(disk: &dyn Disk, name: &str, what: &str) -> Failure {
    Failure::Open(OpenError::Damaged {
        file: disk.describe(name),
        what: what.to_owned(),
    })
}
