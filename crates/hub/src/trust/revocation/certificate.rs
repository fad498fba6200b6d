//! What revocation reads of a certificate (RFC 5280 4.1), in place.

use crate::clock::Timestamp;

use super::der::{Extension, Malformed, Reader, tag};
use super::signature::{SignatureError, Signed};

const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const AUTHORITY_INFORMATION: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x01];
const OCSP: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01];
const OCSP_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x09];

/// Bit of `KeyUsage` that lets a key sign lists, in the first byte.
const CRL_SIGN: u8 = 0x02;

/// Longest URL of a responder that is followed.
const URL_BYTES_MAX: usize = 1_024;

/// A certificate, as far as its revocation is concerned. Its signature is not checked here unless it is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Certificate<'a> {
    pub(super) der: &'a [u8],
    /// Without leading zeros.
    pub(super) serial: &'a [u8],
    /// Name with tag and length.
    pub(super) issuer: &'a [u8],
    /// Name with tag and length.
    pub(super) subject: &'a [u8],
    /// `SubjectPublicKeyInfo` with tag and length.
    pub(super) key: &'a [u8],
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    extensions: &'a [u8],
    signed: Signed<'a>,
}

impl<'a> Certificate<'a> {
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Reader::new(der);
        let mut certificate = outer.sequence()?;
        outer.end()?;
        let message = certificate.expect_whole(tag::SEQUENCE)?;
        let algorithm = certificate.expect(tag::SEQUENCE)?;
        let signature = certificate.bytes_of_bits()?;
        let mut fields = Reader::new(message).sequence()?;
        fields.optional(tag::constructed(0))?;
        let serial = fields.unsigned()?;
        fields.sequence()?;
        let issuer = fields.expect_whole(tag::SEQUENCE)?;
        let mut validity = fields.sequence()?;
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        let subject = fields.expect_whole(tag::SEQUENCE)?;
        let key = fields.expect_whole(tag::SEQUENCE)?;
        fields.optional(tag::context(1))?;
        fields.optional(tag::context(2))?;
        let extensions = fields.optional(tag::constructed(3))?;
        Ok(Self {
            der,
            serial,
            issuer,
            subject,
            key,
            not_before,
            not_after,
            extensions: extensions.map(|element| element.value).unwrap_or_default(),
            signed: Signed {
                message,
                algorithm,
                signature,
            },
        })
    }

    /// Whether it names itself as its issuer.
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Whether the owner of another one signed this.
    pub(super) fn is_signed_by(&self, issuer: &Certificate<'_>) -> Result<(), SignatureError> {
        self.signed.verify(issuer.key)
    }

    pub(super) fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Whether it is that of a CA.
    pub(super) fn is_ca(&self) -> Result<bool, Malformed> {
        match self.extension(BASIC_CONSTRAINTS)? {
            Some(value) => Reader::new(value).sequence()?.flag(),
            None => Ok(false),
        }
    }

    /// Whether its key may sign lists: a CA's, unless its usage is restricted and leaves that out (RFC 5280 6.3.3 f).
    pub(super) fn may_sign_lists(&self) -> Result<bool, Malformed> {
        let usage_allows = match self.extension(KEY_USAGE)? {
            Some(value) => match Reader::new(value).expect(tag::BIT_STRING)? {
                [_, first, ..] => first & CRL_SIGN != 0,
                _ => false,
            },
            None => true,
        };
        Ok(self.is_ca()? && usage_allows)
    }

    /// Whether its issuer lets it sign answers about others (RFC 6960 4.2.2.2).
    pub(super) fn may_answer(&self) -> Result<bool, Malformed> {
        let Some(value) = self.extension(EXTENDED_KEY_USAGE)? else {
            return Ok(false);
        };
        let mut purposes = Reader::new(value).sequence()?;
        while !purposes.is_empty() {
            if purposes.expect(tag::OBJECT_IDENTIFIER)? == OCSP_SIGNING {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The first responder over HTTP that it names.
    pub(super) fn responder(&self) -> Result<Option<&'a str>, Malformed> {
        let Some(value) = self.extension(AUTHORITY_INFORMATION)? else {
            return Ok(None);
        };
        let mut descriptions = Reader::new(value).sequence()?;
        while !descriptions.is_empty() {
            let mut description = descriptions.sequence()?;
            let method = description.expect(tag::OBJECT_IDENTIFIER)?;
            let location = description.element()?;
            if method != OCSP || location.tag != tag::context(6) || location.value.len() > URL_BYTES_MAX {
                continue;
            }
            let url = std::str::from_utf8(location.value).ok();
            if let Some(url) = url.filter(|url| url.starts_with("http://") || url.starts_with("https://")) {
                return Ok(Some(url));
            }
        }
        Ok(None)
    }

    /// The key's bytes alone, as `issuerKeyHash` is made over them.
    pub(super) fn key_bits(&self) -> Result<&'a [u8], Malformed> {
        let mut info = Reader::new(self.key).sequence()?;
        info.sequence()?;
        info.bytes_of_bits()
    }

    fn extension(&self, id: &[u8]) -> Result<Option<&'a [u8]>, Malformed> {
        if self.extensions.is_empty() {
            return Ok(None);
        }
        let mut extensions = Reader::new(self.extensions).sequence()?;
        while !extensions.is_empty() {
            let extension = Extension::read(&mut extensions)?;
            if extension.id == id {
                return Ok(Some(extension.value));
            }
        }
        Ok(None)
    }
}
