//! `log.meta`: what is fixed when a log is created.

use hub::clock::Timestamp;

use super::fields::{Fields, seal, unseal};

pub(super) const FILE_NAME: &str = "log.meta";
/// The format that this code reads and writes, of all files of a log.
pub(super) const FORMAT_VERSION: u16 = 1;
/// Most partitions of a log.
pub(super) const PARTITION_COUNT_MAX: u16 = 1_024;
pub(super) const LEN: usize = 28;

const MAGIC: [u8; 8] = *b"IHLOGMTA";

/// What every file of a log agrees on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) partition_count: u16,
    pub(super) created: Timestamp,
}

/// Why `log.meta` could not be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Invalid {
    Damaged(&'static str),
    Newer(u16),
}

impl Meta {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.partition_count.to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes());
        bytes.extend_from_slice(&self.created.as_micros().to_le_bytes());
        seal(bytes)
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Invalid> {
        let mut fields = Fields(bytes);
        if fields.bytes() != Some(MAGIC) {
            return Err(Invalid::Damaged("it does not begin as it should"));
        }
        // The version comes before the checksum: a newer format may be longer.
        match fields.u16() {
            Some(version) if version > FORMAT_VERSION => return Err(Invalid::Newer(version)),
            Some(FORMAT_VERSION) if bytes.len() == LEN => {}
            _ => return Err(Invalid::Damaged("its length or version is impossible")),
        }
        unseal(bytes).ok_or(Invalid::Damaged("its checksum does not hold"))?;
        let parsed = (|| {
            let partition_count = fields.u16()?;
            fields.u32()?;
            Some(Self {
                partition_count,
                created: Timestamp::from_micros(fields.i64()?),
            })
        })();
        parsed
            .filter(|meta| (1..=PARTITION_COUNT_MAX).contains(&meta.partition_count))
            .ok_or(Invalid::Damaged("its partition count is impossible"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: Meta = Meta {
        partition_count: 4,
        created: Timestamp::from_micros(1_700_000_000_000_001),
    };

    #[test]
    fn reads_back_what_it_writes() {
        let bytes = META.encode();
        assert_eq!(bytes.len(), LEN);
        assert_eq!(Meta::parse(&bytes), Ok(META));
    }

    #[test]
    fn finds_every_flipped_bit_and_cut() {
        let bytes = META.encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            Meta::parse(&flipped).unwrap_err();
        }
        for len in 0..bytes.len() {
            assert!(matches!(Meta::parse(&bytes[..len]), Err(Invalid::Damaged(_))));
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        let mut bytes = META.encode();
        bytes[8] = 2;
        bytes.push(0);
        assert_eq!(Meta::parse(&bytes), Err(Invalid::Newer(2)));
    }
}
