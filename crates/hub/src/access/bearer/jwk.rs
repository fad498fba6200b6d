//! Public keys of an issuer (RFC 7517, RFC 7518 6).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::jws::{Algorithm, Jws};
use super::keys::KeySet;

/// Bytes of an RSA modulus: 8,192 bits.
const MODULUS_BYTES_MAX: usize = 1_024;

/// Bytes of an RSA exponent; 65,537 has three.
const EXPONENT_BYTES_MAX: usize = 8;

/// Tells one key from another, whatever id it goes by.
pub(super) type KeyPrint = [u8; 32];

/// A key as the document of an issuer gives it. Members that are not looked at, such as certificates, are not here.
#[derive(Deserialize)]
pub(super) struct Described {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

enum Material {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    P256(Vec<u8>),
    P384(Vec<u8>),
}

/// A key that signs tokens.
pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) print: KeyPrint,
    // The one algorithm that the issuer uses it with, if it says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

impl Key {
    /// Reads a key; `None` when it is not one that signs tokens, such as a key for encryption or of an unknown kind.
    pub(super) fn read(described: &Described) -> Option<Self> {
        if described.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        // A key for an algorithm that is not taken is no key of ours; to ignore the algorithm would widen its use.
        let algorithm = match described.alg.as_deref() {
            Some(name) => Some(Algorithm::parse(name)?),
            None => None,
        };
        let bytes = |part: &Option<String>| {
            URL_SAFE_NO_PAD
                .decode(part.as_deref()?.trim_end_matches('='))
                .ok()
        };
        let (material, print) = match (described.kty.as_str(), described.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (bytes(&described.n)?, bytes(&described.e)?);
                if n.len() > MODULUS_BYTES_MAX || e.len() > EXPONENT_BYTES_MAX {
                    return None;
                }
                let print = print_of(&[b"RSA", &n, &e]);
                (Material::Rsa(RsaPublicKeyComponents { n, e }), print)
            }
            ("EC", Some("P-256")) => {
                let point = point(&bytes(&described.x)?, &bytes(&described.y)?, 32)?;
                let known_by = print_of(&[b"P-256", &point]);
                (Material::P256(point), known_by)
            }
            ("EC", Some("P-384")) => {
                let point = point(&bytes(&described.x)?, &bytes(&described.y)?, 48)?;
                let known_by = print_of(&[b"P-384", &point]);
                (Material::P384(point), known_by)
            }
            _ => return None,
        };
        Some(Self {
            id: described.kid.clone(),
            print,
            algorithm,
            material,
        })
    }

    /// Whether the key is of the kind that the algorithm needs.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        let by_kind = match self.material {
            Material::Rsa(_) => matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512),
            Material::P256(_) => algorithm == Es256,
            Material::P384(_) => algorithm == Es384,
        };
        by_kind && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// Whether the key signed the token.
    pub(super) fn verifies(&self, jws: &Jws<'_>) -> bool {
        if !self.fits(jws.algorithm) {
            return false;
        }
        let (message, sent) = (jws.signed.as_bytes(), jws.signature.as_slice());
        match &self.material {
            Material::Rsa(key) => key.verify(rsa(jws.algorithm), message, sent).is_ok(),
            Material::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(message, sent)
                .is_ok(),
            Material::P384(point) => UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
                .verify(message, sent)
                .is_ok(),
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Whether a document is a key set with a key that can be used; for those who give one by hand. Gives the number of keys.
///
/// # Errors
/// Says what is wrong.
pub fn check_key_set(document: &[u8]) -> Result<usize, &'static str> {
    let set = KeySet::parse(document)?;
    match set.iter().count() {
        0 => Err("no key in it signs with RSA, P-256 or P-384"),
        count => Ok(count),
    }
}

/// The parameters of an RSA algorithm; the caller knows that it is one.
fn rsa(algorithm: Algorithm) -> &'static signature::RsaParameters {
    match algorithm {
        Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
        Algorithm::Rs256 | Algorithm::Es256 | Algorithm::Es384 => &RSA_PKCS1_2048_8192_SHA256,
    }
}

/// An uncompressed point of a curve (SEC 1 2.3.3).
fn point(x: &[u8], y: &[u8], length: usize) -> Option<Vec<u8>> {
    (x.len() == length && y.len() == length).then(|| [&[4], x, y].concat())
}

fn print_of(parts: &[&[u8]]) -> KeyPrint {
    let mut print = [0; 32];
    print.copy_from_slice(digest(&SHA256, &parts.concat()).as_ref());
    print
}
