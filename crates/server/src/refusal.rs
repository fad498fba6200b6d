//! From a refusal of the gate to the record that an operator reads.

use hub::access::{Authenticated, Refusal};
use hub::records::{Kind, Outcome};
use hub::trust::revocation::Doubt;

/// The record of a refused login, link or request.
pub(crate) fn outcome_of(refusal: &Refusal) -> Outcome {
    outcome(Kind::Refused, refusal)
}

/// The record of a connection that lost its ground.
pub(crate) fn closing_outcome_of(refusal: &Refusal) -> Outcome {
    outcome(Kind::Closed, refusal)
}

/// The record of an identity that was let in.
pub(crate) fn connected_outcome_of(proof: &Authenticated) -> Outcome {
    match proof.doubt() {
        None => Outcome::new(Kind::Connected, "session", "connected", "connected"),
        Some(doubt) => doubtful_outcome_of(doubt),
    }
}

/// The record of an identity that was let in although the status of its certificate is not known.
pub(crate) fn doubtful_outcome_of(doubt: &Doubt) -> Outcome {
    let text = "let in although nobody says whether its certificate is revoked";
    Outcome::new(Kind::Connected, "certificate", "certificate_status_unknown", text)
        .comparing("an answer of the OCSP responder that it is good", doubt.to_string())
        .advising(
            "See that the responder can be reached (ironhub ocsp list); ironhub ocsp add --required refuses such certificates",
        )
}

fn outcome(kind: Kind, refusal: &Refusal) -> Outcome {
    let mut outcome = Outcome::new(
        kind,
        refusal.step().label(),
        refusal.reason.label(),
        refusal.to_string(),
    );
    outcome.expected = Some(refusal.expected.clone()).filter(|text| !text.is_empty());
    outcome.found = Some(refusal.found.clone()).filter(|text| !text.is_empty());
    outcome.advising(refusal.advice())
}
