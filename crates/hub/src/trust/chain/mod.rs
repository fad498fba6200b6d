//! What a chain is worth: a path from the leaf, over certificates of the handshake, to a verified CA of the hub (RFC 5280 6,
//! device-mqtt-https.md 2.4, dps.md 19 rule 8).
//!
//! An anchor is any registered CA, root or not; what its certificate says about validity, length and names binds like that of any
//! other. Not asked: extended key usage, policies, revocation (which [`super::revocation`] knows), and the common name of the leaf,
//! which is the gate's question. Every step of the search costs a signature, and there is a bound on their number, so that no set of
//! certificates makes it long.

mod flaw;
mod rules;

use std::sync::Arc;

use crate::clock::Timestamp;

use super::authorities::{Authority, Held};
use super::certificate::Certificate;

pub(crate) use flaw::{Flaw, Kind};
pub(crate) use rules::check_validity;

/// Most certificates of a path, leaf and anchor counted (dps.md 19, rule 8).
const PATH_LENGTH_MAX: usize = 10;

/// Most signatures that are checked for one chain: every certificate of the longest path under a few namesakes.
const SIGNATURES_MAX: usize = 32;

/// A path that holds.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    /// The certificates that were sent, leaf first.
    pub(crate) sent: Vec<Certificate>,
    /// The CA of the hub at which it ends.
    pub(crate) anchor: Arc<Authority>,
}

impl Path {
    /// The subjects from the leaf to the anchor, for people.
    pub(crate) fn shown(&self) -> String {
        let subjects = self
            .sent
            .iter()
            .map(|certificate| format!("'{}'", certificate.subject()));
        let anchor = format!("CA certificate '{}'", self.anchor.name());
        let all: Vec<String> = subjects.chain(std::iter::once(anchor)).collect();
        all.join(" <- ")
    }
}

/// Finds a path from a leaf to a verified CA. `others` are the further certificates of the handshake, in any order.
///
/// # Errors
/// The flaw of the path that came closest.
pub(crate) fn build(
    leaf: &Certificate,
    others: &[Vec<u8>],
    held: &Held,
    now: Timestamp,
) -> Result<Path, Box<Flaw>> {
    let mut search = Search {
        held,
        now,
        signatures_left: SIGNATURES_MAX,
        closest: None,
    };
    let mut readable = Vec::with_capacity(others.len());
    for der in others.iter().take(PATH_LENGTH_MAX) {
        match Certificate::parse(der) {
            Ok(certificate) => readable.push(certificate),
            // It may not be needed: a client may send more than its chain.
            Err(malformed) => search.note(Flaw::malformed(&malformed)),
        }
    }
    let mut path = vec![leaf];
    match search.extend(&mut path, &readable) {
        Some(anchor) => Ok(Path {
            sent: path.into_iter().cloned().collect(),
            anchor,
        }),
        None => Err(Box::new(
            search.closest.unwrap_or_else(|| Flaw::issuer_unknown(leaf)),
        )),
    }
}

struct Search<'a> {
    held: &'a Held,
    now: Timestamp,
    signatures_left: usize,
    closest: Option<Flaw>,
}

impl Search<'_> {
    /// Goes on from the last certificate of the path; leaves the path as it is when it leads to an anchor.
    fn extend<'c>(
        &mut self,
        path: &mut Vec<&'c Certificate>,
        others: &'c [Certificate],
    ) -> Option<Arc<Authority>> {
        let last = *path.last()?;
        let held = self.held;
        for authority in by_likelihood(last, held.values(), |authority| authority.certificate()) {
            if self.is_issued(last, authority.certificate(), path.len()) {
                match rules::check(path, authority, self.now) {
                    Ok(()) => return Some(Arc::clone(authority)),
                    Err(flaw) => self.note(flaw.at(path.len())),
                }
            }
        }
        let mut is_deep = false;
        for issuer in by_likelihood(last, others.iter(), |other| other) {
            if path.contains(&issuer) {
                continue;
            }
            if path.len() + 1 >= PATH_LENGTH_MAX {
                is_deep = true;
                continue;
            }
            if self.is_issued(last, issuer, path.len()) {
                path.push(issuer);
                let anchor = self.extend(path, others);
                if anchor.is_some() {
                    return anchor;
                }
                path.pop();
            }
        }
        self.note(if is_deep {
            Flaw::too_long(last, PATH_LENGTH_MAX).at(path.len())
        } else {
            Flaw::issuer_unknown(last).at(path.len())
        });
        None
    }

    /// Whether a certificate whose issuer has the right name signed another.
    fn is_issued(&mut self, certificate: &Certificate, issuer: &Certificate, depth: usize) -> bool {
        let Some(left) = self.signatures_left.checked_sub(1) else {
            self.note(Flaw::too_much_work(SIGNATURES_MAX));
            return false;
        };
        self.signatures_left = left;
        match certificate.is_signed_by(issuer) {
            Ok(true) => true,
            Ok(false) => {
                self.note(Flaw::signature_invalid(certificate, issuer).at(depth));
                false
            }
            Err(unsupported) => {
                self.note(Flaw::signature_refused(certificate, &unsupported).at(depth));
                false
            }
        }
    }

    /// Keeps the flaw of the path that came closest.
    fn note(&mut self, flaw: Flaw) {
        let is_closer = self
            .closest
            .as_ref()
            .is_none_or(|closest| flaw.closeness() > closest.closeness());
        if is_closer {
            self.closest = Some(flaw);
        }
    }
}

/// Those who may have issued a certificate by their name, the ones whose key id fits first. Names are compared byte for byte, as
/// issuers must write them (RFC 5280 4.1.2.4).
fn by_likelihood<'a, T: 'a>(
    certificate: &Certificate,
    candidates: impl Iterator<Item = &'a T>,
    certificate_of: impl Fn(&'a T) -> &'a Certificate,
) -> Vec<&'a T> {
    let wanted = certificate.extensions.authority_key_id.as_deref();
    let mut named: Vec<&T> = candidates
        .filter(|candidate| certificate_of(candidate).subject_der() == certificate.issuer_der())
        .collect();
    named.sort_by_key(|candidate| {
        let own = certificate_of(candidate).extensions.subject_key_id.as_deref();
        !(wanted.is_some() && own == wanted)
    });
    named
}
