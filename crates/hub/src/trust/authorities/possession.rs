//! Proof of possession: the CA certifies a code that only its owner was told (dps.md 14, rule 3).

use crate::clock::Timestamp;
use crate::error::{Code, Error};

use super::super::certificate::Certificate;
use super::authority::Authority;

/// Whether a certificate proves that its maker holds the key of the CA.
pub(super) fn check(authority: &Authority, shown: &Certificate, now: Timestamp) -> Result<(), Error> {
    let issuer = authority.certificate();
    let Some(code) = authority.verification_code() else {
        return Err(failed(
            "No verification code waits for a proof; generate one first.",
        ));
    };
    if shown.common_name() != Some(code.as_str()) {
        return Err(failed(
            "The subject's common name is not the present verification code; a new code makes an earlier one void.",
        ));
    }
    // The code must be certified by this CA itself: one below it can be in other hands.
    let not_issued = || {
        failed(format!(
            "Issuer certificate '{}' cannot be found in the certificate chain.",
            issuer.subject()
        ))
    };
    if shown.issuer_der() != issuer.subject_der() {
        return Err(not_issued());
    }
    match shown.is_signed_by(issuer) {
        Ok(true) => {}
        Ok(false) => return Err(not_issued()),
        Err(unsupported) => return Err(failed(format!("The certificate has {unsupported}."))),
    }
    for (what, certificate) in [("The certificate", shown), ("The CA certificate", issuer)] {
        if now < certificate.not_before() || certificate.not_after() < now {
            return Err(failed(format!(
                "{what} is valid from {} to {}, and it is {now} now.",
                certificate.not_before(),
                certificate.not_after()
            )));
        }
    }
    Ok(())
}

/// Known clients look for the number in the text.
fn failed(why: impl std::fmt::Display) -> Error {
    Error::peer(
        Code::ProofOfPossessionFailed,
        format!("Proof-Of-Possession failed. {why} errorcode: IH400053."),
    )
}
