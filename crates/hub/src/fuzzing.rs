//! Entry points of the fuzz targets: each takes bytes of a peer and must neither panic nor break its own promise.

use crate::access::sas::Token;
use crate::identity::{BulkRequest, DeviceId, Draft};
use crate::limits::{Fidelity, Limits};

/// A token as a peer sends it. What is read must be found again in a token that is made from it.
pub fn sas_token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Token::parse(text, &Limits::new(Fidelity::Native)) {
        Ok(token) => assert!(text.contains(token.resource())),
        Err(refusal) => assert!(refusal.to_string().len() < 8_192),
    }
}

/// The body of a registry request, single and in bulk.
pub fn device_json(data: &[u8]) {
    let limits = Limits::new(Fidelity::Azure);
    let Ok(id) = DeviceId::parse("d1") else {
        return;
    };
    if let Ok(draft) = Draft::from_json(data, &id, &limits) {
        assert!(
            draft
                .status_reason
                .is_none_or(|reason| reason.chars().count() <= 128)
        );
    }
    let _ = BulkRequest::from_json(data, &limits);
}
