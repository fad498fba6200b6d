//! What a hub knows in memory, and the decision over a path.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clock::Timestamp;

use super::block::Blocks;
use super::certificate::Certificate;
use super::definition::Definition;
use super::list::RevocationList;
use super::name::{hex, shown};
use super::ocsp::{Demand, Doubt, Responders, Standing};
use super::revoked::{Cause, Missing, Revoked, Since};

/// Everything that a check looks at.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) blocks: Blocks,
    pub(super) lists: Lists,
    pub(super) responders: Responders,
    /// Whether every certificate below an anchor must have a known status.
    pub(super) requires_status: bool,
}

/// On whose behalf a path is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Somebody wants in.
    Login,
    /// Somebody is in already, or nobody was asked yet: what a responder was not asked about is asked about later.
    Again,
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
    /// Walks a path from the leaf up: each certificate with that of its issuer, the anchor without. Gives what is doubtful about the
    /// first certificate of which that can be said.
    pub(super) fn check(&self, path: &[&[u8]], now: Timestamp, look: Look) -> Result<Option<Doubt>, Revoked> {
        let mut doubt = None;
        let mut path = path.iter();
        let mut next = path.next().map(|der| parse(der)).transpose()?;
        while let Some(certificate) = next {
            next = path.next().map(|der| parse(der)).transpose()?;
            let checked = self.check_one(&certificate, next.as_ref(), now, look);
            let found = checked.map_err(|cause| refuse(&certificate, cause))?;
            doubt = doubt.or(found);
        }
        Ok(doubt)
    }

    /// Why the certificate of a responder is not to be believed any more, if it is blocked or on a list. Nothing is demanded of it.
    pub(super) fn revokes(&self, certificate: &Certificate<'_>, issuer: &Certificate<'_>) -> Option<String> {
        let listed = || {
            self.look_up(certificate, Some(issuer), Timestamp::default())
                .err()
        };
        self.blocks
            .find(certificate, false)
            .or_else(listed)
            .map(|cause| cause.to_string())
    }

    fn check_one(
        &self,
        certificate: &Certificate<'_>,
        issuer: Option<&Certificate<'_>>,
        now: Timestamp,
        look: Look,
    ) -> Result<Option<Doubt>, Cause> {
        if let Some(cause) = self.blocks.find(certificate, issuer.is_none()) {
            return Err(cause);
        }
        // An anchor that signed itself is on nobody's list: the operator's trust is all it has.
        if issuer.is_none() && certificate.is_self_issued() {
            return Ok(None);
        }
        let listing = self.look_up(certificate, issuer, now)?;
        let (is_answered, doubt) = self.ask(certificate, issuer, now, look)?;
        // Nothing is demanded of an anchor: who put it there knows it.
        let is_demanded = listing.is_required || (self.requires_status && !is_answered);
        if issuer.is_some() && is_demanded {
            listing.demand(certificate)?;
        }
        Ok(doubt)
    }

    /// Whether the answer of a responder is at hand that the certificate is good, or will be asked for; and what is doubtful when
    /// there is none and none is demanded.
    fn ask(
        &self,
        certificate: &Certificate<'_>,
        issuer: Option<&Certificate<'_>>,
        now: Timestamp,
        look: Look,
    ) -> Result<(bool, Option<Doubt>), Cause> {
        let Some((responder, standing, watch)) = self.responders.standing(certificate, issuer, now) else {
            return Ok((false, None));
        };
        let name = || responder.definition.name.shared();
        let why = match standing {
            Standing::Good => return Ok((true, None)),
            Standing::Revoked(since) => {
                return Err(Cause::Answered {
                    responder: name(),
                    issuer: Arc::clone(&responder.issuer_shown),
                    since,
                });
            }
            Standing::Pending if look == Look::Again => return Ok((true, None)),
            Standing::Pending => "it was not asked yet".into(),
            Standing::Unknown(why) => why,
        };
        if issuer.is_none() {
            return Ok((false, None));
        }
        if responder.definition.demand == Demand::Required {
            return Err(Cause::Unknown {
                issuer: Arc::clone(&responder.issuer_shown),
                missing: Missing::Answer {
                    responder: name(),
                    why,
                },
            });
        }
        let is_news = look == Look::Login && watch.is_some_and(|watch| watch.is_news());
        Ok((false, Some(Doubt::of(certificate, responder, why, is_news))))
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
