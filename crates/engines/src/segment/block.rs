//! The block: a header of 64 bytes and the records of one partition in one commit.

use std::fmt;

use bytes::Bytes;

use super::fields::Fields;
use super::meta::FORMAT_VERSION;

pub(super) const HEADER_LEN: usize = 64;
pub(super) const MAGIC: [u8; 4] = *b"IHBK";
/// Longest body, in bytes: more than the largest batch, so a larger number is damage and not a reason to allocate.
pub(super) const BODY_BYTES_MAX: u32 = 32 << 20;
/// A block that reached this is closed, so that reading a record never costs much more than it.
pub(super) const BODY_BYTES_TARGET: usize = 256 << 10;
/// The length before each record.
pub(super) const RECORD_OVERHEAD_BYTES: usize = 4;

/// Where a block lies and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) partition: u16,
    pub(super) segment: u64,
    pub(super) position: u32,
    /// Bytes from the start of this block to the end of its commit.
    pub(super) commit_left: u32,
    pub(super) commit: u64,
    pub(super) first: u64,
    pub(super) enqueued: i64,
    pub(super) count: u32,
    pub(super) body_len: u32,
    pub(super) body_sum: u32,
}

/// What does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    NotABlock,
    HeaderSum,
    Version(u16),
    Misplaced,
    Impossible,
    CutOff,
    BodySum,
    Records,
    Missing,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotABlock => f.write_str("no block begins where one should"),
            Self::HeaderSum => f.write_str("the checksum of a block's header does not hold"),
            Self::Version(version) => write!(
                f,
                "a block has format {version}, which this release does not know"
            ),
            Self::Misplaced => f.write_str("a block belongs to another place or file"),
            Self::Impossible => f.write_str("a block's header contradicts itself or the blocks before it"),
            Self::CutOff => f.write_str("the file ends inside a block"),
            Self::BodySum => f.write_str("the checksum of a block's records does not hold"),
            Self::Records => f.write_str("the lengths of a block's records contradict its header"),
            Self::Missing => f.write_str("records that were written are not in the file"),
        }
    }
}

impl Header {
    /// Length of the block with its header.
    pub(super) fn block_len(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.body_len)
    }

    /// Position behind the block.
    pub(super) fn end(&self) -> u64 {
        u64::from(self.position) + self.block_len()
    }

    /// Sequence number behind the last record.
    pub(super) fn next(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }

    /// Position behind the commit.
    pub(super) fn commit_end(&self) -> u64 {
        u64::from(self.position) + u64::from(self.commit_left)
    }

    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.partition.to_le_bytes());
        bytes.extend_from_slice(&self.segment.to_le_bytes());
        bytes.extend_from_slice(&self.position.to_le_bytes());
        bytes.extend_from_slice(&self.commit_left.to_le_bytes());
        bytes.extend_from_slice(&self.commit.to_le_bytes());
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&self.enqueued.to_le_bytes());
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.extend_from_slice(&self.body_len.to_le_bytes());
        bytes.extend_from_slice(&self.body_sum.to_le_bytes());
        let sum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        let mut header = [0; HEADER_LEN];
        header.copy_from_slice(&bytes);
        header
    }

    /// Reads the header that lies at `position` of `segment`.
    pub(super) fn parse(
        bytes: &[u8],
        segment: u64,
        position: u64,
        partition_count: u16,
    ) -> Result<Self, Flaw> {
        let mut fields = Fields(bytes);
        if fields.bytes() != Some(MAGIC) {
            return Err(Flaw::NotABlock);
        }
        let version = fields.u16().ok_or(Flaw::CutOff)?;
        let summed = bytes.get(..HEADER_LEN - 4).ok_or(Flaw::CutOff)?;
        let header = Self::fields(&mut fields).ok_or(Flaw::CutOff)?;
        if fields.u32() != Some(crc32c::crc32c(summed)) {
            return Err(Flaw::HeaderSum);
        }
        if version != FORMAT_VERSION {
            return Err(Flaw::Version(version));
        }
        if header.segment != segment || u64::from(header.position) != position {
            return Err(Flaw::Misplaced);
        }
        let possible = header.partition < partition_count
            && header.count > 0
            && header.body_len <= BODY_BYTES_MAX
            && u64::from(header.body_len) >= u64::from(header.count) * RECORD_OVERHEAD_BYTES as u64
            && u64::from(header.commit_left) >= header.block_len()
            && header.first.checked_add(u64::from(header.count)).is_some();
        possible.then_some(header).ok_or(Flaw::Impossible)
    }

    fn fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            partition: fields.u16()?,
            segment: fields.u64()?,
            position: fields.u32()?,
            commit_left: fields.u32()?,
            commit: fields.u64()?,
            first: fields.u64()?,
            enqueued: fields.i64()?,
            count: fields.u32()?,
            body_len: fields.u32()?,
            body_sum: fields.u32()?,
        })
    }

    /// Whether the body is the one that was written.
    pub(super) fn check_body(&self, body: &[u8]) -> Result<(), Flaw> {
        if crc32c::crc32c(body) == self.body_sum {
            Ok(())
        } else {
            Err(Flaw::BodySum)
        }
    }
}

/// The records of a body as slices of it. Stops early when a length does not fit, which a checked body never shows.
pub(super) fn records(body: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let len = body.get(at..)?.first_chunk::<RECORD_OVERHEAD_BYTES>()?;
        let start = at + RECORD_OVERHEAD_BYTES;
        let end = start.checked_add(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
        if end > body.len() {
            return None;
        }
        at = end;
        Some(body.slice(start..end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        partition: 3,
        segment: 7,
        position: 108,
        commit_left: 64 + 9,
        commit: 41,
        first: 1_000,
        enqueued: 1_700_000_000_000_000,
        count: 2,
        body_len: 9,
        body_sum: 0,
    };

    #[test]
    fn reads_back_what_it_writes() {
        assert_eq!(Header::parse(&HEADER.encode(), 7, 108, 4), Ok(HEADER));
    }

    #[test]
    fn finds_every_flipped_bit_and_cut() {
        let bytes = HEADER.encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            Header::parse(&flipped, 7, 108, 4).unwrap_err();
        }
        for len in 0..bytes.len() {
            Header::parse(&bytes[..len], 7, 108, 4).unwrap_err();
        }
    }

    #[test]
    fn holds_in_its_own_place_only() {
        let bytes = HEADER.encode();
        assert_eq!(Header::parse(&bytes, 8, 108, 4), Err(Flaw::Misplaced));
        assert_eq!(Header::parse(&bytes, 7, 109, 4), Err(Flaw::Misplaced));
        assert_eq!(Header::parse(&bytes, 7, 108, 3), Err(Flaw::Impossible));
    }

    #[test]
    fn records_are_slices_of_the_body() {
        let body = Bytes::from_static(b"\x02\0\0\0ab\0\0\0\0\x01\0\0\0c");
        assert_eq!(records(&body).collect::<Vec<_>>(), [&b"ab"[..], b"", b"c"]);
        let cut = body.slice(..body.len() - 1);
        assert_eq!(records(&cut).count(), 2);
        assert_eq!(records(&Bytes::from_static(b"\xff\xff\xff\xff")).count(), 0);
    }
}
