//! A certificate as clients upload it: base64 of its DER, base64 of its PEM text, or the PEM text itself (dps.md 14).

use base64::Engine as _;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::error::Error;
use crate::limits::{Limit, Limits};
use crate::secret::TOLERANT_BASE64;

use super::certificate::Certificate;

const PEM_MARK: &[u8] = b"-----BEGIN";

/// Reads the one certificate of an upload.
///
/// # Errors
/// `ArgumentInvalid` when the text is none of the three forms, is too long, holds a private key, or not exactly one certificate.
pub fn certificate_from_upload(text: &str, limits: &Limits) -> Result<Certificate, Error> {
    // Base64 of PEM, which is base64 itself, has 16 characters for 9 bytes; lines and labels need some more.
    let bytes_max = limits.get(Limit::CertificateBytesMax).saturating_mul(2);
    if text.len() as u64 > bytes_max {
        limits.hit(Limit::CertificateBytesMax);
        return Err(Error::argument(format!(
            "The certificate is a text of {} bytes, and {bytes_max} are the most",
            text.len()
        )));
    }
    let text = text.trim().as_bytes();
    let der = if text.starts_with(PEM_MARK) {
        der_of_pem(text)?
    } else {
        let packed: Vec<u8> = text
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        let decoded = TOLERANT_BASE64.decode(packed).map_err(|_| {
            Error::argument(
                "The certificate is neither PEM nor base64; send the base64 text of its DER or PEM",
            )
        })?;
        if contains(&decoded, PEM_MARK) {
            der_of_pem(&decoded)?
        } else {
            decoded
        }
    };
    limits.check_len(Limit::CertificateBytesMax, der.len())?;
    Certificate::parse(&der)
        .map_err(|malformed| Error::argument(format!("The certificate cannot be read: {malformed}")))
}

fn der_of_pem(pem: &[u8]) -> Result<Vec<u8>, Error> {
    // Asked of the text, because the reader passes over what it does not know, such as an encrypted key.
    if contains(pem, b"PRIVATE KEY") {
        return Err(Error::argument(
            "The text holds a private key, which the hub must never see; upload the certificate alone, and replace the key",
        ));
    }
    let mut certificates = CertificateDer::pem_slice_iter(pem);
    let first = match certificates.next() {
        Some(Ok(first)) => first,
        Some(Err(_)) => return Err(Error::argument("The certificate is no PEM that can be read")),
        None => return Err(Error::argument("The PEM text holds no certificate")),
    };
    if certificates.next().is_some() {
        return Err(Error::argument(
            "The text holds several certificates; upload the one of the CA alone",
        ));
    }
    Ok(first.as_ref().to_vec())
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}
