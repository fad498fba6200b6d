//! The sidecar of a segment: its index and where it stood, so that nothing has to be read twice.

use std::io;

use super::disk::{Disk, read_up_to, replace};
use super::fields::{Fields, seal, unseal};
use super::header::{Mark, Standing, begin, check_begin};
use super::index::{Entry, Index};
use super::meta::Meta;

const MAGIC: [u8; 8] = *b"IHINDEX1";
/// Largest sidecar that is read: a full gigabyte of entries has 400 KiB.
const LEN_MAX: u64 = 16 << 20;

/// What a sidecar says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sidecar {
    /// Position up to which it knows the segment; durable.
    pub(super) covers: u64,
    /// Where the partitions stood there.
    pub(super) standing: Standing,
    pub(super) index: Index,
}

/// What is found where a sidecar should be.
#[derive(Debug)]
pub(super) enum Found {
    Sound(Sidecar),
    Missing,
    Damaged,
}

pub(super) fn file_name(segment: u64) -> String {
    format!("{segment:010}.index")
}

impl Sidecar {
    pub(super) fn write(&self, disk: &dyn Disk, meta: &Meta, segment: u64) -> io::Result<()> {
        replace(disk, &file_name(segment), &self.encode(meta, segment))
    }

    pub(super) fn read(disk: &dyn Disk, meta: &Meta, segment: u64) -> io::Result<Found> {
        let file = match disk.open(&file_name(segment)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
            Err(error) => return Err(error),
        };
        let len = file.len()?;
        if len > LEN_MAX {
            return Ok(Found::Damaged);
        }
        let bytes = read_up_to(&*file, usize::try_from(len).map_err(io::Error::other)?, 0)?;
        Ok(Self::parse(&bytes, meta, segment).map_or(Found::Damaged, Found::Sound))
    }

    fn encode(&self, meta: &Meta, segment: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        begin(&mut bytes, MAGIC, meta, segment);
        let covers = u32::try_from(self.covers).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&covers.to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes());
        bytes.extend_from_slice(&self.standing.commit.to_le_bytes());
        for (partition, mark) in (0u16..).zip(&self.standing.marks) {
            let count = u32::try_from(self.index.entries(partition).len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&mark.next.to_le_bytes());
            bytes.extend_from_slice(&mark.last_enqueued.to_le_bytes());
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        for partition in 0..meta.partition_count {
            for entry in self.index.entries(partition) {
                bytes.extend_from_slice(&entry.first.to_le_bytes());
                bytes.extend_from_slice(&entry.position.to_le_bytes());
                bytes.extend_from_slice(&entry.enqueued.to_le_bytes());
            }
        }
        seal(bytes)
    }

    fn parse(bytes: &[u8], meta: &Meta, segment: u64) -> Option<Self> {
        let mut fields = Fields(unseal(bytes)?);
        check_begin(&mut fields, MAGIC, meta, segment)?;
        let covers = u64::from(fields.u32()?);
        fields.u32()?;
        let commit = fields.u64()?;
        let mut marks = Vec::new();
        let mut counts = Vec::new();
        for _ in 0..meta.partition_count {
            marks.push(Mark {
                next: fields.u64()?,
                last_enqueued: fields.i64()?,
            });
            counts.push(fields.u32()?);
        }
        let mut partitions = Vec::new();
        for count in counts {
            let mut entries = Vec::new();
            for _ in 0..count {
                entries.push(Entry {
                    first: fields.u64()?,
                    position: fields.u32()?,
                    enqueued: fields.i64()?,
                });
            }
            partitions.push(entries);
        }
        fields.0.is_empty().then(|| Self {
            covers,
            standing: Standing { commit, marks },
            index: Index::from_entries(partitions),
        })
    }
}

#[cfg(test)]
mod tests {
    use hub::clock::Timestamp;

    use super::*;

    #[test]
    fn reads_back_what_it_writes_and_finds_every_flipped_bit() {
        let meta = Meta {
            partition_count: 2,
            created: Timestamp::from_secs(7),
        };
        let entry = |first| Entry {
            first,
            enqueued: 9,
            position: 76,
        };
        let mut standing = Standing::start(2);
        standing.commit = 8;
        standing.marks[0].next = 44;
        let sidecar = Sidecar {
            covers: 100_000,
            standing,
            index: Index::from_entries(vec![vec![entry(1), entry(40)], vec![]]),
        };
        let bytes = sidecar.encode(&meta, 5);
        assert_eq!(Sidecar::parse(&bytes, &meta, 5), Some(sidecar));
        assert_eq!(Sidecar::parse(&bytes, &meta, 6), None);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Sidecar::parse(&flipped, &meta, 5), None);
        }
    }
}
