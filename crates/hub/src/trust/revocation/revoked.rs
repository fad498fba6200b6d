//! Why a certificate is not taken although its chain holds: for the operator, never for the peer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Timestamp;

use super::reason::Reason;

/// A certificate of a path is revoked, or its status is unknown where it must be known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the certificate {subject} (serial {serial}) {cause}")]
pub struct Revoked {
    /// Which certificate: its subject, short and safe for a log line.
    pub subject: String,
    /// Its serial number, hexadecimal digits.
    pub serial: String,
    /// By what.
    pub cause: Cause,
}

/// By what a certificate is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The operator blocked it.
    Blocked(Arc<str>, Since),
    /// The operator blocked the CA of this name, with everything under it.
    AuthorityBlocked(Arc<str>, Since),
    /// A revocation list holds it.
    Listed {
        /// The name under which the hub keeps the list.
        list: Arc<str>,
        /// Who issued the list.
        issuer: Arc<str>,
        /// Since when and why.
        since: Since,
    },
    /// The responder of its issuer says so.
    Answered {
        /// The name under which the hub keeps the responder.
        responder: Arc<str>,
        /// Whose responder it is.
        issuer: Arc<str>,
        /// Since when and why.
        since: Since,
    },
    /// The hub demands to know the status of certificates, and of this one it does not.
    Unknown {
        /// Who could say so.
        issuer: Arc<str>,
        /// What is missing.
        missing: Missing,
    },
    /// It cannot be read, so nothing is known of it.
    Unreadable,
}

/// Since when, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// Why the status of a certificate is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The hub has no list of the issuer that speaks of the certificate.
    Nothing,
    /// The list of this name was never loaded.
    List(Arc<str>),
    /// The list of this name has expired.
    Expired {
        /// Its name.
        list: Arc<str>,
        /// Since when.
        since: Timestamp,
    },
    /// The responder of this name gave no current answer.
    Answer {
        /// Its name.
        responder: Arc<str>,
        /// Why not.
        why: Arc<str>,
    },
}

/// Labels of the causes, in the order of their counts.
const LABELS: [&str; 6] = [
    "block",
    "authority_block",
    "list",
    "ocsp",
    "unknown",
    "unreadable",
];

/// Counts of refused paths.
#[derive(Debug, Default)]
pub(super) struct Refusals([AtomicU64; LABELS.len()]);

impl Refusals {
    pub(super) fn count(&self, cause: &Cause) {
        let found = LABELS
            .iter()
            .zip(&self.0)
            .find(|(label, _)| **label == cause.label());
        if let Some((_, count)) = found {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = LABELS.iter().zip(&self.0);
        counts.map(|(label, count)| (*label, count.load(Ordering::Relaxed)))
    }
}

impl Cause {
    /// Stable label of records and metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Blocked(..) => "block",
            Self::AuthorityBlocked(..) => "authority_block",
            Self::Listed { .. } => "list",
            Self::Answered { .. } => "ocsp",
            Self::Unknown { .. } => "unknown",
            Self::Unreadable => "unreadable",
        }
    }

    /// Whether this may pass without a change by anybody: a list or an answer is only missing for now.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "since {}, reason {}", self.since, self.reason)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked(id, since) => write!(
                f,
                "is blocked by entry {id} {since}; `ironhub revoke remove` lifts it"
            ),
            Self::AuthorityBlocked(authority, since) => {
                write!(f, "belongs to the blocked CA {authority}, {since}")
            }
            Self::Listed { list, issuer, since } => {
                write!(f, "is on the revocation list '{list}' of {issuer} {since}")
            }
            Self::Answered {
                responder,
                issuer,
                since,
            } => {
                write!(
                    f,
                    "is revoked {since}, as the OCSP responder '{responder}' of {issuer} says"
                )
            }
            Self::Unknown { issuer, missing } => {
                write!(
                    f,
                    "was issued by {issuer}, of which nothing current is known: {missing}"
                )
            }
            Self::Unreadable => f.write_str("cannot be read"),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str(
                "there is no revocation list of it (`ironhub crl add`), nor a responder that answers (`ironhub ocsp add`)",
            ),
            Self::List(list) => write!(f, "the revocation list '{list}' was never loaded"),
            Self::Expired { list, since } => {
                write!(f, "the revocation list '{list}' expired at {since}; refresh it")
            }
            Self::Answer { responder, why } => {
                write!(f, "the OCSP responder '{responder}' gave no answer: {why}")
            }
        }
    }
}
