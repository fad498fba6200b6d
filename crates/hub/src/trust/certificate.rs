//! A certificate, read once into what decisions ask for (RFC 5280 4).

use std::fmt;
use std::ops::Range;

use aws_lc_rs::digest;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::{X509Name, X509Version};

use crate::clock::Timestamp;

use super::der::header;
use super::names::{AlternativeName, NameConstraints};
use super::signature::{Key, Scheme, Unsupported};

/// Characters of a name that are shown.
const SHOWN_CHARS_MAX: usize = 200;

/// The bytes are no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub(super) String);

/// A certificate. Holds its own bytes.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    signed: Range<usize>,
    version: u32,
    serial: Vec<u8>,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    subject_text: String,
    issuer_text: String,
    common_names: Vec<String>,
    not_before: Timestamp,
    not_after: Timestamp,
    key: Key,
    key_bytes: Vec<u8>,
    scheme: Scheme,
    signature: Vec<u8>,
    pub(super) extensions: Extensions,
}

/// The extensions that decisions ask for.
#[derive(Clone, Default)]
pub(super) struct Extensions {
    /// `cA` of the basic constraints, and the path length.
    pub(super) basic: Option<(bool, Option<u32>)>,
    /// Whether certificates may be signed, where a key usage is given.
    pub(super) may_sign_certificates: Option<bool>,
    pub(super) subject_key_id: Option<Vec<u8>>,
    pub(super) authority_key_id: Option<Vec<u8>>,
    pub(super) constraints: Option<NameConstraints>,
    pub(super) alternative_names: Vec<AlternativeName>,
    /// Critical ones that nothing here understands, by number.
    pub(super) unknown_critical: Option<String>,
}

impl Certificate {
    /// Reads one certificate.
    ///
    /// # Errors
    /// When the bytes are no DER of a certificate, or more than one, or contradict themselves.
    pub fn parse(der: &[u8]) -> Result<Self, Malformed> {
        let (rest, parsed) = X509Certificate::from_der(der)
            .map_err(|_| Malformed("the bytes are no DER of an X.509 certificate".to_owned()))?;
        if !rest.is_empty() {
            return Err(Malformed(format!("{} bytes follow the certificate", rest.len())));
        }
        let body = &parsed.tbs_certificate;
        if body.signature != parsed.signature_algorithm {
            return Err(Malformed(
                "the signature algorithm inside is not the one outside".to_owned(),
            ));
        }
        if parsed.signature_value.unused_bits != 0 {
            return Err(Malformed("the signature is no whole number of bytes".to_owned()));
        }
        let version = match body.version {
            X509Version(number) if number <= 2 => number + 1,
            X509Version(number) => return Err(Malformed(format!("the version is {number}"))),
        };
        if version < 3 && !body.extensions().is_empty() {
            return Err(Malformed(format!(
                "it has extensions, which version {version} does not allow"
            )));
        }
        let signed = range_within(der, body.as_ref())
            .ok_or_else(|| Malformed("the signed part is not inside".to_owned()))?;
        check_frame(der, &signed, &parsed.signature_value.data)?;
        Ok(Self {
            signed,
            version,
            serial: body.raw_serial().to_vec(),
            subject: body.subject().as_raw().to_vec(),
            issuer: body.issuer().as_raw().to_vec(),
            subject_text: shown(body.subject()),
            issuer_text: shown(body.issuer()),
            common_names: common_names(body.subject())?,
            not_before: Timestamp::from_secs(body.validity().not_before.timestamp()),
            not_after: Timestamp::from_secs(body.validity().not_after.timestamp()),
            key: Key::of(body.public_key()),
            key_bytes: body.public_key().subject_public_key.data.to_vec(),
            scheme: Scheme::of(&parsed.signature_algorithm),
            signature: parsed.signature_value.data.to_vec(),
            extensions: Extensions::read(body.extensions())?,
            der: der.to_vec(),
        })
    }

    /// The bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// 1, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The bytes of the serial number.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The subject for people, such as `CN=root, O=Contoso`; escaped and cut.
    pub fn subject(&self) -> &str {
        &self.subject_text
    }

    /// The issuer for people; escaped and cut.
    pub fn issuer(&self) -> &str {
        &self.issuer_text
    }

    /// The DER of the subject.
    pub fn subject_der(&self) -> &[u8] {
        &self.subject
    }

    /// The DER of the issuer.
    pub fn issuer_der(&self) -> &[u8] {
        &self.issuer
    }

    /// The common name, if there is exactly one.
    pub fn common_name(&self) -> Option<&str> {
        match self.common_names.as_slice() {
            [name] => Some(name),
            _ => None,
        }
    }

    /// From when it is valid, to the second.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The last second of its validity.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// SHA-1 over the bytes, upper-case hex: how the registry and the resource manager name a certificate.
    pub fn sha1_thumbprint(&self) -> String {
        hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.der).as_ref())
    }

    /// SHA-256 over the bytes, upper-case hex.
    pub fn sha256_thumbprint(&self) -> String {
        hex(digest::digest(&digest::SHA256, &self.der).as_ref())
    }

    /// Whether it says of itself that it is a CA. A certificate of version 1 never does.
    pub fn is_authority(&self) -> bool {
        matches!(self.extensions.basic, Some((true, _)))
    }

    /// Whether subject and issuer are the same name. That it is self-signed as well is not said.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// Its key: kind and size.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// How its issuer signed it.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Whether `issuer`'s key signed this certificate. The names are another question.
    ///
    /// # Errors
    /// When the algorithm is one that proves nothing, or not known, or does not fit the key.
    pub fn is_signed_by(&self, issuer: &Self) -> Result<bool, Unsupported> {
        let algorithm = self.scheme.verifier(&issuer.key)?;
        let signed = self.der.get(self.signed.clone()).unwrap_or_default();
        Ok(
            aws_lc_rs::signature::UnparsedPublicKey::new(algorithm, &issuer.key_bytes)
                .verify(signed, &self.signature)
                .is_ok(),
        )
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' issued by '{}'", self.subject_text, self.issuer_text)
    }
}

impl Extensions {
    fn read(extensions: &[X509Extension<'_>]) -> Result<Self, Malformed> {
        let mut read = Self::default();
        let mut seen = Vec::with_capacity(extensions.len());
        for extension in extensions {
            if seen.contains(&&extension.oid) {
                return Err(Malformed(format!(
                    "the extension {} is there twice",
                    extension.oid.to_id_string()
                )));
            }
            seen.push(&extension.oid);
            read.take(extension)?;
        }
        Ok(read)
    }

    fn take(&mut self, extension: &X509Extension<'_>) -> Result<(), Malformed> {
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(basic) => {
                self.basic = Some((basic.ca, basic.path_len_constraint));
            }
            ParsedExtension::KeyUsage(usage) => self.may_sign_certificates = Some(usage.key_cert_sign()),
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(authority) => {
                self.authority_key_id = authority.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            ParsedExtension::NameConstraints(constraints) => {
                self.constraints = Some(NameConstraints::read(constraints)?);
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                self.alternative_names = names.general_names.iter().map(AlternativeName::read).collect();
            }
            // What a certificate may be used for is not asked (device-mqtt-https.md 2.4), and a policy binds nothing without a
            // demand for one; RFC 5280 6.1.1 starts with any policy and none required.
            ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::IssuerAlternativeName(_)
            | ParsedExtension::CertificatePolicies(_)
            | ParsedExtension::CRLDistributionPoints(_)
            | ParsedExtension::AuthorityInfoAccess(_)
            | ParsedExtension::NSCertType(_) => {}
            ParsedExtension::ParseError { .. } => {
                return Err(Malformed(format!(
                    "the extension {} cannot be read",
                    extension.oid.to_id_string()
                )));
            }
            _ if extension.critical => self.unknown_critical = Some(extension.oid.to_id_string()),
            _ => {}
        }
        Ok(())
    }
}

/// What is around the signed part is signed by nobody. It must have the one form that DER allows, or whoever holds a certificate
/// could write it in another way, with another thumbprint, past a block of the first.
fn check_frame(der: &[u8], signed: &Range<usize>, signature: &[u8]) -> Result<(), Malformed> {
    let malformed = || Malformed("what is around its signed part is no DER".to_owned());
    let mut tail = header(0x03, signature.len() + 1);
    tail.push(0);
    tail.extend_from_slice(signature);
    let body = der.get(signed.clone()).ok_or_else(malformed)?;
    let front = der.get(..signed.start).ok_or_else(malformed)?;
    let behind = der.get(signed.end..).ok_or_else(malformed)?;
    let algorithm = behind.strip_suffix(tail.as_slice()).ok_or_else(malformed)?;
    // The same bytes stand inside, and are signed there.
    let is_signed = !algorithm.is_empty() && body.windows(algorithm.len()).any(|window| window == algorithm);
    if is_signed && front == header(0x30, body.len() + behind.len()) {
        return Ok(());
    }
    Err(malformed())
}

/// Where a slice lies in the slice that it is a part of.
fn range_within(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}

/// A name that holds a common name which is no text names nobody: it is refused rather than passed over.
fn common_names(name: &X509Name<'_>) -> Result<Vec<String>, Malformed> {
    name.iter_common_name()
        .map(|attribute| {
            attribute
                .as_str()
                .map(ToOwned::to_owned)
                .map_err(|_| Malformed("the common name is no text".to_owned()))
        })
        .collect()
}

fn shown(name: &X509Name<'_>) -> String {
    let text = name.to_string();
    let mut chars = text.chars();
    let mut shown: String = chars
        .by_ref()
        .take(SHOWN_CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect();
    if chars.next().is_some() {
        shown.push_str("...");
    }
    shown
}

/// Upper-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)])
        .collect()
}
