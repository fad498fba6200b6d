//! PEM around DER (RFC 7468), for lists and certificates as people hand them over.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Base64 digits that are decoded at once: whole groups, so that the pieces follow one another without a seam.
const PIECE: usize = 4_096;

/// The DER of a document of a kind (`X509 CRL`, `CERTIFICATE`) that is DER or PEM; the first of its kind in PEM. `None` when it is
/// neither.
pub(super) fn to_der<'a>(bytes: &'a [u8], label: &str) -> Option<Cow<'a, [u8]>> {
    if bytes.first() == Some(&crate::trust::der::tag::SEQUENCE) {
        return Some(Cow::Borrowed(bytes));
    }
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let start = find(bytes, begin.as_bytes())? + begin.len();
    let rest = bytes.get(start..)?;
    let body = rest.get(..find(rest, end.as_bytes())?)?;
    decode(body).map(Cow::Owned)
}

/// Base64 with line breaks, a piece after the other: never a second copy of the whole text.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut der = Vec::with_capacity(text.len() / 4 * 3);
    let mut piece = Vec::with_capacity(PIECE);
    for byte in text.iter().filter(|byte| !byte.is_ascii_whitespace()) {
        piece.push(*byte);
        if piece.len() == PIECE {
            STANDARD.decode_vec(&piece, &mut der).ok()?;
            piece.clear();
        }
    }
    STANDARD.decode_vec(&piece, &mut der).ok()?;
    Some(der)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The DER of a certificate that came as PEM, or as DER or PEM in base64. Whether it is one is not looked at.
pub fn certificate(text: &str) -> Option<Vec<u8>> {
    if let Some(der) = to_der(text.as_bytes(), "CERTIFICATE") {
        return Some(der.into_owned());
    }
    let bytes = decode(text.as_bytes())?;
    to_der(&bytes, "CERTIFICATE").map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_and_der_are_told_apart() {
        let der = [&[0x30, 0x82, 0x20, 0x00][..], &[7; 0x2000]].concat();
        let mut pem = b"some text\n-----BEGIN X509 CRL-----\r\n".to_vec();
        for line in STANDARD.encode(&der).as_bytes().chunks(64) {
            pem.extend_from_slice(line);
            pem.extend_from_slice(b"\r\n");
        }
        pem.extend_from_slice(b"-----END X509 CRL-----\n");
        assert_eq!(to_der(&pem, "X509 CRL").unwrap(), der);
        assert_eq!(to_der(&der, "X509 CRL").unwrap(), der);
        for bad in [
            &b""[..],
            b"hello",
            b"-----BEGIN X509 CRL-----\nAA",
            b"-----BEGIN X509 CRL-----\nA?-----END X509 CRL-----",
        ] {
            assert!(to_der(bad, "X509 CRL").is_none());
        }
        assert!(to_der(&pem, "CERTIFICATE").is_none());
        assert_eq!(certificate(&STANDARD.encode(&der)).unwrap(), der);
        assert!(certificate("hello?").is_none());
    }
}
