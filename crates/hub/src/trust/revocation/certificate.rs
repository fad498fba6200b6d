//! What revocation reads of a certificate (RFC 5280 4.1), in place.

use crate::clock::Timestamp;
use crate::trust::der::{Extension, Malformed, Reader, tag};
use crate::trust::signature::Signed;

const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const AUTHORITY_INFORMATION: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x01];
const OCSP_ADDRESS: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01];
const OCSP_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x09];
const OCSP_NO_CHECK: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x05];

/// Extensions of the certificate of a responder that change nothing of what it may sign, also where they are critical: subject and
/// issuer key identifiers, alternative names, distribution points and policies.
const HARMLESS: [&[u8]; 6] = [
    &[0x55, 0x1d, 0x0e],
    &[0x55, 0x1d, 0x23],
    &[0x55, 0x1d, 0x11],
    &[0x55, 0x1d, 0x12],
    &[0x55, 0x1d, 0x1f],
    &[0x55, 0x1d, 0x20],
];

/// Bit of `KeyUsage` that lets a key sign lists, in the first byte.
const CRL_SIGN: u8 = 0x02;

/// Bits of `KeyUsage` that let a key sign answers, in the first byte: digitalSignature, and nonRepudiation as some CAs give it.
const ANSWER_SIGN: u8 = 0xc0;

/// Tag of a URI in a `GeneralName`.
const URI: u8 = 0x86;

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
    /// What its issuer signed.
    pub(super) signed: Signed<'a>,
    validity: Reader<'a>,
    extensions: &'a [u8],
}

impl<'a> Certificate<'a> {
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Reader::new(der);
        let mut certificate = outer.sequence()?;
        outer.end()?;
        let message = certificate.expect_whole(tag::SEQUENCE)?;
        let algorithm = certificate.expect_whole(tag::SEQUENCE)?;
        let signature = certificate.bytes_of_bits()?;
        let mut fields = Reader::new(message).sequence()?;
        fields.optional(tag::constructed(0))?;
        let serial = fields.unsigned()?;
        fields.sequence()?;
        let issuer = fields.expect_whole(tag::SEQUENCE)?;
        let validity = fields.sequence()?;
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
            signed: Signed {
                message,
                algorithm,
                signature,
            },
            validity,
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
        Ok(self.is_ca()? && self.usage_allows(CRL_SIGN)?)
    }

    /// The bits of its key: `subjectPublicKey` without tag, length and the count of unused bits (RFC 6960 4.1.1).
    pub(super) fn key_bits(&self) -> Result<&'a [u8], Malformed> {
        let mut key = Reader::new(self.key).sequence()?;
        key.sequence()?;
        key.bytes_of_bits()
    }

    /// Whether it is valid at a moment; the last second of its validity counts.
    pub(super) fn is_valid_at(&self, now: Timestamp) -> Result<bool, Malformed> {
        let mut validity = self.validity;
        let (from, until) = (validity.time()?, validity.time()?);
        Ok((from.as_secs()..=until.as_secs()).contains(&now.as_secs()))
    }

    /// Whether its issuer lets it sign answers in its stead (RFC 6960 4.2.2.2): `id-kp-OCSPSigning`, no key usage against it, and
    /// nothing critical that is not understood.
    pub(super) fn may_sign_answers(&self) -> Result<bool, Malformed> {
        let Some(usages) = self.extension(EXTENDED_KEY_USAGE)? else {
            return Ok(false);
        };
        let mut usages = Reader::new(usages).sequence()?;
        let mut may_sign = false;
        while !usages.is_empty() {
            may_sign |= usages.expect(tag::OBJECT_IDENTIFIER)? == OCSP_SIGNING;
        }
        let mut understood = true;
        self.each_extension(|extension| {
            let is_known = [BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE, OCSP_NO_CHECK]
                .contains(&extension.id)
                || HARMLESS.contains(&extension.id);
            understood &= is_known || !extension.is_critical;
        })?;
        Ok(may_sign && understood && self.usage_allows(ANSWER_SIGN)?)
    }

    /// The address of the responder that it names first (RFC 5280 4.2.2.1), if that is text.
    pub(super) fn responder_address(&self) -> Result<Option<&'a str>, Malformed> {
        let Some(value) = self.extension(AUTHORITY_INFORMATION)? else {
            return Ok(None);
        };
        let mut descriptions = Reader::new(value).sequence()?;
        while !descriptions.is_empty() {
            let mut description = descriptions.sequence()?;
            let method = description.expect(tag::OBJECT_IDENTIFIER)?;
            let place = description.element()?;
            if method == OCSP_ADDRESS && place.tag == URI {
                return Ok(std::str::from_utf8(place.value).ok());
            }
        }
        Ok(None)
    }

    /// Whether its key usage has one of these bits, or is not restricted.
    fn usage_allows(&self, bits: u8) -> Result<bool, Malformed> {
        Ok(match self.extension(KEY_USAGE)? {
            Some(value) => match Reader::new(value).expect(tag::BIT_STRING)? {
                [_, first, ..] => first & bits != 0,
                _ => false,
            },
            None => true,
        })
    }

    fn extension(&self, id: &[u8]) -> Result<Option<&'a [u8]>, Malformed> {
        let mut found = None;
        self.each_extension(|extension| {
            if extension.id == id && found.is_none() {
                found = Some(extension.value);
            }
        })?;
        Ok(found)
    }

    fn each_extension(&self, mut look: impl FnMut(&Extension<'a>)) -> Result<(), Malformed> {
        if self.extensions.is_empty() {
            return Ok(());
        }
        let mut extensions = Reader::new(self.extensions).sequence()?;
        while !extensions.is_empty() {
            look(&Extension::read(&mut extensions)?);
        }
        Ok(())
    }
}
