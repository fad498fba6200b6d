//! Logins with a certificate (device-mqtt-https.md 2.4).
//!
//! The TLS handshake proved that the peer holds the key of the leaf; here is decided whom the leaf speaks for. By thumbprint: it is
//! one of the two that are registered, and valid now; who issued it does not matter. By CA: a chain to a verified CA of the hub, and
//! the common name is the identity.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Timestamp;
use crate::identity::{Authentication, IdentityId, Thumbprint};
use crate::trust::Certificate;
use crate::trust::chain::{self, Flaw, Kind};
use crate::trust::revocation::{Doubt, Revoked, Watch};

use super::credential::Credential;
use super::gate::{Gate, Registered};
use super::profile::HubProfile;
use super::proof::{AuthKind, AuthMethod, AuthScope, Authenticated, Basis};
use super::refusal::{Reason, Refusal, Step};
use super::trail::Trail;

/// The certificates that a login stood on.
pub(super) struct Presented {
    /// DER, leaf first; the CA of the hub last if it was asked for.
    path: Vec<Vec<u8>>,
    /// When the leaf expires.
    leaf_expires: Timestamp,
    /// What responders know of it: they are asked again for as long as somebody holds it.
    watched: Mutex<Vec<Arc<Watch>>>,
    /// What is doubtful about it, although it was let in.
    doubt: Option<Doubt>,
}

impl Presented {
    /// When the leaf expires.
    pub(super) const fn leaf_expires(&self) -> Timestamp {
        self.leaf_expires
    }

    pub(super) fn doubt(&self) -> Option<&Doubt> {
        self.doubt.as_ref()
    }

    fn path(&self) -> Vec<&[u8]> {
        self.path.iter().map(Vec::as_slice).collect()
    }
}

impl Gate {
    /// Whether the certificates of a peer speak for an identity that logs in with them.
    pub(super) async fn authenticate_certificate(
        &self,
        hub: &HubProfile,
        identity: &IdentityId,
        registered: &Registered,
        credential: &Credential<'_>,
        trail: &mut Trail,
    ) -> Result<Authenticated, Refusal> {
        let Some((leaf, others)) = credential.certificates.split_first() else {
            let reason = match (&registered.authentication, credential.token) {
                (Authentication::None, _) => Reason::CredentialUnset,
                (_, Some(_)) => Reason::CertificateExpected,
                (_, None) => {
                    return Err(
                        Refusal::of(identity, Reason::CredentialMissing).expecting("a client certificate")
                    );
                }
            };
            return Err(Refusal::of(identity, reason));
        };
        let leaf =
            Certificate::parse(leaf).map_err(|error| refusal_of(identity, &Flaw::malformed(&error)))?;
        let path = match &registered.authentication {
            Authentication::SelfSigned { primary, secondary } => {
                check_thumbprint(identity, &leaf, [primary, secondary], trail)?;
                self.check_validity(identity, &leaf, trail)?;
                vec![leaf.der().to_vec()]
            }
            Authentication::CertificateAuthority => self.check_chain(identity, &leaf, others, trail)?,
            Authentication::Sas { .. } | Authentication::SealedSas(_) => {
                return Err(Refusal::of(identity, Reason::TokenExpected));
            }
            Authentication::None => return Err(Refusal::of(identity, Reason::CredentialUnset)),
        };
        let presented = Presented {
            path,
            leaf_expires: leaf.not_after(),
            watched: Mutex::default(),
            doubt: None,
        };
        let presented = self.check_revocation(identity, presented, trail).await?;
        let scope = match identity.module {
            None => AuthScope::Device,
            Some(_) => AuthScope::Module,
        };
        Ok(Authenticated {
            hub: hub.name.clone(),
            identity: identity.clone(),
            generation: registered.generation,
            method: AuthMethod {
                scope,
                kind: AuthKind::X509,
            },
            // What expires while a connection is open leaves it open (docs/decisions/0010).
            expires: None,
            basis: Basis::Certificate(Arc::new(presented)),
            admitted: None,
        })
    }

    /// Whether an open connection may go on that stands on a certificate: the identity still takes it, its CA is still trusted, and
    /// nothing of it was revoked.
    pub(super) fn recheck_certificate(
        &self,
        identity: &IdentityId,
        registered: &Registered,
        presented: &Presented,
    ) -> Result<(), Refusal> {
        let malformed = |error| refusal_of(identity, &Flaw::malformed(&error));
        match &registered.authentication {
            Authentication::SelfSigned { primary, secondary } => {
                let leaf = presented.path.first().map_or(&[][..], Vec::as_slice);
                let leaf = Certificate::parse(leaf).map_err(malformed)?;
                check_thumbprint(identity, &leaf, [primary, secondary], &mut Trail::silent())?;
            }
            Authentication::CertificateAuthority => {
                let anchor = presented.path.last().filter(|_| presented.path.len() > 1);
                let held = self.trust.authorities.held();
                let is_held = anchor.is_some_and(|anchor| {
                    let mut verified = held.values().filter(|authority| authority.is_verified());
                    verified.any(|authority| authority.certificate().der() == anchor.as_slice())
                });
                if !is_held {
                    return Err(Refusal::of(identity, Reason::AuthorityWithdrawn));
                }
            }
            Authentication::Sas { .. } | Authentication::SealedSas(_) => {
                return Err(Refusal::of(identity, Reason::TokenExpected));
            }
            Authentication::None => return Err(Refusal::of(identity, Reason::CredentialUnset)),
        }
        let watched = self.trust.revocation.stands(&presented.path());
        let watched = watched.map_err(|revoked| refusal_of_revoked(identity, &revoked))?;
        *presented.watched.lock().unwrap_or_else(PoisonError::into_inner) = watched;
        Ok(())
    }

    fn check_validity(
        &self,
        identity: &IdentityId,
        leaf: &Certificate,
        trail: &mut Trail,
    ) -> Result<(), Refusal> {
        let now = self.clock.now();
        chain::check_validity(leaf, now).map_err(|flaw| refusal_of(identity, &flaw))?;
        trail.passed(Step::Certificate, "Is the certificate valid now?", || {
            let found = format!("valid from {} to {}", leaf.not_before(), leaf.not_after());
            (format!("validity at {now}"), found)
        });
        Ok(())
    }

    /// The path to a verified CA, and the common name.
    fn check_chain(
        &self,
        identity: &IdentityId,
        leaf: &Certificate,
        others: &[Vec<u8>],
        trail: &mut Trail,
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        let held = self.trust.authorities.held();
        let path = chain::build(leaf, others, &held, self.clock.now())
            .map_err(|flaw| refusal_of(identity, &flaw))?;
        trail.passed(
            Step::Certificate,
            "Does the chain hold up to a verified CA of the hub?",
            || {
                let verified = held.values().filter(|authority| authority.is_verified());
                let expected = format!("one of {} verified CA certificates", verified.count());
                (expected, path.shown())
            },
        );
        let expected = identity.to_string();
        if leaf.common_name() != Some(expected.as_str()) {
            return Err(Refusal::of(identity, Reason::CommonNameMismatch)
                .expecting(&format!("CN={expected}"))
                .finding(leaf.subject()));
        }
        trail.passed(Step::Certificate, "Is the common name the identity?", || {
            (format!("CN={expected}"), leaf.subject().to_owned())
        });
        let mut ders: Vec<Vec<u8>> = path.sent.iter().map(|sent| sent.der().to_vec()).collect();
        ders.push(path.anchor.certificate().der().to_vec());
        Ok(ders)
    }

    /// Whether nothing of a path is revoked. Responders are asked where the operator wants that; nobody else is waited for.
    async fn check_revocation(
        &self,
        identity: &IdentityId,
        mut presented: Presented,
        trail: &mut Trail,
    ) -> Result<Presented, Refusal> {
        let decided = self.trust.revocation.decide(&presented.path()).await;
        let (watched, doubt) = decided.map_err(|revoked| refusal_of_revoked(identity, &revoked))?;
        trail.passed(Step::Certificate, "Is nothing of it revoked?", || {
            let expected =
                "no block, no entry of a revocation list, no answer of a responder against it".to_owned();
            let found = format!("none for {} certificates", presented.path.len());
            let found = match (&doubt, watched.len()) {
                (Some(doubt), _) => format!("{found}; {doubt}"),
                (None, 0) => found,
                (None, count) => format!("{found}; responders know {count} of them"),
            };
            (expected, found)
        });
        presented.watched = Mutex::new(watched);
        presented.doubt = doubt;
        Ok(presented)
    }
}

fn refusal_of_revoked(identity: &IdentityId, revoked: &Revoked) -> Refusal {
    let reason = if revoked.cause.is_passing() {
        Reason::CertificateStatusUnknown
    } else {
        Reason::CertificateRevoked
    };
    Refusal::of(identity, reason).finding(&revoked.to_string())
}

/// Whether the leaf is one of those that are registered.
fn check_thumbprint(
    identity: &IdentityId,
    leaf: &Certificate,
    registered: [&Option<Thumbprint>; 2],
    trail: &mut Trail,
) -> Result<(), Refusal> {
    // Both are compared in any case, so that time does not tell which one fits.
    let matches = registered.map(|thumbprint| {
        thumbprint
            .as_ref()
            .is_some_and(|thumbprint| thumbprint.is_of(leaf.der()))
    });
    let expected = || {
        let [primary, secondary] =
            registered.map(|thumbprint| thumbprint.as_ref().map_or("none", Thumbprint::as_str));
        format!("PrimaryThumbprint={primary}, SecondaryThumbprint={secondary}")
    };
    let found = || {
        format!(
            "SHA1Hash={}, SHA2Hash={}",
            leaf.sha1_thumbprint(),
            leaf.sha256_thumbprint()
        )
    };
    if matches == [false, false] {
        return Err(Refusal::of(identity, Reason::ThumbprintMismatch)
            .expecting(&expected())
            .finding(&found()));
    }
    trail.passed(
        Step::Certificate,
        "Is the thumbprint one of those registered?",
        || (expected(), found()),
    );
    Ok(())
}

fn refusal_of(identity: &IdentityId, flaw: &Flaw) -> Refusal {
    let reason = match flaw.kind {
        Kind::Malformed => Reason::CertificateMalformed,
        Kind::IssuerUnknown => Reason::IssuerUnknown,
        Kind::TooLong | Kind::TooMuchWork => Reason::ChainTooLong,
        Kind::SignatureInvalid => Reason::CertificateSignatureInvalid,
        Kind::SignatureRefused => Reason::CertificateSignatureRefused,
        Kind::AuthorityUnverified => Reason::AuthorityUnverified,
        Kind::AuthorityExpired => Reason::AuthorityExpired,
        Kind::CriticalExtension => Reason::CriticalExtensionUnknown,
        Kind::NameForbidden => Reason::CertificateNameForbidden,
        Kind::PathLength => Reason::PathLengthExceeded,
        Kind::KeyUsage => Reason::KeyUsageMissing,
        Kind::NotAuthority => Reason::IssuerNotAuthority,
        Kind::NotYetValid => Reason::CertificateNotYetValid,
        Kind::Expired => Reason::CertificateExpired,
    };
    Refusal::of(identity, reason)
        .expecting(&flaw.expected)
        .finding(&flaw.found)
}
