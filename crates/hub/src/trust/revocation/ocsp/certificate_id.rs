//! How questions and answers name a certificate (RFC 6960 4.1.1): its issuer by two digests, and its serial number.

use aws_lc_rs::digest::{self, Algorithm, digest};

use crate::trust::der::{Malformed, Reader, element, tag};

use super::super::certificate::Certificate;
use super::super::serials::SERIAL_BYTES_MAX;

const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];

/// The digest by which a question names the issuer. Nothing rests on its strength: the answer is signed, and the digests are compared
/// with those of a certificate that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// What every responder understands (RFC 5019 2.1.1).
    Sha1,
    /// What some responders demand.
    Sha256,
}

impl Digest {
    const ALL: [Self; 2] = [Self::Sha1, Self::Sha256];

    const fn id(self) -> &'static [u8] {
        match self {
            Self::Sha1 => SHA1,
            Self::Sha256 => SHA256,
        }
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        }
    }
}

/// Digests of an issuer, made once.
#[derive(Debug, Clone)]
pub(in super::super) struct IssuerDigests {
    /// Of name and key, in the order of [`Digest::ALL`].
    of: [(Vec<u8>, Vec<u8>); 2],
}

impl IssuerDigests {
    pub(in super::super) fn of(issuer: &Certificate<'_>) -> Result<Self, Malformed> {
        let key = issuer.key_bits()?;
        let of = Digest::ALL.map(|kind| {
            let hash = |bytes: &[u8]| digest(kind.algorithm(), bytes).as_ref().to_vec();
            (hash(issuer.subject), hash(key))
        });
        Ok(Self { of })
    }

    /// SHA-1 of the key, by which a responder may name itself (`KeyHash`).
    pub(super) fn key_sha1(&self) -> &[u8] {
        let [(_, key), _] = &self.of;
        key
    }

    /// `CertID` of a serial number without leading zeros, DER.
    pub(super) fn encode(&self, kind: Digest, serial: &[u8]) -> Vec<u8> {
        let [sha1, sha256] = &self.of;
        let (name, key) = match kind {
            Digest::Sha1 => sha1,
            Digest::Sha256 => sha256,
        };
        let algorithm = element(
            tag::SEQUENCE,
            &[
                &element(tag::OBJECT_IDENTIFIER, &[kind.id()]),
                &element(tag::NULL, &[]),
            ],
        );
        // A number that is not negative: a leading zero where the first bit is set, and one for zero itself.
        let pads = serial.first().is_none_or(|first| *first >= 0x80);
        let zero: &[u8] = if pads { &[0] } else { &[] };
        element(
            tag::SEQUENCE,
            &[
                &algorithm,
                &element(tag::OCTET_STRING, &[name]),
                &element(tag::OCTET_STRING, &[key]),
                &element(tag::INTEGER, &[zero, serial]),
            ],
        )
    }

    /// Whether a `CertID` names the certificate of this issuer with this serial number.
    pub(super) fn is_named_by(&self, id: &CertificateId<'_>, serial: &[u8]) -> bool {
        id.serial == serial
            && Digest::ALL
                .iter()
                .zip(&self.of)
                .any(|(kind, (name, key))| id.kind == kind.id() && id.name == name && id.key == key)
    }
}

/// A `CertID` as it came.
pub(super) struct CertificateId<'a> {
    kind: &'a [u8],
    name: &'a [u8],
    key: &'a [u8],
    serial: &'a [u8],
}

impl<'a> CertificateId<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut id = reader.sequence()?;
        let kind = id.sequence()?.expect(tag::OBJECT_IDENTIFIER)?;
        let name = id.expect(tag::OCTET_STRING)?;
        let key = id.expect(tag::OCTET_STRING)?;
        let serial = id.unsigned()?;
        id.end()?;
        if serial.len() > SERIAL_BYTES_MAX {
            return Err(Malformed("a serial number is too long"));
        }
        Ok(Self {
            kind,
            name,
            key,
            serial,
        })
    }
}
