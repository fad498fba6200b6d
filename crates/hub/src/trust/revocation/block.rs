//! Entries of the block list: a certificate by its thumbprint or by issuer and serial, a CA by its key, with everything under it.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::Error;

use super::certificate::Certificate;
use super::name::{from_hex, hex, shown};
use super::reason::Reason;
use super::revoked::{Cause, Since};
use super::serials::SERIAL_BYTES_MAX;

/// Longest note, in characters.
pub(super) const NOTE_CHARS_MAX: usize = 256;

/// A SHA-256 digest.
pub(super) type Digest = [u8; 32];

/// What is blocked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// One certificate, by the SHA-256 digest of its DER.
    Certificate(Digest),
    /// One certificate, by the digest of its issuer's name and its serial number.
    Serial {
        /// SHA-256 of the name, DER.
        issuer: Digest,
        /// Without leading zeros.
        serial: Vec<u8>,
    },
    /// A CA with everything under it, by the SHA-256 digest of its key (`SubjectPublicKeyInfo`): also under another certificate of
    /// the same key, and its own one. An anchor of the hub, whose path ends below its issuer, is blocked by the name of its issuer.
    Authority(Digest),
}

/// Who is blocked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// For people. May be empty.
    pub shown: String,
    /// SHA-256 of the name of a CA, DER.
    pub(super) subject: Option<Digest>,
}

impl Named {
    fn new(name: &[u8]) -> Self {
        Self {
            shown: shown(name),
            subject: None,
        }
    }
}

/// The caller named nothing that can be blocked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// The digits are none.
    #[error("a thumbprint is the SHA-256 digest of the certificate, 64 hexadecimal digits")]
    Thumbprint,
    /// The digits are none.
    #[error("a serial number is 1 to {} hexadecimal digits", SERIAL_BYTES_MAX * 2)]
    Serial,
    /// The certificate is none.
    #[error("the certificate cannot be read; give one certificate as PEM or as DER in base64")]
    Certificate,
    /// It is no CA's.
    #[error("the certificate of {0} is none of a CA")]
    NoAuthority(String),
}

impl Target {
    /// The certificate itself, DER; and who it is.
    pub fn certificate(der: &[u8]) -> Result<(Self, Named), InvalidTarget> {
        let certificate = Certificate::parse(der).map_err(|_| InvalidTarget::Certificate)?;
        Ok((Self::Certificate(sha256(der)), Named::new(certificate.subject)))
    }

    /// A certificate by its thumbprint.
    pub fn thumbprint(digits: &str) -> Result<Self, InvalidTarget> {
        let digest = from_hex(digits).and_then(|bytes| bytes.try_into().ok());
        digest.map(Self::Certificate).ok_or(InvalidTarget::Thumbprint)
    }

    /// A certificate by that of its issuer and its serial number; and who the issuer is.
    pub fn serial(issuer: &[u8], digits: &str) -> Result<(Self, Named), InvalidTarget> {
        let issuer = Certificate::parse(issuer).map_err(|_| InvalidTarget::Certificate)?;
        let serial = from_hex(digits)
            .map(|bytes| crate::trust::der::without_zeros(&bytes).to_vec())
            .filter(|serial| (1..=SERIAL_BYTES_MAX).contains(&serial.len()))
            .ok_or(InvalidTarget::Serial)?;
        let target = Self::Serial {
            issuer: sha256(issuer.subject),
            serial,
        };
        Ok((target, Named::new(issuer.subject)))
    }

    /// A CA by a certificate of it; and who it is.
    pub fn authority(der: &[u8]) -> Result<(Self, Named), InvalidTarget> {
        let certificate = Certificate::parse(der).map_err(|_| InvalidTarget::Certificate)?;
        if !certificate.is_ca().unwrap_or(false) {
            return Err(InvalidTarget::NoAuthority(shown(certificate.subject)));
        }
        let name = Named {
            subject: Some(sha256(certificate.subject)),
            ..Named::new(certificate.subject)
        };
        Ok((Self::Authority(sha256(certificate.key)), name))
    }

    /// The name of the entry: `c-..`, `s-..` or `a-..`.
    pub fn id(&self) -> String {
        match self {
            Self::Certificate(digest) => format!("c-{}", hex(digest)),
            Self::Serial { issuer, serial } => format!("s-{}-{}", hex(issuer), hex(serial)),
            Self::Authority(digest) => format!("a-{}", hex(digest)),
        }
    }

    /// The target of an entry's name.
    pub fn from_id(id: &str) -> Option<Self> {
        let digest = |digits: &str| from_hex(digits)?.try_into().ok();
        let target = match id.split_once('-')? {
            ("c", digits) => Self::Certificate(digest(digits)?),
            ("a", digits) => Self::Authority(digest(digits)?),
            ("s", rest) => {
                let (issuer, serial) = rest.split_once('-')?;
                Self::Serial {
                    issuer: digest(issuer)?,
                    serial: from_hex(serial)?,
                }
            }
            _ => return None,
        };
        // There is one spelling of each name.
        (target.id() == id).then_some(target)
    }
}

/// An entry of the block list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What is blocked.
    pub target: Target,
    /// Who that is, for people; the subject of a certificate, the issuer of a serial. May be empty.
    pub name: Arc<str>,
    /// SHA-256 of the name of a CA, DER, by which anchors that it issued are known.
    pub(super) subject: Option<Digest>,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub reason: Reason,
    /// What the operator remarked.
    pub note: String,
    /// Who blocked it.
    pub by: String,
}

/// As stored; docs/formats/revocation.md.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "v")]
    format: u8,
    #[serde(rename = "n")]
    name: String,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(rename = "t")]
    since_micros: i64,
    #[serde(rename = "r")]
    reason: u8,
    #[serde(rename = "c", default, skip_serializing_if = "String::is_empty")]
    note: String,
    #[serde(rename = "b")]
    by: String,
}

const FORMAT: u8 = 1;

impl Block {
    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        let stored = Stored {
            format: FORMAT,
            name: self.name.to_string(),
            subject: self.subject.map(|digest| hex(&digest)),
            since_micros: self.since.as_micros(),
            reason: self.reason.number(),
            note: self.note.clone(),
            by: self.by.clone(),
        };
        serde_json::to_vec(&stored)
            .map_err(|error| Error::bug(format!("an entry of the block list cannot be written: {error}")))
    }

    pub(super) fn decode(id: &str, body: &[u8]) -> Result<Self, Error> {
        let damaged = |what: &str| Error::bug(format!("the entry {id} of the block list is damaged: {what}"));
        let target = Target::from_id(id).ok_or_else(|| damaged("its name"))?;
        let stored: Stored = serde_json::from_slice(body).map_err(|error| damaged(&error.to_string()))?;
        if stored.format != FORMAT {
            return Err(damaged("its format is of another version"));
        }
        let subject = match &stored.subject {
            Some(digits) => {
                let digest = from_hex(digits).and_then(|bytes| bytes.try_into().ok());
                Some(digest.ok_or_else(|| damaged("the digest of its name"))?)
            }
            None => None,
        };
        Ok(Self {
            target,
            name: stored.name.into(),
            subject,
            since: Timestamp::from_micros(stored.since_micros),
            reason: Reason::from_number(stored.reason).ok_or_else(|| damaged("its reason"))?,
            note: stored.note,
            by: stored.by,
        })
    }

    fn since(&self) -> Since {
        Since {
            since: self.since,
            reason: self.reason,
        }
    }
}

/// The block list in memory.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    pub(super) by_target: HashMap<Target, Arc<Block>>,
    /// CAs by the digest of their name.
    by_subject: HashMap<Digest, Vec<Arc<Block>>>,
    /// How many there are of each kind: nothing is hashed for a kind of which there are none.
    certificates: usize,
    serials: usize,
    authorities: usize,
}

impl Blocks {
    pub(super) fn insert(&mut self, block: Block) -> Arc<Block> {
        self.remove(&block.target);
        *self.count(&block.target) += 1;
        let block = Arc::new(block);
        if let Some(subject) = block.subject {
            self.by_subject
                .entry(subject)
                .or_default()
                .push(Arc::clone(&block));
        }
        self.by_target.insert(block.target.clone(), Arc::clone(&block));
        block
    }

    pub(super) fn remove(&mut self, target: &Target) -> bool {
        let Some(block) = self.by_target.remove(target) else {
            return false;
        };
        let count = self.count(target);
        *count = count.saturating_sub(1);
        if let Some(subject) = block.subject
            && let Some(namesakes) = self.by_subject.get_mut(&subject)
        {
            namesakes.retain(|other| other.target != *target);
            if namesakes.is_empty() {
                self.by_subject.remove(&subject);
            }
        }
        true
    }

    pub(super) fn len(&self) -> usize {
        self.by_target.len()
    }

    /// How many there are once this one is blocked, too.
    pub(super) fn count_with(&self, target: &Target) -> usize {
        self.len() + usize::from(!self.by_target.contains_key(target))
    }

    /// Whether a certificate of a path is blocked. `is_last` says that the path ends with it, so that only its issuer's name is known.
    pub(super) fn find(&self, certificate: &Certificate<'_>, is_last: bool) -> Option<Cause> {
        if self.certificates > 0
            && let Some(block) = self.by_target.get(&Target::Certificate(sha256(certificate.der)))
        {
            return Some(Cause::Blocked(block.target.id().into(), block.since()));
        }
        if self.serials > 0 {
            let target = Target::Serial {
                issuer: sha256(certificate.issuer),
                serial: certificate.serial.to_vec(),
            };
            if let Some(block) = self.by_target.get(&target) {
                return Some(Cause::Blocked(target.id().into(), block.since()));
            }
        }
        if self.authorities > 0
            && let Some(block) = self.by_target.get(&Target::Authority(sha256(certificate.key)))
        {
            return Some(Cause::AuthorityBlocked(Arc::clone(&block.name), block.since()));
        }
        // As with lists: rather one CA of the same name too many than a blocked one let in (docs/decisions/0011).
        if is_last && !self.by_subject.is_empty() && !certificate.is_self_issued() {
            let namesakes = self.by_subject.get(&sha256(certificate.issuer));
            let block = namesakes.and_then(|namesakes| namesakes.first())?;
            return Some(Cause::AuthorityBlocked(Arc::clone(&block.name), block.since()));
        }
        None
    }

    fn count(&mut self, target: &Target) -> &mut usize {
        match target {
            Target::Certificate(_) => &mut self.certificates,
            Target::Serial { .. } => &mut self.serials,
            Target::Authority(_) => &mut self.authorities,
        }
    }
}

pub(super) fn sha256(bytes: &[u8]) -> Digest {
    let mut value = [0; 32];
    let digest = digest(&SHA256, bytes);
    for (to, from) in value.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_entries_read_back() {
        let serial = Target::Serial {
            issuer: [7; 32],
            serial: vec![1, 0xab],
        };
        for target in [Target::Certificate([1; 32]), Target::Authority([2; 32]), serial] {
            assert_eq!(Target::from_id(&target.id()), Some(target));
        }
        for id in ["", "c-", "c-00", "x-00", &format!("c-{}", "AB".repeat(32))] {
            assert_eq!(Target::from_id(id), None, "{id}");
        }
    }

    /// The fixture of docs/formats/revocation.md.
    #[test]
    fn entries_are_stored_as_written_down() {
        let block = Block {
            target: Target::Authority([0x0a; 32]),
            name: "CN=Root".into(),
            subject: None,
            since: Timestamp::from_secs(1_764_200_000),
            reason: Reason::KeyCompromise,
            note: "stolen".to_owned(),
            by: "policy 'iothubowner'".to_owned(),
        };
        let body =
            br#"{"v":1,"n":"CN=Root","t":1764200000000000,"r":1,"c":"stolen","b":"policy 'iothubowner'"}"#;
        assert_eq!(block.encode().unwrap(), body);
        assert_eq!(Block::decode(&block.target.id(), body).unwrap(), block);
        let named = Block {
            subject: Some([0x0b; 32]),
            ..block.clone()
        };
        let with_name =
            String::from_utf8_lossy(body).replace(r#","t""#, &format!(r#","s":"{}","t""#, "0b".repeat(32)));
        assert_eq!(named.encode().unwrap(), with_name.as_bytes());
        assert_eq!(
            Block::decode(&block.target.id(), with_name.as_bytes()).unwrap(),
            named
        );
        for damaged in [
            &b"{}"[..],
            b"",
            br#"{"v":1,"n":"","s":"0b","t":0,"r":1,"b":""}"#,
            &body[1..],
            br#"{"v":2,"n":"","t":0,"r":1,"b":""}"#,
            br#"{"v":1,"n":"","t":0,"r":7,"b":""}"#,
        ] {
            assert!(Block::decode(&block.target.id(), damaged).is_err());
        }
        assert!(Block::decode("c-1", body).is_err());
    }
}
