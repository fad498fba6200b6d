//! Which signatures prove something: RSA of 2,048 bits and more, ECDSA on the NIST curves, Ed25519, with SHA-2 (dps.md 19, rule 8).

use std::fmt;

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use super::der::{Reader, tag};

/// Fewest bits of an RSA key.
const RSA_BITS_MIN: usize = 2_048;

/// A signature that proves nothing, or that cannot be checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(String);

/// Why a signature over a list or an answer does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The key or the algorithm cannot be read.
    #[error("{0} cannot be read")]
    Malformed(&'static str),
    /// It would prove nothing, or cannot be checked.
    #[error(
        "it is {0}; taken are RSA of 2048 bits or more, ECDSA on P-256, P-384 or P-521, and Ed25519, with SHA-2"
    )]
    Refused(#[from] Unsupported),
    /// It is another key's.
    #[error("the signature is not by the key of the issuer")]
    Mismatch,
}

/// Something signed: the bytes that are signed, by which algorithm (`AlgorithmIdentifier`, DER), and the signature.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) message: &'a [u8],
    pub(super) algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
}

impl Signed<'_> {
    /// Whether the owner of a key (a `SubjectPublicKeyInfo`, DER) signed it.
    pub(super) fn verify(&self, key: &[u8]) -> Result<(), SignatureError> {
        let malformed = SignatureError::Malformed;
        // The parser looks at no tag of the identifier.
        Reader::new(self.algorithm)
            .sequence()
            .and_then(|mut algorithm| algorithm.expect(tag::OBJECT_IDENTIFIER))
            .map_err(|_| malformed("the algorithm of the signature"))?;
        let (_, info) =
            SubjectPublicKeyInfo::from_der(key).map_err(|_| malformed("the key of the issuer"))?;
        let (_, algorithm) = AlgorithmIdentifier::from_der(self.algorithm)
            .map_err(|_| malformed("the algorithm of the signature"))?;
        let verifier = Scheme::of(&algorithm).verifier(&Key::of(&info))?;
        UnparsedPublicKey::new(verifier, &info.subject_public_key.data)
            .verify(self.message, self.signature)
            .map_err(|_| SignatureError::Mismatch)
    }
}

/// A public key: kind and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// RSA, by the bits of its modulus.
    Rsa(usize),
    /// On the curve P-256.
    P256,
    /// On the curve P-384.
    P384,
    /// On the curve P-521.
    P521,
    /// Ed25519.
    Ed25519,
    /// Another, by its object identifier.
    Other(String),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA of {bits} bits"),
            Self::P256 => f.write_str("ECDSA P-256"),
            Self::P384 => f.write_str("ECDSA P-384"),
            Self::P521 => f.write_str("ECDSA P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other(oid) => write!(f, "of the kind {oid}"),
        }
    }
}

impl Key {
    pub(super) fn of(key: &SubjectPublicKeyInfo<'_>) -> Self {
        let kind = key.algorithm.algorithm.to_id_string();
        match kind.as_str() {
            // A key for PSS alone has its own number but the same form.
            "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10" => match key.parsed() {
                Ok(PublicKey::RSA(rsa)) => Self::Rsa(bits_of(rsa.modulus)),
                _ => Self::Other(kind),
            },
            "1.2.840.10045.2.1" => {
                let curve = key
                    .algorithm
                    .parameters
                    .as_ref()
                    .and_then(|any| any.as_oid().ok())
                    .map(|oid| oid.to_id_string());
                match curve.as_deref() {
                    Some("1.2.840.10045.3.1.7") => Self::P256,
                    Some("1.3.132.0.34") => Self::P384,
                    Some("1.3.132.0.35") => Self::P521,
                    other => Self::Other(format!("ECDSA on {}", other.unwrap_or("a curve without a name"))),
                }
            }
            "1.3.101.112" => Self::Ed25519,
            _ => Self::Other(kind),
        }
    }

    /// Whether anything that this key signs can be worth something.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn check(&self) -> Result<(), Unsupported> {
        match self {
            Self::Rsa(bits) if *bits < RSA_BITS_MIN => Err(Unsupported(format!(
                "a key of RSA with {bits} bits, and {RSA_BITS_MIN} are the fewest"
            ))),
            Self::Other(_) => Err(Unsupported(format!("a key {self}, which is not known here"))),
            _ => Ok(()),
        }
    }
}

/// The digests that are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        })
    }
}

impl Hash {
    fn of(oid: &str) -> Option<(Self, u32)> {
        match oid {
            "2.16.840.1.101.3.4.2.1" => Some((Self::Sha256, 32)),
            "2.16.840.1.101.3.4.2.2" => Some((Self::Sha384, 48)),
            "2.16.840.1.101.3.4.2.3" => Some((Self::Sha512, 64)),
            _ => None,
        }
    }
}

/// How a certificate was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// RSA with the padding of PKCS #1 1.5.
    RsaPkcs1(Hash),
    /// RSA with the padding PSS.
    RsaPss(Hash),
    /// ECDSA.
    Ecdsa(Hash),
    /// Ed25519.
    Ed25519,
    /// Over a digest that can be forged.
    Broken(&'static str),
    /// Not known, by its object identifier or by what is odd.
    Unknown(String),
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RsaPkcs1(hash) => write!(f, "RSA PKCS #1 with {hash}"),
            Self::RsaPss(hash) => write!(f, "RSA PSS with {hash}"),
            Self::Ecdsa(hash) => write!(f, "ECDSA with {hash}"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Broken(digest) => write!(f, "a signature over {digest}"),
            Self::Unknown(what) => f.write_str(what),
        }
    }
}

impl Scheme {
    pub(super) fn of(identifier: &AlgorithmIdentifier<'_>) -> Self {
        let oid = identifier.algorithm.to_id_string();
        match oid.as_str() {
            "1.2.840.113549.1.1.11" => Self::RsaPkcs1(Hash::Sha256),
            "1.2.840.113549.1.1.12" => Self::RsaPkcs1(Hash::Sha384),
            "1.2.840.113549.1.1.13" => Self::RsaPkcs1(Hash::Sha512),
            "1.2.840.113549.1.1.10" => Self::of_pss(identifier),
            "1.2.840.10045.4.3.2" => Self::Ecdsa(Hash::Sha256),
            "1.2.840.10045.4.3.3" => Self::Ecdsa(Hash::Sha384),
            "1.2.840.10045.4.3.4" => Self::Ecdsa(Hash::Sha512),
            "1.3.101.112" => Self::Ed25519,
            "1.2.840.113549.1.1.2" => Self::Broken("MD2"),
            "1.2.840.113549.1.1.4" => Self::Broken("MD5"),
            "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" | "1.2.840.10040.4.3" | "1.3.14.3.2.29" => {
                Self::Broken("SHA-1")
            }
            _ => Self::Unknown(format!("the signature algorithm {oid}")),
        }
    }

    /// The one form that is used: mask and message share a digest, and the salt is as long as it.
    fn of_pss(identifier: &AlgorithmIdentifier<'_>) -> Self {
        let odd = |what: &str| Self::Unknown(format!("RSA PSS with {what}"));
        let parameters = identifier.parameters.as_ref();
        let Some(Ok(parameters)) = parameters.map(RsaSsaPssParams::try_from) else {
            return odd("parameters that cannot be read");
        };
        let digest = parameters.hash_algorithm_oid().to_id_string();
        let Some((hash, length)) = Hash::of(&digest) else {
            return if digest == "1.3.14.3.2.26" {
                Self::Broken("SHA-1")
            } else {
                odd("a digest that is not known")
            };
        };
        let mask = parameters.mask_gen_algorithm();
        if !mask.is_ok_and(|mask| mask.hash.to_id_string() == digest) {
            return odd("another digest for its mask");
        }
        if parameters.salt_length() != length {
            return odd("a salt that is not as long as its digest");
        }
        Self::RsaPss(hash)
    }

    /// How a signature of this scheme is checked with a key.
    pub(super) fn verifier(&self, key: &Key) -> Result<&'static dyn VerificationAlgorithm, Unsupported> {
        use signature as s;
        key.check()?;
        Ok(match (self, key) {
            (Self::RsaPkcs1(Hash::Sha256), Key::Rsa(_)) => &s::RSA_PKCS1_2048_8192_SHA256,
            (Self::RsaPkcs1(Hash::Sha384), Key::Rsa(_)) => &s::RSA_PKCS1_2048_8192_SHA384,
            (Self::RsaPkcs1(Hash::Sha512), Key::Rsa(_)) => &s::RSA_PKCS1_2048_8192_SHA512,
            (Self::RsaPss(Hash::Sha256), Key::Rsa(_)) => &s::RSA_PSS_2048_8192_SHA256,
            (Self::RsaPss(Hash::Sha384), Key::Rsa(_)) => &s::RSA_PSS_2048_8192_SHA384,
            (Self::RsaPss(Hash::Sha512), Key::Rsa(_)) => &s::RSA_PSS_2048_8192_SHA512,
            (Self::Ecdsa(Hash::Sha256), Key::P256) => &s::ECDSA_P256_SHA256_ASN1,
            (Self::Ecdsa(Hash::Sha384), Key::P256) => &s::ECDSA_P256_SHA384_ASN1,
            (Self::Ecdsa(Hash::Sha512), Key::P256) => &s::ECDSA_P256_SHA512_ASN1,
            (Self::Ecdsa(Hash::Sha256), Key::P384) => &s::ECDSA_P384_SHA256_ASN1,
            (Self::Ecdsa(Hash::Sha384), Key::P384) => &s::ECDSA_P384_SHA384_ASN1,
            (Self::Ecdsa(Hash::Sha512), Key::P384) => &s::ECDSA_P384_SHA512_ASN1,
            (Self::Ecdsa(Hash::Sha256), Key::P521) => &s::ECDSA_P521_SHA256_ASN1,
            (Self::Ecdsa(Hash::Sha384), Key::P521) => &s::ECDSA_P521_SHA384_ASN1,
            (Self::Ecdsa(Hash::Sha512), Key::P521) => &s::ECDSA_P521_SHA512_ASN1,
            (Self::Ed25519, Key::Ed25519) => &s::ED25519,
            (Self::Broken(digest), _) => {
                return Err(Unsupported(format!(
                    "a signature over {digest}, which can be forged"
                )));
            }
            (Self::Unknown(what), _) => return Err(Unsupported(format!("{what}, which is not known here"))),
            (scheme, key) => {
                return Err(Unsupported(format!("{scheme}, which does not fit a key {key}")));
            }
        })
    }
}

/// Bits of a big-endian number without its leading zeros.
fn bits_of(number: &[u8]) -> usize {
    let digits = number.iter().skip_while(|byte| **byte == 0);
    let mut digits = digits.peekable();
    let leading = digits.peek().map_or(0, |byte| byte.leading_zeros() as usize);
    (digits.count() * 8).saturating_sub(leading)
}
