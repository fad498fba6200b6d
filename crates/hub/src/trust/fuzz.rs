//! The fuzz target of chains.

use std::sync::Arc;

use crate::clock::Timestamp;

use super::authorities::{Authority, Held};
use super::certificate::Certificate;
use super::chain;

/// In 2027, when the certificates of the corpus are valid.
const NOW_SECS: i64 = 1_800_000_000;

/// Reads certificates and looks for a path from the first to the last.
pub(crate) fn fuzz_chain(data: &[u8]) {
    let mut certificates = split(data);
    for der in &certificates {
        if let Ok(certificate) = Certificate::parse(der) {
            assert_eq!(certificate.der(), der.as_slice(), "the bytes are kept");
            assert!(certificate.subject().len() < 4_096, "a shown name is bounded");
        }
    }
    let anchor = certificates.pop().and_then(|der| Certificate::parse(&der).ok());
    let held: Held = anchor
        .map(|anchor| ("anchor".into(), Arc::new(Authority::vouched("anchor", anchor))))
        .into_iter()
        .collect();
    let Some((leaf, others)) = certificates.split_first() else {
        return;
    };
    let Ok(leaf) = Certificate::parse(leaf) else {
        return;
    };
    if let Ok(path) = chain::build(&leaf, others, &held, Timestamp::from_secs(NOW_SECS)) {
        assert_eq!(path.sent.first(), Some(&leaf), "a path begins with its leaf");
    }
}

fn split(mut data: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (part, behind) = rest.split_at(length);
        parts.push(part.to_vec());
        data = behind;
    }
    parts
}
