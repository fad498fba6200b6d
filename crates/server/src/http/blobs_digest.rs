//! Checksums of a body, as clients send them: MD5, and the CRC-64 of Azure Storage.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use md5::{Digest as _, Md5};

use super::blobs_fault::{Fault, Problem};

/// CRC-64/NVME, reflected.
const CRC64_POLYNOMIAL: u64 = 0x9a6c_9329_ac4b_c9b5;

const CRC64_TABLE: [u64; 256] = crc64_table();

/// What a body must have, and what it has so far.
pub(super) struct Digests {
    md5: Option<Md5>,
    crc: Option<u64>,
    expected_md5: Option<[u8; 16]>,
    expected_crc: Option<[u8; 8]>,
}

impl Digests {
    /// What the headers of a request promise of its body. The MD5 is computed in any case if it is `kept`.
    pub(super) fn of(headers: &HeaderMap, kept: bool) -> Result<Self, Fault> {
        let expected_md5 = md5_of(headers, "content-md5")?;
        let expected_crc = match headers.get("x-ms-content-crc64") {
            Some(value) => Some(
                STANDARD
                    .decode(value)
                    .ok()
                    .and_then(|bytes| bytes.try_into().ok())
                    .ok_or(Problem::InvalidHeaderValue)?,
            ),
            None => None,
        };
        Ok(Self {
            md5: (kept || expected_md5.is_some()).then(Md5::new),
            crc: expected_crc.map(|_| !0),
            expected_md5,
            expected_crc,
        })
    }

    /// More of the body.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(crc) = &mut self.crc {
            *crc = bytes.iter().fold(*crc, |crc, byte| {
                let index = usize::try_from((crc ^ u64::from(*byte)) & 0xff).unwrap_or_default();
                CRC64_TABLE.get(index).copied().unwrap_or_default() ^ (crc >> 8)
            });
        }
    }

    /// The body is over; gives its MD5 if that was computed.
    pub(super) fn finish(self) -> Result<Option<[u8; 16]>, Fault> {
        let md5: Option<[u8; 16]> = self.md5.map(|md5| md5.finalize().into());
        if self.expected_md5.is_some() && self.expected_md5 != md5 {
            return Err(Problem::Md5Mismatch.into());
        }
        let crc = self.crc.map(|crc| (!crc).to_le_bytes());
        if self.expected_crc != crc {
            return Err(Problem::Crc64Mismatch.into());
        }
        Ok(md5)
    }
}

/// An MD5 in a header.
pub(super) fn md5_of(headers: &HeaderMap, name: &str) -> Result<Option<[u8; 16]>, Fault> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let bytes = STANDARD.decode(value).ok();
    let md5 = bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(Problem::InvalidMd5)?;
    Ok(Some(md5))
}

/// An MD5 as a header carries it.
pub(super) fn md5_text(md5: [u8; 16]) -> String {
    STANDARD.encode(md5)
}

#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler, which would refuse what is out of bounds"
)]
const fn crc64_table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ CRC64_POLYNOMIAL
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    hyper::header::HeaderName::from_static(name),
                    value.parse().unwrap(),
                )
            })
            .collect()
    }

    fn check(pairs: &[(&'static str, &str)], body: &[u8]) -> Result<Option<[u8; 16]>, Fault> {
        let mut digests = Digests::of(&headers(pairs), false)?;
        for piece in body.chunks(4) {
            digests.update(piece);
        }
        digests.finish()
    }

    #[test]
    fn published_check_values() {
        let md5 = STANDARD.encode([
            0x25, 0xf9, 0xe7, 0x94, 0x32, 0x3b, 0x45, 0x38, 0x85, 0xf5, 0x18, 0x1f, 0x1b, 0x62, 0x4d, 0x0b,
        ]);
        assert!(check(&[("content-md5", &md5)], b"123456789").unwrap().is_some());
        assert!(check(&[("content-md5", &md5)], b"12345678").is_err());
        // The check value of CRC-64/NVME.
        let crc = STANDARD.encode(0xae8b_1486_0a79_9888_u64.to_le_bytes());
        assert_eq!(
            check(&[("x-ms-content-crc64", &crc)], b"123456789").unwrap(),
            None
        );
        assert!(check(&[("x-ms-content-crc64", &crc)], b"").is_err());
        assert_eq!(check(&[], b"anything").unwrap(), None);
    }

    #[test]
    fn headers_that_are_no_checksums() {
        assert!(check(&[("content-md5", "AAAA")], b"").is_err());
        assert!(check(&[("content-md5", "*")], b"").is_err());
        assert!(check(&[("x-ms-content-crc64", "AAAA")], b"").is_err());
    }
}
