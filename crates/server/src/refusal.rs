//! From a refusal of the gate to the record that an operator reads.

use hub::access::Refusal;
use hub::records::{Kind, Outcome};

/// The record of a refused login, link or request.
pub(crate) fn outcome_of(refusal: &Refusal) -> Outcome {
    outcome(Kind::Refused, refusal)
}

/// The record of a connection that lost its ground.
pub(crate) fn closing_outcome_of(refusal: &Refusal) -> Outcome {
    outcome(Kind::Closed, refusal)
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
