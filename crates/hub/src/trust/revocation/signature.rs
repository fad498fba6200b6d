//! Signatures over lists, answers and certificates, by the keys of X.509 (RFC 3279, 4055, 5758).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
    ECDSA_P521_SHA512_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    UnparsedPublicKey, VerificationAlgorithm,
};

use super::der::{Malformed, Reader, tag};

const RSA_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const RSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c];
const RSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d];
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
const EC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
const ECDSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04];
const ED25519_KEY: &[u8] = &[0x2b, 0x65, 0x70];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
const SHA512: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03];

/// Something signed: the bytes that are signed, by which algorithm (its content), and the signature.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) message: &'a [u8],
    pub(super) algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
}

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The algorithm is none of those that are taken.
    #[error(
        "it is signed in a way that is not taken: RSA (2048 bits or more) or ECDSA with SHA-256, SHA-384 or SHA-512, or Ed25519"
    )]
    Algorithm,
    /// The key is not one of the algorithm, or cannot be read.
    #[error("the key of the issuer is not one for the algorithm of the signature")]
    Key,
    /// The signature is another's.
    #[error("the signature is not by the key of the issuer")]
    Mismatch,
}

impl Signed<'_> {
    /// Whether the owner of a key (a `SubjectPublicKeyInfo`, DER) signed it.
    pub(super) fn verify(&self, key: &[u8]) -> Result<(), SignatureError> {
        let (curve_or_kind, key) = read_key(key).map_err(|_| SignatureError::Key)?;
        let algorithm = self.algorithm_for(curve_or_kind)?;
        UnparsedPublicKey::new(algorithm, key)
            .verify(self.message, self.signature)
            .map_err(|_| SignatureError::Mismatch)
    }

    fn algorithm_for(&self, key: &[u8]) -> Result<&'static dyn VerificationAlgorithm, SignatureError> {
        let mut algorithm = Reader::new(self.algorithm);
        let id = algorithm
            .expect(tag::OBJECT_IDENTIFIER)
            .map_err(|_| SignatureError::Algorithm)?;
        let found: &dyn VerificationAlgorithm = match (id, key) {
            (RSA_SHA256, RSA_KEY) => &RSA_PKCS1_2048_8192_SHA256,
            (RSA_SHA384, RSA_KEY) => &RSA_PKCS1_2048_8192_SHA384,
            (RSA_SHA512, RSA_KEY) => &RSA_PKCS1_2048_8192_SHA512,
            (RSA_PSS, RSA_KEY) => match pss_digest(algorithm).map_err(|_| SignatureError::Algorithm)? {
                SHA256 => &RSA_PSS_2048_8192_SHA256,
                SHA384 => &RSA_PSS_2048_8192_SHA384,
                SHA512 => &RSA_PSS_2048_8192_SHA512,
                _ => return Err(SignatureError::Algorithm),
            },
            (ECDSA_SHA256, P256) => &ECDSA_P256_SHA256_ASN1,
            (ECDSA_SHA384, P256) => &ECDSA_P256_SHA384_ASN1,
            (ECDSA_SHA512, P256) => &ECDSA_P256_SHA512_ASN1,
            (ECDSA_SHA256, P384) => &ECDSA_P384_SHA256_ASN1,
            (ECDSA_SHA384, P384) => &ECDSA_P384_SHA384_ASN1,
            (ECDSA_SHA512, P384) => &ECDSA_P384_SHA512_ASN1,
            (ECDSA_SHA256, P521) => &ECDSA_P521_SHA256_ASN1,
            (ECDSA_SHA384, P521) => &ECDSA_P521_SHA384_ASN1,
            (ECDSA_SHA512, P521) => &ECDSA_P521_SHA512_ASN1,
            (ED25519_KEY, ED25519_KEY) => &ED25519,
            (
                RSA_SHA256 | RSA_SHA384 | RSA_SHA512 | RSA_PSS | ECDSA_SHA256 | ECDSA_SHA384 | ECDSA_SHA512
                | ED25519_KEY,
                _,
            ) => return Err(SignatureError::Key),
            _ => return Err(SignatureError::Algorithm),
        };
        Ok(found)
    }
}

/// The curve of an EC key, else its kind; and the key itself.
fn read_key(info: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut info = Reader::new(info).sequence()?;
    let mut algorithm = info.sequence()?;
    let kind = algorithm.expect(tag::OBJECT_IDENTIFIER)?;
    let kind = match kind {
        EC_KEY => algorithm.expect(tag::OBJECT_IDENTIFIER)?,
        // A key that is for PSS alone signs like any other.
        RSA_PSS => RSA_KEY,
        kind => kind,
    };
    Ok((kind, info.bytes_of_bits()?))
}

/// The digest of `RSASSA-PSS-params`; the mask's digest and the length of the salt are those that belong to it, or it does not verify.
fn pss_digest(mut algorithm: Reader<'_>) -> Result<&[u8], Malformed> {
    let mut parameters = algorithm.sequence()?;
    let digest = parameters.expect(tag::constructed(0))?;
    Reader::new(digest).sequence()?.expect(tag::OBJECT_IDENTIFIER)
}
