//! Entry points of the fuzz targets: each takes bytes of a peer and must neither panic nor break its own promise.

use percent_encoding::percent_decode_str;

use crate::access::bearer;
use crate::access::sas::{self, Token};
use crate::identity::{BulkRequest, DeviceId, Draft};
use crate::limits::{Fidelity, Limit, Limits, UNLIMITED};
use crate::secret::SymmetricKey;

/// A token as a peer sends it. A token made anew of what was read must read and verify alike.
///
/// # Panics
/// When that promise is broken.
pub fn sas_token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let limits = Limits::new(Fidelity::Native);
    let token = match Token::parse(text, &limits) {
        Ok(token) => token,
        Err(refusal) => {
            assert!(
                refusal.to_string().len() < 8_192,
                "a refusal grows with its input"
            );
            return;
        }
    };
    let (Ok(key), Ok(resource)) = (
        SymmetricKey::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
        percent_decode_str(token.resource()).decode_utf8(),
    ) else {
        return;
    };
    // Escaping may make a token longer than a peer may send.
    limits.set(Limit::TokenBytesMax, UNLIMITED);
    let made = sas::create(&resource, token.expires(), &key, token.policy());
    match Token::parse(&made, &limits) {
        Ok(read) => {
            assert!(read.is_signed_by(&key));
            assert_eq!(read.expires().as_secs(), token.expires().as_secs());
            assert_eq!(read.policy(), token.policy());
        }
        Err(refusal) => assert!(resource.is_empty(), "{refusal}"),
    }
}

/// A bearer token, and a key set before it when there is a line break: nothing verifies that nobody signed.
///
/// # Panics
/// When that promise is broken.
pub fn bearer_token(data: &[u8]) {
    let split = data.iter().position(|byte| *byte == b'\n');
    let (keys, token) = split.map_or((&b"{\"keys\":[]}"[..], data), |at| data.split_at(at));
    if let Ok(token) = std::str::from_utf8(token) {
        bearer::fuzz(token.trim_start(), keys);
    }
}

/// The body of a registry request, single and in bulk.
///
/// # Panics
/// When a draft is read that breaks a limit.
pub fn device_json(data: &[u8]) {
    let limits = Limits::new(Fidelity::Azure);
    let Ok(id) = DeviceId::parse("d1") else {
        return;
    };
    if let Ok(draft) = Draft::from_json(data, &id, &limits) {
        let chars = draft.status_reason.map_or(0, |reason| reason.chars().count());
        assert!(limits.check_len(Limit::StatusReasonCharsMax, chars).is_ok());
    }
    let _ = BulkRequest::from_json(data, &limits);
}

/// The body of a twin request, of a service and of a device. What is taken must survive being stored.
///
/// # Panics
/// When that promise is broken.
pub fn twin_json(data: &[u8]) {
    crate::twins::fuzz_body(data);
}

/// The query of the address of a blob. What is read must be issued again, and be taken then.
///
/// # Panics
/// When that promise is broken.
pub fn blob_sas(data: &[u8]) {
    if let Ok(query) = std::str::from_utf8(data) {
        crate::files::fuzz_query(query);
    }
}

/// Certificates of a handshake, each behind two bytes of its length: the leaf first, the CA of the hub last.
///
/// # Panics
/// When a certificate is read that is not written back byte for byte, or a path does not begin with its leaf.
pub fn client_certificate(data: &[u8]) {
    crate::trust::fuzz_chain(data);
}

/// A revocation list behind the certificate of its issuer.
///
/// # Panics
/// When an entry is lost, or more memory is taken than the entries need.
pub fn revocation_list(data: &[u8]) {
    crate::trust::revocation::fuzz_list(data);
}

/// The answer of an OCSP responder behind the certificate of its issuer and a serial number.
///
/// # Panics
/// When something is believed that the answer does not say, or that nobody signed.
pub fn ocsp_response(data: &[u8]) {
    crate::trust::revocation::fuzz_answer(data);
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_entry_points_take_good_and_bad_input() {
        super::sas_token(b"SharedAccessSignature sr=a%2Fb&sig=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8%3D&se=1.5&skn=x%26");
        super::sas_token(b"\xff");
        super::device_json(br#"{"statusReason":"why"}"#);
        super::device_json(br#"[{"id":"a"}]"#);
        super::twin_json(br#"{"tags":{"a":null},"properties":{"desired":{"z":{"y":[1.0,{}]}}}}"#);
        super::twin_json(br#"{"a":1"#);
        super::blob_sas(b"sv=2020-12-06&sr=b&st=2021-07-30T05:21:00Z&se=2021-07-30T06:21:00Z&sp=rw&spr=https&si=1&sig=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        super::blob_sas(b"sig=");
        super::client_certificate(b"\0\x010");
        super::revocation_list(b"\0\x0100");
        super::ocsp_response(b"\0\x010\0\x0110");
    }
}
