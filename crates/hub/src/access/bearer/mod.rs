//! Bearer tokens of `OpenID` Connect issuers, Entra ID among them (service-rest.md 2.2, RFC 7519, RFC 9068).
//!
//! A token is believed for the signature of an issuer that the hub trusts and for nothing else: no key, address or certificate in
//! a token is looked at. Reading the keys of an issuer is the one thing that takes time; a front end lets it happen
//! ([`Bearers::prepare`]) before it asks for the decision ([`Bearers::verify`]), which takes none. What was verified is remembered
//! by the SHA-256 of the token, so that a token costs its signature once.

mod cache;
mod claims;
mod issuer;
mod jwk;
mod jws;
mod keys;

use std::sync::Arc;

use crate::clock::Clock;
use crate::fetch::Fetch;
use crate::limits::{Limit, Limits};

use super::refusal::{Reason, Refusal, Subject};
use super::roles::Directory;

use cache::Cache;
use claims::Claims;
use jws::Jws;

pub(super) use cache::Verified;
pub use claims::Principal;
pub use issuer::{DEFAULT_AUDIENCES, Issuer, KeySource, TrustedIssuer};
pub use jwk::check_key_set;

/// Checks bearer tokens for one hub.
pub struct Bearers {
    directory: Arc<Directory>,
    cache: Cache,
    fetch: Arc<dyn Fetch>,
    clock: Arc<dyn Clock>,
    limits: Arc<Limits>,
}

impl Bearers {
    /// Trusts the issuers of a directory.
    pub fn new(
        directory: Arc<Directory>,
        fetch: Arc<dyn Fetch>,
        clock: Arc<dyn Clock>,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            directory,
            cache: Cache::default(),
            fetch,
            clock,
            limits,
        }
    }

    /// The issuers, roles and assignments.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Reads the keys of a token's issuer when they are not there, too old, or lack the one that the token names. However many
    /// tokens ask for it, one issuer is read at most once in `issuer_keys_pause_secs`.
    pub async fn prepare(&self, token: &str) {
        let token = body_of(token);
        if self
            .cache
            .get(&cache::digest(token))
            .is_some_and(|known| known.issuer.has_fresh_keys(&*self.clock, &self.limits))
        {
            return;
        }
        let Ok((jws, claims)) = self.read(token) else {
            return;
        };
        let Some(issuer) = self.directory.issuer_of(&claims.issuer) else {
            return;
        };
        if !issuer.has_key_for(&jws) || !issuer.has_fresh_keys(&*self.clock, &self.limits) {
            issuer.refresh(&*self.fetch, &*self.clock, &self.limits).await;
        }
    }

    /// Whom a token speaks of, as far as the keys that are there can tell. Give the text with or without `Bearer`.
    pub(super) fn verify(&self, token: &str) -> Result<Arc<Verified>, Refusal> {
        let token = body_of(token);
        let digest = cache::digest(token);
        if let Some(known) = self.cache.get(&digest)
            && self.stands(&known)
        {
            self.check_times(&known)?;
            return Ok(known);
        }
        let verified = Arc::new(self.verify_anew(token)?);
        let max = self.limits.size(Limit::VerifiedTokensMax);
        self.cache
            .put(digest, Arc::clone(&verified), self.clock.now(), max);
        Ok(verified)
    }

    /// Whether a token that was taken is still good: its issuer trusted as it was, its key still one of the issuer's, its time
    /// not over.
    pub(super) fn recheck(&self, verified: &Verified) -> Result<(), Refusal> {
        if !self.stands(verified) {
            return Err(Refusal::new(
                Reason::TokenIssuerClosed,
                verified.principal.subject(),
            ));
        }
        self.check_times(verified)
    }

    fn stands(&self, verified: &Verified) -> bool {
        self.directory.trusts(&verified.issuer)
            && verified
                .issuer
                .still_has(&verified.key, &*self.clock, &self.limits)
    }

    fn read<'t>(&self, token: &'t str) -> Result<(Jws<'t>, Claims), Refusal> {
        self.limits
            .check_len(Limit::BearerTokenBytesMax, token.len())
            .map_err(|exceeded| malformed(&exceeded.to_string()))?;
        let jws = Jws::parse(token).map_err(|invalid| malformed(invalid.0))?;
        let claims = Claims::parse(jws.payload()).map_err(|invalid| malformed(invalid.0))?;
        Ok((jws, claims))
    }

    fn verify_anew(&self, token: &str) -> Result<Verified, Refusal> {
        let (jws, claims) = self.read(token)?;
        let issuer = self
            .directory
            .issuer_of(&claims.issuer)
            .ok_or_else(|| Refusal::new(Reason::TokenIssuerUnknown, Subject::Peer).finding(&claims.issuer))?;
        let key = issuer.key_for(&jws, &*self.clock, &self.limits)?;
        if !key.verifies(&jws) {
            return Err(Refusal::new(Reason::BearerSignature, Subject::Peer).finding(&claims.issuer));
        }
        // From here on the issuer itself speaks, so the principal may be named.
        let principal = claims.principal(&issuer.issuer().name);
        let subject = principal.subject();
        let config = issuer.issuer();
        if !claims
            .audiences
            .iter()
            .any(|found| config.audiences.contains(found))
        {
            return Err(Refusal::new(Reason::AudienceForeign, subject)
                .finding(&claims.audiences.join(", "))
                .expecting(&config.audiences.join(" or ")));
        }
        if let Some(tenant) = &config.tenant
            && claims.tenant.as_ref() != Some(tenant)
        {
            return Err(Refusal::new(Reason::TenantForeign, subject)
                .finding(claims.tenant.as_deref().unwrap_or("no tenant"))
                .expecting(tenant));
        }
        let verified = Verified::new(principal, claims.expires, claims.not_before, &key, issuer);
        self.check_times(&verified)?;
        Ok(verified)
    }

    fn check_times(&self, verified: &Verified) -> Result<(), Refusal> {
        let now = self.clock.now();
        let skew = verified.issuer.issuer().clock_skew;
        if now >= verified.expires.plus(skew) {
            let ago = now.since(verified.expires).as_secs().to_string();
            return Err(Refusal::new(Reason::TokenExpired, verified.principal.subject()).finding(&ago));
        }
        if now.plus(skew) < verified.not_before {
            let ahead = verified.not_before.since(now).as_secs().to_string();
            return Err(Refusal::new(Reason::TokenEarly, verified.principal.subject()).finding(&ahead));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Bearers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bearers")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// Whether a text is a bearer token and no shared access signature (amqp.md 2.1): the body decides, not the declared type.
pub(super) fn is_bearer(text: &str) -> bool {
    match text.split_once(' ') {
        Some((scheme, _)) => scheme.eq_ignore_ascii_case("bearer"),
        None => !text.contains('=') && text.split('.').count() == 3,
    }
}

fn body_of(text: &str) -> &str {
    text.split_once(' ').map_or(text, |(_, body)| body.trim_start())
}

fn malformed(found: &str) -> Refusal {
    Refusal::new(Reason::TokenMalformed, Subject::Peer)
        .finding(found)
        .expecting("a signed JSON Web Token")
}

/// Entry point of the fuzz target: reads a token and says how it reads, under any key set.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(token: &str, key_set: &[u8]) {
    let keys = keys::KeySet::parse(key_set);
    let Ok(jws) = Jws::parse(body_of(token)) else {
        return;
    };
    let _ = Claims::parse(jws.payload());
    if let Ok(keys) = keys {
        for key in keys.iter() {
            // Nobody signs what a fuzzer makes up.
            assert!(!key.verifies(&jws));
        }
    }
}
