//! What stands behind the content of a published blob and of a block (docs/formats/uploads.md).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hub::clock::Timestamp;
use hub::files::{BlobError, BlobHeaders, BlobName, BlobProperties};
use serde::{Deserialize, Serialize};

use super::failed;

/// The last bytes of a blob: length of the description, its CRC-32C, and this.
const BLOB_MAGIC: [u8; 8] = *b"IHBLOB\x00\x01";

const BLOB_TAIL_BYTES: u64 = 16;

/// Longest description that is read.
const DESCRIPTION_BYTES_MAX: u64 = 256 * 1_024;

/// The last bytes of a block: length of the content, its CRC-32C, and this.
const BLOCK_MAGIC: [u8; 4] = *b"IHB1";

/// Bytes behind the content of a block.
pub(super) const BLOCK_TAIL_BYTES: u64 = 16;

/// The version that is written.
const VERSION: u8 = 1;

/// Content and its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Content {
    pub(super) bytes: u64,
    pub(super) crc: u32,
}

impl Content {
    /// With more bytes behind.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }

    /// With more content behind, without reading it.
    pub(super) fn join(&mut self, other: Self) {
        let bytes = usize::try_from(other.bytes).unwrap_or(usize::MAX);
        self.crc = crc32c::crc32c_combine(self.crc, other.crc, bytes);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// What is known of a blob, and how its content is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) properties: BlobProperties,
    pub(super) crc: u32,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    v: u8,
    /// Name.
    n: String,
    /// Bytes of the content.
    l: u64,
    /// CRC-32C of the content.
    c: u32,
    /// Last modified, microseconds since 1970.
    m: i64,
    /// Etag.
    e: u64,
    /// MD5, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    h: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ct: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ce: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cl: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cd: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cc: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    x: Vec<(String, String)>,
}

impl Description {
    /// What is written behind the content.
    pub(super) fn encode(&self, blob: &BlobName) -> Result<Vec<u8>, BlobError> {
        let BlobProperties {
            bytes,
            last_modified,
            etag,
            headers,
        } = &self.properties;
        let stored = Stored {
            v: VERSION,
            n: blob.as_str().to_owned(),
            l: *bytes,
            c: self.crc,
            m: last_modified.as_micros(),
            e: *etag,
            h: headers.content_md5.map(|md5| STANDARD.encode(md5)),
            ct: headers.content_type.clone(),
            ce: headers.content_encoding.clone(),
            cl: headers.content_language.clone(),
            cd: headers.content_disposition.clone(),
            cc: headers.cache_control.clone(),
            x: headers.metadata.clone(),
        };
        let mut out = serde_json::to_vec(&stored).map_err(|error| BlobError::Failed(error.to_string()))?;
        let length = u32::try_from(out.len())
            .ok()
            .filter(|length| u64::from(*length) <= DESCRIPTION_BYTES_MAX)
            .ok_or_else(|| BlobError::Failed("the description of a blob is too long".to_owned()))?;
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&BLOB_MAGIC);
        Ok(out)
    }

    /// Reads what stands behind the content of a published blob.
    pub(super) fn read(file: &File, blob: &BlobName) -> Result<Self, BlobError> {
        let damaged = |what: &str| BlobError::Damaged(format!("{blob}: {what}"));
        let file_bytes = file.metadata().map_err(failed)?.len();
        let mut tail = [0; 16];
        let tail_at = file_bytes
            .checked_sub(BLOB_TAIL_BYTES)
            .ok_or_else(|| damaged("the file is too short"))?;
        read_exact(file, &mut tail, tail_at)?;
        let [l0, l1, l2, l3, c0, c1, c2, c3, magic @ ..] = tail;
        if magic != BLOB_MAGIC {
            return Err(damaged("the file does not end as a blob does"));
        }
        let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
        let description_at = tail_at
            .checked_sub(length)
            .filter(|_| length <= DESCRIPTION_BYTES_MAX)
            .ok_or_else(|| damaged("the length of the description cannot be"))?;
        let mut text = vec![0; usize::try_from(length).unwrap_or_default()];
        read_exact(file, &mut text, description_at)?;
        if crc32c::crc32c(&text) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(damaged("the checksum of the description does not hold"));
        }
        let description =
            Self::parse(&text, blob).ok_or_else(|| damaged("the description is of no known form"))?;
        if description.properties.bytes != description_at {
            return Err(damaged(
                "the content has another length than the description says",
            ));
        }
        Ok(description)
    }

    fn parse(text: &[u8], blob: &BlobName) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(text).ok()?;
        if stored.v != VERSION || stored.n != blob.as_str() {
            return None;
        }
        let content_md5 = match stored.h {
            Some(text) => Some(STANDARD.decode(text).ok()?.try_into().ok()?),
            None => None,
        };
        Some(Self {
            properties: BlobProperties {
                bytes: stored.l,
                last_modified: Timestamp::from_micros(stored.m),
                etag: stored.e,
                headers: BlobHeaders {
                    content_type: stored.ct,
                    content_encoding: stored.ce,
                    content_language: stored.cl,
                    content_disposition: stored.cd,
                    cache_control: stored.cc,
                    content_md5,
                    metadata: stored.x,
                },
            },
            crc: stored.c,
        })
    }
}

/// What is written behind the content of a block.
pub(super) fn block_tail(content: Content) -> [u8; 16] {
    let mut tail = [0; 16];
    let fields = content.bytes.to_le_bytes().into_iter();
    let fields = fields.chain(content.crc.to_le_bytes()).chain(BLOCK_MAGIC);
    for (to, from) in tail.iter_mut().zip(fields) {
        *to = from;
    }
    tail
}

/// Reads what stands behind the content of a block.
pub(super) fn read_block(file: &File) -> Result<Content, BlobError> {
    let damaged = || BlobError::Damaged("a block is not as it was written".to_owned());
    let bytes = file.metadata().map_err(failed)?.len();
    let bytes = bytes.checked_sub(BLOCK_TAIL_BYTES).ok_or_else(damaged)?;
    let mut tail = [0; 16];
    read_exact(file, &mut tail, bytes)?;
    let [.., c0, c1, c2, c3, _, _, _, _] = tail;
    let content = Content {
        bytes,
        crc: u32::from_le_bytes([c0, c1, c2, c3]),
    };
    if block_tail(content) == tail {
        Ok(content)
    } else {
        Err(damaged())
    }
}

fn read_exact(file: &File, buffer: &mut [u8], position: u64) -> Result<(), BlobError> {
    file.read_exact_at(buffer, position)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BlobError::Damaged("a file is shorter than it was".to_owned()),
            _ => failed(error),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// Released format, version 1: must stay readable for ever.
    const DESCRIPTION: &str = r#"{"v":1,"n":"d/f","l":5,"c":2591144780,"m":1625690724131397,"e":7,"h":"XUFAKrxLKna5cZ2REBfFkg==","ct":"text/plain","ce":"gzip","cl":"de","cd":"inline","cc":"no-cache","x":[["k","v"]]}"#;

    fn fixture() -> Vec<u8> {
        let mut file = b"hello".to_vec();
        file.extend_from_slice(DESCRIPTION.as_bytes());
        file.extend_from_slice(b"\xb6\0\0\0");
        file.extend_from_slice(&FIXTURE_CRC);
        file.extend_from_slice(b"IHBLOB\x00\x01");
        file
    }

    const FIXTURE_CRC: [u8; 4] = [0x75, 0xa8, 0x7b, 0x75];

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn name() -> BlobName {
        BlobName::parse("d/f").unwrap()
    }

    #[test]
    fn the_released_fixture_reads_and_writes_back_byte_for_byte() {
        let description = Description::read(&file(&fixture()), &name()).unwrap();
        assert_eq!(description.crc, crc32c::crc32c(b"hello"));
        assert_eq!(
            description.properties.headers.content_type.as_deref(),
            Some("text/plain")
        );
        assert_eq!(
            [b"hello".to_vec(), description.encode(&name()).unwrap()].concat(),
            fixture()
        );
    }

    #[test]
    fn damage_is_reported_and_never_panics() {
        let sound = fixture();
        for length in 0..sound.len() {
            assert!(
                Description::read(&file(&sound[..length]), &name()).is_err(),
                "{length}"
            );
        }
        for at in 5..sound.len() {
            let mut bytes = sound.clone();
            bytes[at] ^= 0x10;
            assert!(Description::read(&file(&bytes), &name()).is_err(), "{at}");
        }
        let other = BlobName::parse("d/g").unwrap();
        assert!(Description::read(&file(&sound), &other).is_err());
    }

    #[test]
    fn blocks_and_their_sums() {
        let mut content = Content::default();
        content.append(b"hel");
        let mut rest = Content::default();
        rest.append(b"lo");
        let block = [b"lo".as_slice(), &block_tail(rest)].concat();
        assert_eq!(block, b"lo\x02\0\0\0\0\0\0\0\xf6\x5f\xb6\x9dIHB1"[..].to_vec());
        assert_eq!(read_block(&file(&block)), Ok(rest));
        content.join(rest);
        assert_eq!(content.crc, crc32c::crc32c(b"hello"));
        assert_eq!(content.bytes, 5);
        for length in 0..block.len() {
            assert!(read_block(&file(&block[..length])).is_err(), "{length}");
        }
    }
}
