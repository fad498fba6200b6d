//! The document of a CA certificate (docs/formats/certificates.md).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::store::{StoreError, Version};

use super::super::certificate::Certificate;
use super::authority::{Authority, VerificationCode};

/// The version that is written.
const FORMAT: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Record<'a> {
    v: u8,
    /// The certificate: base64 of its DER, so never escaped.
    c: &'a str,
    /// Whether it is verified.
    p: bool,
    /// Microseconds of the creation and of the last change.
    t: (i64, i64),
    /// The code that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    k: Option<&'a str>,
}

pub(super) fn encode(authority: &Authority) -> Result<Vec<u8>, StoreError> {
    let certificate = STANDARD.encode(authority.certificate.der());
    let record = Record {
        v: FORMAT,
        c: &certificate,
        p: authority.is_verified,
        t: (authority.created.as_micros(), authority.updated.as_micros()),
        k: authority.code.as_ref().map(VerificationCode::as_str),
    };
    serde_json::to_vec(&record).map_err(|error| StoreError::Unreadable(error.to_string()))
}

pub(super) fn decode(name: &str, body: &[u8], version: Version) -> Result<Authority, StoreError> {
    let damaged =
        |what: &str| StoreError::Unreadable(format!("the record of the CA certificate '{name}' {what}"));
    let record: Record<'_> = serde_json::from_slice(body).map_err(|_| damaged("is not of a known form"))?;
    if record.v != FORMAT {
        return Err(damaged("was written by a newer version"));
    }
    let der = STANDARD
        .decode(record.c)
        .map_err(|_| damaged("holds no base64 where its certificate should be"))?;
    let certificate =
        Certificate::parse(&der).map_err(|_| damaged("holds a certificate that cannot be read"))?;
    let code = match record.k {
        Some(text) => Some(VerificationCode::parse(text).ok_or_else(|| damaged("has an unreadable code"))?),
        None => None,
    };
    Ok(Authority {
        name: name.into(),
        certificate,
        is_verified: record.p,
        created: Timestamp::from_micros(record.t.0),
        updated: Timestamp::from_micros(record.t.1),
        code,
        version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Released format, version 1: must stay readable for ever.
    const FIXTURE: &str = concat!(
        r#"{"v":1,"c":""#,
        "MIIBuTCCAV+gAwIBAgIUSiKItoWteOBgXEHrikV8lw0ia44wCgYIKoZIzj0EAwIwKTEQMA4GA1UECgwHQ29udG9zbzEVMBMGA1UEAwwMZml4dHVyZSByb290MCAXDTI2MTEyNzAxMTA0NFoYDzIwODEwODMwMDExMDQ0WjApMRAwDgYDVQQKDAdDb250b3NvMRUwEwYDVQQDDAxmaXh0dXJlIHJvb3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAS38dunzpsWnbqgHYuuDGQwahpvjFT8/eJKZ/NtHAFuPIg52jIm+FiXT18QctW6xvANrgDXmz0QP8sGoIW8k/1Bo2MwYTAdBgNVHQ4EFgQUtYgpvN1CUwFZb2uukWUAh4ml4zYwHwYDVR0jBBgwFoAUtYgpvN1CUwFZb2uukWUAh4ml4zYwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAQYwCgYIKoZIzj0EAwIDSAAwRQIhANwDR1ncopk5qvQSFboaOh6amtXNM6EEYAJUORghcw3ZAiBnKAeE7Qu3iLt150MmTIiscBMZs/jnZSa7IlHVeuKxFA==",
        r#"","p":false,"t":[1700000000000000,1700000001000000],"k":"75B86466DA34D2B04C0C4C9557A119687ADAE7D4732BDDB3"}"#
    );

    #[test]
    fn the_released_fixture_reads_and_writes_back_byte_for_byte() {
        let authority = decode("root", FIXTURE.as_bytes(), Version(3_177)).unwrap();
        assert_eq!(encode(&authority).unwrap(), FIXTURE.as_bytes());
        assert_eq!(authority.etag(), "AAAAAAAADGk=");
        let certificate = authority.certificate();
        assert_eq!(certificate.subject(), "O=Contoso, CN=fixture root");
        assert_eq!(
            certificate.sha1_thumbprint(),
            "D9F4708ABCCDBC44B2DFCE4679B6F4D77C189DEB"
        );
        assert_eq!(certificate.not_after().to_string(), "2081-08-30T01:10:44Z");
        assert_eq!(certificate.is_signed_by(certificate), Ok(true));
        assert!(certificate.is_authority() && certificate.is_self_issued());
    }

    #[test]
    fn damage_is_reported() {
        for (from, to) in [
            ("\"v\":1", "\"v\":2"),
            ("MIIB", "MIIC"),
            ("MIIB", "!!!!"),
            ("75B8", "75B"),
            ("\"p\":false", "\"p\":0"),
            ("[", "{"),
        ] {
            let damaged = FIXTURE.replacen(from, to, 1);
            assert_ne!(damaged, FIXTURE);
            assert!(decode("root", damaged.as_bytes(), Version(1)).is_err(), "{to}");
        }
    }
}
