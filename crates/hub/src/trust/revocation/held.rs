//! What a hub knows in memory, and the decision over a path.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clock::Timestamp;

use super::block::Blocks;
use super::certificate::Certificate;
use super::definition::Definition;
use super::list::RevocationList;
use super::name::{hex, shown};
use super::revoked::{Cause, Missing, Revoked, Since};

/// Everything that a check looks at.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) blocks: Blocks,
    pub(super) lists: Lists,
    /// Whether every certificate below an anchor must have a known status.
    pub(super) requires_status: bool,
}

/// The lists of a hub, by the name of their issuer.
#[derive(Debug, Default)]
pub(super) struct Lists {
    by_issuer: HashMap<Arc<[u8]>, Vec<Arc<Listed>>>,
}

/// A list as a check sees it.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) definition: Arc<Definition>,
    /// The issuer's name, DER.
    pub(super) issuer: Arc<[u8]>,
    /// The same for people.
    pub(super) issuer_shown: Arc<str>,
    /// The issuer's key (`SubjectPublicKeyInfo`).
    pub(super) key: Arc<[u8]>,
    /// None was loaded yet.
    pub(super) list: Option<Arc<RevocationList>>,
}

impl Lists {
    pub(super) fn insert(&mut self, listed: Listed) {
        self.remove(listed.definition.name.as_str());
        let of_issuer = self.by_issuer.entry(Arc::clone(&listed.issuer)).or_default();
        of_issuer.push(Arc::new(listed));
    }

    pub(super) fn remove(&mut self, name: &str) {
        for of_issuer in self.by_issuer.values_mut() {
            of_issuer.retain(|listed| listed.definition.name.as_str() != name);
        }
        self.by_issuer.retain(|_, of_issuer| !of_issuer.is_empty());
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<Listed>> {
        self.all().find(|listed| listed.definition.name.as_str() == name)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Listed>> {
        self.by_issuer.values().flatten()
    }

    /// The lists that speak of a certificate: of its issuer's name, and of its key where the issuer is known.
    fn of<'l>(
        &'l self,
        certificate: &Certificate<'_>,
        issuer: Option<&'l Certificate<'_>>,
    ) -> impl Iterator<Item = &'l Arc<Listed>> {
        self.by_issuer
            .get(certificate.issuer)
            .into_iter()
            .flatten()
            .filter(move |listed| issuer.is_none_or(|issuer| issuer.key == &*listed.key))
    }
}

impl Held {
    /// Walks a path from the leaf up: each certificate with that of its issuer, the anchor without.
    pub(super) fn check(&self, path: &[&[u8]], now: Timestamp) -> Result<(), Revoked> {
        let mut path = path.iter();
        let mut next = path.next().map(|der| parse(der)).transpose()?;
        while let Some(certificate) = next {
            next = path.next().map(|der| parse(der)).transpose()?;
            self.check_one(&certificate, next.as_ref(), now)
                .map_err(|cause| refuse(&certificate, cause))?;
        }
        Ok(())
    }

    fn check_one(
        &self,
        certificate: &Certificate<'_>,
        issuer: Option<&Certificate<'_>>,
        now: Timestamp,
    ) -> Result<(), Cause> {
        if let Some(cause) = self.blocks.find(certificate) {
            return Err(cause);
        }
        // An anchor that signed itself is on nobody's list: the operator's trust is all it has.
        if issuer.is_none() && certificate.is_self_issued() {
            return Ok(());
        }
        let listing = self.look_up(certificate, issuer, now)?;
        // Nothing is demanded of an anchor: who put it there knows it.
        if issuer.is_some() && (self.requires_status || listing.is_required) {
            return listing.demand(certificate);
        }
        Ok(())
    }

    fn look_up<'l>(
        &'l self,
        certificate: &Certificate<'_>,
        issuer: Option<&'l Certificate<'_>>,
        now: Timestamp,
    ) -> Result<Listing<'l>, Cause> {
        let mut listing = Listing::default();
        for listed in self.lists.of(certificate, issuer) {
            listing.is_required |= listed.definition.is_required;
            let Some(list) = &listed.list else {
                listing.unloaded = Some(listed);
                continue;
            };
            // A list that is over still counts for what it lists.
            if let Some(entry) = list.find(certificate.serial) {
                return Err(Cause::Listed {
                    list: listed.definition.name.shared(),
                    issuer: Arc::clone(&listed.issuer_shown),
                    since: Since {
                        since: entry.since,
                        reason: entry.reason,
                    },
                });
            }
            match list.next_update {
                Some(next_update) if list.is_expired(now) => listing.expired = Some((listed, next_update)),
                _ => listing.is_covered |= list.covers(certificate),
            }
        }
        Ok(listing)
    }
}

/// What the lists of an issuer say of a certificate that is on none of them.
#[derive(Default)]
struct Listing<'l> {
    /// One of them asks for a current list.
    is_required: bool,
    /// A current one speaks of it.
    is_covered: bool,
    unloaded: Option<&'l Listed>,
    expired: Option<(&'l Listed, Timestamp)>,
}

impl Listing<'_> {
    /// The status is known when all lists of the issuer are current and one of them speaks of the certificate: the certificates of
    /// an issuer may be spread over several lists.
    fn demand(&self, certificate: &Certificate<'_>) -> Result<(), Cause> {
        let missing = match (self.unloaded, self.expired) {
            (Some(listed), _) => Missing::List(listed.definition.name.shared()),
            (None, Some((listed, since))) => Missing::Expired {
                list: listed.definition.name.shared(),
                since,
            },
            (None, None) if self.is_covered => return Ok(()),
            (None, None) => Missing::Nothing,
        };
        Err(Cause::Unknown {
            issuer: shown(certificate.issuer).into(),
            missing,
        })
    }
}

fn parse(der: &[u8]) -> Result<Certificate<'_>, Revoked> {
    Certificate::parse(der).map_err(|_| Revoked {
        subject: "(unreadable)".to_owned(),
        serial: "unknown".to_owned(),
        cause: Cause::Unreadable,
    })
}

fn refuse(certificate: &Certificate<'_>, cause: Cause) -> Revoked {
    Revoked {
        subject: shown(certificate.subject),
        serial: hex(certificate.serial),
        cause,
    }
}
