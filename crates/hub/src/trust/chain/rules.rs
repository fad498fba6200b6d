//! What a path must keep whose signatures hold.

use crate::clock::Timestamp;

use super::super::authorities::Authority;
use super::super::certificate::Certificate;
use super::flaw::Flaw;

/// Whether a path, leaf first, may end at a CA of the hub.
pub(super) fn check(path: &[&Certificate], anchor: &Authority, now: Timestamp) -> Result<(), Flaw> {
    if !anchor.is_verified() {
        return Err(Flaw::authority_unverified(anchor));
    }
    if anchor.certificate().not_after() < now {
        return Err(Flaw::authority_expired(anchor));
    }
    let mut whole = path.to_vec();
    whole.push(anchor.certificate());
    for certificate in &whole {
        check_validity(certificate, now)?;
        if let Some(oid) = &certificate.extensions.unknown_critical {
            return Err(Flaw::critical_extension(certificate, oid));
        }
    }
    for (index, issuer) in whole.iter().enumerate().skip(1) {
        let below = whole.get(..index).unwrap_or_default();
        check_issuer(issuer, below)?;
    }
    Ok(())
}

/// Whether a certificate is valid at a moment.
pub(crate) fn check_validity(certificate: &Certificate, now: Timestamp) -> Result<(), Flaw> {
    // Validity is stated in whole seconds, the last one included.
    if now.as_secs() < certificate.not_before().as_secs() {
        return Err(Flaw::not_yet_valid(certificate, now));
    }
    if certificate.not_after().as_secs() < now.as_secs() {
        return Err(Flaw::expired(certificate, now));
    }
    Ok(())
}

/// Whether a certificate may have issued those below it, leaf first.
fn check_issuer(issuer: &Certificate, below: &[&Certificate]) -> Result<(), Flaw> {
    let extensions = &issuer.extensions;
    let Some((true, length_max)) = extensions.basic else {
        return Err(Flaw::not_authority(issuer));
    };
    if extensions.may_sign_certificates == Some(false) {
        return Err(Flaw::key_usage(issuer));
    }
    if let Some(allowed) = length_max {
        // RFC 5280 4.2.1.9: neither the leaf nor self-issued certificates count.
        let intermediates = below
            .iter()
            .skip(1)
            .filter(|certificate| !certificate.is_self_issued());
        let count = intermediates.count();
        if u32::try_from(count).map_or(true, |count| count > allowed) {
            return Err(Flaw::path_length(issuer, allowed, count));
        }
    }
    if let Some(constraints) = &extensions.constraints {
        for (index, certificate) in below.iter().enumerate() {
            // RFC 5280 6.1.3 (b): a self-issued certificate is free of them unless it is the leaf.
            if index > 0 && certificate.is_self_issued() {
                continue;
            }
            if let Some(why) = constraints.forbidden(certificate) {
                return Err(Flaw::name_forbidden(issuer, certificate, &why));
            }
        }
    }
    Ok(())
}
