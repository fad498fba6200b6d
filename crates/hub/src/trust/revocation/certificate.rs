//! What revocation reads of a certificate (RFC 5280 4.1), in place.

use super::der::{Extension, Malformed, Reader, tag};

const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];

/// Bit of `KeyUsage` that lets a key sign lists, in the first byte.
const CRL_SIGN: u8 = 0x02;

/// A certificate, as far as its revocation is concerned. Its signature is not checked here.
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
    extensions: &'a [u8],
}

impl<'a> Certificate<'a> {
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Reader::new(der);
        let mut certificate = outer.sequence()?;
        outer.end()?;
        let message = certificate.expect_whole(tag::SEQUENCE)?;
        certificate.sequence()?;
        certificate.bytes_of_bits()?;
        let mut fields = Reader::new(message).sequence()?;
        fields.optional(tag::constructed(0))?;
        let serial = fields.unsigned()?;
        fields.sequence()?;
        let issuer = fields.expect_whole(tag::SEQUENCE)?;
        // Whether it is valid is asked where its path is built.
        fields.sequence()?;
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
            extensions: extensions.map(|element| element.value).unwrap_or_default(),
        })
    }

    /// Whether it names itself as its issuer.
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
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
