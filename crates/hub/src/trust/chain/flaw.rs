//! Why a chain is worth nothing, in the words of an operator.

use crate::clock::Timestamp;

use super::super::authorities::Authority;
use super::super::certificate::{Certificate, Malformed};
use super::super::signature::Unsupported;

/// What kind of flaw. In the order of how close the path came to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    IssuerUnknown,
    Malformed,
    TooLong,
    SignatureInvalid,
    SignatureRefused,
    AuthorityUnverified,
    CriticalExtension,
    NameForbidden,
    PathLength,
    KeyUsage,
    NotAuthority,
    NotYetValid,
    Expired,
    AuthorityExpired,
    TooMuchWork,
}

/// A flaw: what was expected, what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) kind: Kind,
    pub(crate) expected: String,
    pub(crate) found: String,
    depth: usize,
}

impl Flaw {
    fn new(kind: Kind, expected: impl Into<String>, found: String) -> Self {
        Self {
            kind,
            expected: expected.into(),
            found,
            depth: 0,
        }
    }

    /// Says after how many certificates it was met.
    pub(super) const fn at(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// How close the path came to be taken.
    pub(super) const fn closeness(&self) -> (Kind, usize) {
        (self.kind, self.depth)
    }

    pub(crate) fn malformed(malformed: &Malformed) -> Self {
        Self::new(
            Kind::Malformed,
            "a certificate that can be read",
            malformed.to_string(),
        )
    }

    pub(super) fn issuer_unknown(last: &Certificate) -> Self {
        let found = if last.is_self_issued() {
            format!(
                "a chain that ends at '{}', which the hub does not know",
                last.subject()
            )
        } else {
            format!(
                "'{}', issued by '{}', which was neither sent nor is a CA certificate of the hub",
                last.subject(),
                last.issuer()
            )
        };
        Self::new(
            Kind::IssuerUnknown,
            "a chain to a verified CA certificate of the hub",
            found,
        )
    }

    pub(super) fn too_long(last: &Certificate, length_max: usize) -> Self {
        Self::new(
            Kind::TooLong,
            format!("a path of at most {length_max} certificates"),
            format!("a longer one over '{}'", last.subject()),
        )
    }

    pub(super) fn too_much_work(signatures_max: usize) -> Self {
        Self::new(
            Kind::TooMuchWork,
            format!("a chain that is settled by {signatures_max} signatures"),
            "one that needs more".to_owned(),
        )
    }

    pub(super) fn signature_invalid(certificate: &Certificate, issuer: &Certificate) -> Self {
        Self::new(
            Kind::SignatureInvalid,
            format!("a signature of the key of '{}'", issuer.subject()),
            format!("'{}' with another", certificate.subject()),
        )
    }

    pub(super) fn signature_refused(certificate: &Certificate, unsupported: &Unsupported) -> Self {
        Self::new(
            Kind::SignatureRefused,
            "RSA of 2048 bits or more, ECDSA on P-256, P-384 or P-521, or Ed25519, with SHA-2",
            format!("'{}' with {unsupported}", certificate.subject()),
        )
    }

    pub(super) fn authority_unverified(authority: &Authority) -> Self {
        Self::new(
            Kind::AuthorityUnverified,
            "a verified CA certificate",
            format!(
                "the CA certificate '{}', whose possession nobody has proved yet",
                authority.name()
            ),
        )
    }

    pub(super) fn authority_expired(authority: &Authority) -> Self {
        Self::new(
            Kind::AuthorityExpired,
            "a CA certificate that is valid now",
            format!(
                "the CA certificate '{}', valid until {}",
                authority.name(),
                authority.certificate().not_after()
            ),
        )
    }

    pub(crate) fn expired(certificate: &Certificate, now: Timestamp) -> Self {
        Self::new(
            Kind::Expired,
            format!("validity at {now}"),
            format!(
                "'{}', valid until {}",
                certificate.subject(),
                certificate.not_after()
            ),
        )
    }

    pub(crate) fn not_yet_valid(certificate: &Certificate, now: Timestamp) -> Self {
        Self::new(
            Kind::NotYetValid,
            format!("validity at {now}"),
            format!(
                "'{}', valid from {}",
                certificate.subject(),
                certificate.not_before()
            ),
        )
    }

    pub(super) fn not_authority(issuer: &Certificate) -> Self {
        Self::new(
            Kind::NotAuthority,
            "basic constraints with CA:TRUE on every issuer",
            format!("'{}' without", issuer.subject()),
        )
    }

    pub(super) fn key_usage(issuer: &Certificate) -> Self {
        Self::new(
            Kind::KeyUsage,
            "keyCertSign in the key usage of every issuer",
            format!("'{}' without", issuer.subject()),
        )
    }

    pub(super) fn path_length(issuer: &Certificate, allowed: u32, below: usize) -> Self {
        Self::new(
            Kind::PathLength,
            format!("at most {allowed} CAs below '{}'", issuer.subject()),
            format!("{below}"),
        )
    }

    pub(super) fn name_forbidden(issuer: &Certificate, certificate: &Certificate, why: &str) -> Self {
        Self::new(
            Kind::NameForbidden,
            format!("names within the constraints of '{}'", issuer.subject()),
            format!("'{}', where {why}", certificate.subject()),
        )
    }

    pub(super) fn critical_extension(certificate: &Certificate, oid: &str) -> Self {
        Self::new(
            Kind::CriticalExtension,
            "no critical extension that is not known here",
            format!("{oid} of '{}'", certificate.subject()),
        )
    }
}
