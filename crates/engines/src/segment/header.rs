//! The header of a segment: whose it is and where each partition stood when it began.

use super::fields::{Fields, seal, unseal};
use super::meta::{FORMAT_VERSION, Meta};

const MAGIC: [u8; 8] = *b"IHSEGMNT";

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The sequence number of the next record.
    pub(super) next: u64,
    /// Enqueued time of the last record in microseconds; the smallest number for none.
    pub(super) last_enqueued: i64,
}

impl Mark {
    pub(super) const START: Self = Self {
        next: 0,
        last_enqueued: i64::MIN,
    };
}

/// Where all partitions stand after a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    /// The last commit.
    pub(super) commit: u64,
    /// By partition.
    pub(super) marks: Vec<Mark>,
}

impl Standing {
    pub(super) fn start(partition_count: u16) -> Self {
        Self {
            commit: 0,
            marks: vec![Mark::START; usize::from(partition_count)],
        }
    }
}

/// Length of a header in bytes.
pub(super) fn len(partition_count: u16) -> u64 {
    44 + 16 * u64::from(partition_count)
}

pub(super) fn encode(meta: &Meta, segment: u64, standing: &Standing) -> Vec<u8> {
    let mut bytes = Vec::new();
    begin(&mut bytes, MAGIC, meta, segment);
    bytes.extend_from_slice(&standing.commit.to_le_bytes());
    for mark in &standing.marks {
        bytes.extend_from_slice(&mark.next.to_le_bytes());
        bytes.extend_from_slice(&mark.last_enqueued.to_le_bytes());
    }
    seal(bytes)
}

/// `None` when it is damaged or of another log or segment.
pub(super) fn parse(bytes: &[u8], meta: &Meta, segment: u64) -> Option<Standing> {
    let mut fields = Fields(unseal(bytes)?);
    check_begin(&mut fields, MAGIC, meta, segment)?;
    let commit = fields.u64()?;
    let marks = (0..meta.partition_count)
        .map(|_| {
            Some(Mark {
                next: fields.u64()?,
                last_enqueued: fields.i64()?,
            })
        })
        .collect::<Option<_>>()?;
    fields.0.is_empty().then_some(Standing { commit, marks })
}

/// The first 32 bytes of a segment and of its sidecar: what ties a file to its log and number.
pub(super) fn begin(bytes: &mut Vec<u8>, magic: [u8; 8], meta: &Meta, segment: u64) {
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&meta.partition_count.to_le_bytes());
    bytes.extend_from_slice(&0u32.to_le_bytes());
    bytes.extend_from_slice(&meta.created.as_micros().to_le_bytes());
    bytes.extend_from_slice(&segment.to_le_bytes());
}

pub(super) fn check_begin(fields: &mut Fields<'_>, magic: [u8; 8], meta: &Meta, segment: u64) -> Option<()> {
    let holds = fields.bytes() == Some(magic)
        && fields.u16() == Some(FORMAT_VERSION)
        && fields.u16() == Some(meta.partition_count)
        && fields.u32() == Some(0)
        && fields.i64() == Some(meta.created.as_micros())
        && fields.u64() == Some(segment);
    holds.then_some(())
}

#[cfg(test)]
mod tests {
    use hub::clock::Timestamp;

    use super::*;

    #[test]
    fn reads_back_its_own_and_no_other() {
        let meta = Meta {
            partition_count: 2,
            created: Timestamp::from_secs(7),
        };
        let mut standing = Standing::start(2);
        standing.commit = 9;
        standing.marks[1] = Mark {
            next: 5,
            last_enqueued: 123,
        };
        let bytes = encode(&meta, 3, &standing);
        assert_eq!(bytes.len() as u64, len(2));
        assert_eq!(parse(&bytes, &meta, 3), Some(standing));
        assert_eq!(parse(&bytes, &meta, 4), None);
        let other = Meta {
            created: Timestamp::from_secs(8),
            ..meta
        };
        assert_eq!(parse(&bytes, &other, 3), None);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&flipped, &meta, 3), None);
        }
    }
}
