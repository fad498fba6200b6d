//! The question (RFC 6960 4.1): about one certificate, not signed, with a nonce if the operator wants one.

use crate::trust::der::{element, tag};

/// `id-pkix-ocsp-nonce`.
pub(super) const NONCE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02];

/// Bytes of a nonce of ours (RFC 9654 2.1).
pub(super) const NONCE_BYTES: usize = 32;

/// Media type of a question.
pub(super) const MEDIA_TYPE: &str = "application/ocsp-request";

/// `OCSPRequest` about a `CertID` (DER).
pub(super) fn encode(certificate_id: &[u8], nonce: Option<&[u8]>) -> Vec<u8> {
    let request = element(tag::SEQUENCE, &[certificate_id]);
    let list = element(tag::SEQUENCE, &[&request]);
    let extensions = nonce.map(|nonce| {
        let extension = element(
            tag::SEQUENCE,
            &[
                &element(tag::OBJECT_IDENTIFIER, &[NONCE]),
                &element(tag::OCTET_STRING, &[&element(tag::OCTET_STRING, &[nonce])]),
            ],
        );
        element(tag::constructed(2), &[&element(tag::SEQUENCE, &[&extension])])
    });
    let body = element(tag::SEQUENCE, &[&list, extensions.as_deref().unwrap_or_default()]);
    element(tag::SEQUENCE, &[&body])
}
