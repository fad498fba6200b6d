//! The answer (RFC 6960 4.2): taken apart, its signer found, its signature, times and nonce checked. Nothing of it is believed before.

use crate::clock::Timestamp;
use crate::trust::der::{Extension, Malformed, Reader, tag, without_zeros};
use crate::trust::signature::{SignatureError, Signed};

use super::super::certificate::Certificate;
use super::super::list::CLOCK_SKEW;
use super::super::name::{hex, shown};
use super::super::reason::Reason;
use super::super::revoked::Since;
use super::certificate_id::{CertificateId, IssuerDigests};
use super::request::NONCE;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// `id-pkix-ocsp-basic`.
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

/// Most certificates of an answer that are looked at for its signer: each may cost a signature.
const CERTIFICATES_MAX: usize = 8;

/// Most statuses of an answer that are looked through for the one that was asked for.
const STATUSES_MAX: usize = 64;

/// What a responder says of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is not revoked.
    Good,
    /// It is.
    Revoked(Since),
    /// The responder does not know it.
    Unknown,
}

/// An answer that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it says.
    pub verdict: Verdict,
    /// When that was known to be true.
    pub this_update: Timestamp,
    /// Until when newer information is there at the latest; without one, newer information is always to be had (RFC 6960 4.2.2.1).
    pub next_update: Option<Timestamp>,
}

/// Why an answer is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is none.
    #[error("what came is no answer of OCSP: {0}")]
    Malformed(&'static str),
    /// The responder does not answer (RFC 6960 2.3).
    #[error("the responder refuses to answer: {0}")]
    Refused(&'static str),
    /// It does not speak of the certificate.
    #[error("the answer is about another certificate")]
    Another,
    /// Nobody who may sign it is known.
    #[error(
        "the answer is signed by {0}, which is neither the issuer nor a certificate of the issuer's that came with it"
    )]
    SignerUnknown(String),
    /// The issuer did not let the signer do so.
    #[error(
        "the answer is signed by {0}, whom the issuer does not let sign answers: the extended key usage OCSPSigning is missing, or its key usage speaks against it"
    )]
    SignerNotAllowed(String),
    /// The signer's certificate is not valid now.
    #[error("the answer is signed by {0}, whose certificate is not valid now")]
    SignerExpired(String),
    /// The signer's certificate was revoked.
    #[error("the answer is signed by {0}, whose certificate is revoked: {1}")]
    SignerRevoked(String, String),
    /// A signature does not hold.
    #[error("the signature of the answer or of its signer's certificate does not hold: {0}")]
    Signature(#[from] SignatureError),
    /// It is not the answer to this question.
    #[error("the answer has another nonce than the question, or none; it may be an old one")]
    Nonce,
    /// It is from the future.
    #[error(
        "the answer begins at {0}, which is yet to come; check the clocks of the server and of the responder"
    )]
    Future(Timestamp),
    /// It is over.
    #[error("the answer was good until {0} only; check the responder and the clocks")]
    Expired(Timestamp),
    /// Something newer is known.
    #[error("the answer of {found} is older than the one in force, of {held}")]
    GoesBack {
        /// When this one was true.
        found: Timestamp,
        /// When the one in force was.
        held: Timestamp,
    },
    /// Something in it must be understood and is not.
    #[error("the answer has the critical extension {0}, which is not understood")]
    UnknownExtension(String),
}

impl From<Malformed> for AnswerError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.0)
    }
}

/// What was asked, of whom, when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'q> {
    pub(super) issuer: &'q Certificate<'q>,
    pub(super) digests: &'q IssuerDigests,
    /// Without leading zeros.
    pub(super) serial: &'q [u8],
    pub(super) nonce: Option<&'q [u8]>,
    pub(super) now: Timestamp,
}

/// Reads an answer. `is_revoked` says why a signer that the issuer appointed is not to be believed any more, if that is so.
pub(super) fn read(
    der: &[u8],
    question: &Question<'_>,
    is_revoked: impl FnOnce(&Certificate<'_>) -> Option<String>,
) -> Result<Answer, AnswerError> {
    let basic = Basic::split(basic_of(der)?)?;
    basic.check_signer(question, is_revoked)?;
    basic.check_extensions(question)?;
    let status = basic.status_of(question)?;
    let (now, this_update) = (question.now, status.this_update);
    if this_update > now.plus(CLOCK_SKEW) {
        return Err(AnswerError::Future(this_update));
    }
    match status.next_update {
        Some(next_update) if next_update.plus(CLOCK_SKEW) < now => Err(AnswerError::Expired(next_update)),
        _ => Ok(status),
    }
}

/// The `BasicOCSPResponse` of an `OCSPResponse`.
fn basic_of(der: &[u8]) -> Result<&[u8], AnswerError> {
    let mut outer = Reader::new(der);
    let mut response = outer.sequence()?;
    outer.end()?;
    match response.expect(tag::ENUMERATED)? {
        [0] => {}
        [1] => return Err(AnswerError::Refused("it finds the question malformed")),
        [2] => return Err(AnswerError::Refused("it has an internal error")),
        [3] => return Err(AnswerError::Refused("it asks to try later")),
        [5] => return Err(AnswerError::Refused("it wants the question to be signed")),
        [6] => {
            return Err(AnswerError::Refused(
                "it does not serve this server, or not this issuer",
            ));
        }
        _ => return Err(AnswerError::Malformed("a status that is none")),
    }
    let mut bytes = Reader::new(response.expect(tag::constructed(0))?);
    response.end()?;
    let mut typed = bytes.sequence()?;
    bytes.end()?;
    if typed.expect(tag::OBJECT_IDENTIFIER)? != BASIC {
        return Err(AnswerError::Malformed("it is of another type than the basic one"));
    }
    let basic = typed.expect(tag::OCTET_STRING)?;
    typed.end()?;
    Ok(basic)
}

/// How the signer is named.
enum Signer<'a> {
    Name(&'a [u8]),
    /// SHA-1 of the bits of its key.
    Key(&'a [u8]),
}

impl Signer<'_> {
    fn names(&self, subject: &[u8], key_sha1: &[u8]) -> bool {
        match self {
            Self::Name(name) => *name == subject,
            Self::Key(key) => *key == key_sha1,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Name(name) => shown(name),
            Self::Key(key) => format!("the key of SHA-1 {}", hex(key.get(..20).unwrap_or(key))),
        }
    }
}

/// A `BasicOCSPResponse` taken apart.
struct Basic<'a> {
    signed: Signed<'a>,
    signer: Signer<'a>,
    statuses: Reader<'a>,
    extensions: &'a [u8],
    certificates: Reader<'a>,
}

impl<'a> Basic<'a> {
    fn split(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Reader::new(der);
        let mut basic = outer.sequence()?;
        outer.end()?;
        let message = basic.expect_whole(tag::SEQUENCE)?;
        let algorithm = basic.expect_whole(tag::SEQUENCE)?;
        let signature = basic.bytes_of_bits()?;
        let certificates = match basic.optional(tag::constructed(0))? {
            Some(certificates) => {
                let mut outer = Reader::new(certificates.value);
                let inner = outer.sequence()?;
                outer.end()?;
                inner
            }
            None => Reader::new(&[]),
        };
        basic.end()?;
        let mut fields = Reader::new(message).sequence()?;
        if let Some(version) = fields.optional(tag::constructed(0))?
            && !Reader::new(version.value).unsigned()?.is_empty()
        {
            return Err(Malformed("its version is not 1"));
        }
        let id = fields.element()?;
        let signer = match id.tag {
            0xa1 => Signer::Name(Reader::new(id.value).expect_whole(tag::SEQUENCE)?),
            0xa2 => Signer::Key(Reader::new(id.value).expect(tag::OCTET_STRING)?),
            _ => return Err(Malformed("its signer is named in no known way")),
        };
        // When it was made: the statuses say for themselves when they were true.
        fields.time()?;
        let statuses = fields.sequence()?;
        let extensions = fields.optional(tag::constructed(1))?;
        fields.end()?;
        Ok(Self {
            signed: Signed {
                message,
                algorithm,
                signature,
            },
            signer,
            statuses,
            extensions: extensions.map(|element| element.value).unwrap_or_default(),
            certificates,
        })
    }

    /// The issuer itself, or whom it appointed by a certificate that it signed itself (RFC 6960 4.2.2.2).
    fn check_signer(
        &self,
        question: &Question<'_>,
        is_revoked: impl FnOnce(&Certificate<'_>) -> Option<String>,
    ) -> Result<(), AnswerError> {
        let issuer = question.issuer;
        if self.signer.names(issuer.subject, question.digests.key_sha1()) {
            // A responder may bear the name of the issuer without being it.
            match self.signed.verify(issuer.key) {
                Ok(()) => return Ok(()),
                Err(error) if self.certificates.is_empty() => return Err(error.into()),
                Err(_) => {}
            }
        }
        let delegate = self.delegate(issuer)?;
        let name = || shown(delegate.subject);
        delegate.signed.verify(issuer.key)?;
        if !delegate.may_sign_answers()? {
            return Err(AnswerError::SignerNotAllowed(name()));
        }
        if !delegate.is_valid_at(question.now)? {
            return Err(AnswerError::SignerExpired(name()));
        }
        if let Some(why) = is_revoked(&delegate) {
            return Err(AnswerError::SignerRevoked(name(), why));
        }
        Ok(self.signed.verify(delegate.key)?)
    }

    /// The certificate that came with the answer and is both of its signer and of the issuer.
    fn delegate(&self, issuer: &Certificate<'_>) -> Result<Certificate<'a>, AnswerError> {
        let mut certificates = self.certificates;
        for _ in 0..CERTIFICATES_MAX {
            if certificates.is_empty() {
                break;
            }
            let certificate = Certificate::parse(certificates.expect_whole(tag::SEQUENCE)?)?;
            let key_sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate.key_bits()?);
            if certificate.issuer == issuer.subject
                && self.signer.names(certificate.subject, key_sha1.as_ref())
            {
                return Ok(certificate);
            }
        }
        Err(AnswerError::SignerUnknown(self.signer.shown()))
    }

    fn check_extensions(&self, question: &Question<'_>) -> Result<(), AnswerError> {
        let mut nonce = None;
        if !self.extensions.is_empty() {
            each_extension(self.extensions, |extension| {
                if extension.id == NONCE {
                    nonce = Some(Reader::new(extension.value).expect(tag::OCTET_STRING)?);
                    return Ok(());
                }
                refuse_critical(extension)
            })?;
        }
        match question.nonce {
            Some(wanted) if nonce != Some(wanted) => Err(AnswerError::Nonce),
            _ => Ok(()),
        }
    }

    fn status_of(&self, question: &Question<'_>) -> Result<Answer, AnswerError> {
        let mut statuses = self.statuses;
        for _ in 0..STATUSES_MAX {
            if statuses.is_empty() {
                break;
            }
            let mut status = statuses.sequence()?;
            let id = CertificateId::read(&mut status)?;
            if question.digests.is_named_by(&id, question.serial) {
                return read_status(status);
            }
        }
        Err(AnswerError::Another)
    }
}

/// What follows the `CertID` of a `SingleResponse`.
fn read_status(mut status: Reader<'_>) -> Result<Answer, AnswerError> {
    let found = status.element()?;
    let verdict = match found.tag {
        0x80 if found.value.is_empty() => Verdict::Good,
        0x82 if found.value.is_empty() => Verdict::Unknown,
        0xa1 => {
            let mut revoked = Reader::new(found.value);
            let since = revoked.time()?;
            let reason = match revoked.optional(tag::constructed(0))? {
                Some(reason) => read_reason(reason.value)?,
                None => Reason::Unspecified,
            };
            revoked.end()?;
            Verdict::Revoked(Since { since, reason })
        }
        _ => return Err(AnswerError::Malformed("a status that is none")),
    };
    let this_update = status.time()?;
    let next_update = match status.optional(tag::constructed(0))? {
        Some(next_update) => {
            let mut inner = Reader::new(next_update.value);
            let time = inner.time()?;
            inner.end()?;
            Some(time)
        }
        None => None,
    };
    if let Some(extensions) = status.optional(tag::constructed(1))? {
        each_extension(extensions.value, refuse_critical)?;
    }
    status.end()?;
    Ok(Answer {
        verdict,
        this_update,
        next_update,
    })
}

/// A reason to come revokes like one that is known.
fn read_reason(value: &[u8]) -> Result<Reason, Malformed> {
    let number = Reader::new(value).expect(tag::ENUMERATED)?;
    Ok(match without_zeros(number) {
        [number] => Reason::from_number(*number).unwrap_or(Reason::Unspecified),
        _ => Reason::Unspecified,
    })
}

fn each_extension<'a>(
    extensions: &'a [u8],
    mut look: impl FnMut(&Extension<'a>) -> Result<(), AnswerError>,
) -> Result<(), AnswerError> {
    let mut extensions = Reader::new(extensions).sequence()?;
    while !extensions.is_empty() {
        look(&Extension::read(&mut extensions)?)?;
    }
    Ok(())
}

fn refuse_critical(extension: &Extension<'_>) -> Result<(), AnswerError> {
    if extension.is_critical {
        return Err(AnswerError::UnknownExtension(hex(extension
            .id
            .get(..32)
            .unwrap_or(extension.id))));
    }
    Ok(())
}

/// Reads an answer of anybody's: what is believed of it is what it says, and is signed.
#[cfg(feature = "fuzzing")]
pub(in super::super) fn fuzz(der: &[u8], issuer: &[u8], serial: &[u8], now: Timestamp) {
    let Ok(issuer) = Certificate::parse(issuer) else {
        return;
    };
    // What is asked of the certificate of a responder, and of one that names its responder.
    let _ = (
        issuer.may_sign_answers(),
        issuer.is_valid_at(now),
        issuer.responder_address(),
    );
    let Ok(digests) = IssuerDigests::of(&issuer) else {
        return;
    };
    let question = Question {
        issuer: &issuer,
        digests: &digests,
        serial: without_zeros(serial),
        nonce: None,
        now,
    };
    let found = read(der, &question, |_| None);
    let unsigned = basic_of(der).and_then(|basic| Ok(Basic::split(basic)?));
    let Ok(basic) = unsigned else {
        assert!(found.is_err(), "an answer that cannot be taken apart is taken");
        return;
    };
    let _ = basic.check_extensions(&question);
    let mut statuses = basic.statuses;
    while let Ok(mut status) = statuses.sequence() {
        if CertificateId::read(&mut status).is_ok() {
            let _ = read_status(status);
        }
    }
    match found {
        Ok(answer) => {
            assert_eq!(basic.status_of(&question), Ok(answer.clone()));
            assert!(answer.this_update <= now.plus(CLOCK_SKEW));
            let is_signed = basic.signed.verify(issuer.key).is_ok() || !basic.certificates.is_empty();
            assert!(is_signed, "nobody signed what is taken");
        }
        Err(error) => assert!(error.to_string().len() < 4_096, "an error grows with its input"),
    }
}
