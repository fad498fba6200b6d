//! An issuer of tokens that a hub trusts, and its keys: given once and for all, or read from the issuer when they are needed.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Deserialize;

use crate::access::refusal::{Reason, Refusal, Subject};
use crate::clock::Clock;
use crate::error::Error;
use crate::fetch::{Fetch, Wanted};
use crate::limits::{Limit, Limits};

use super::jwk::{Key, KeyPrint, check_key_set};
use super::jws::Jws;
use super::keys::KeySet;

/// Audiences that clients of Azure ask for; with a slash or without is not confirmed, so either does (service-rest.md 2.2).
pub const DEFAULT_AUDIENCES: [&str; 2] = ["https://iothubs.azure.net", "https://iothubs.azure.net/"];

/// Characters of a URL.
const URL_CHARS_MAX: usize = 2_048;

/// Where the keys of an issuer come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// The issuer's discovery document, at this URL, says where they are (`OpenID` Connect Discovery 1.0, 4).
    Discovery(String),
    /// A key set, at this URL.
    Url(String),
    /// A key set, as JSON: for servers that reach no other.
    Given(Arc<str>),
}

/// Which issuer is trusted, and for what tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The hub's own name for it.
    pub name: Arc<str>,
    /// The claim `iss` of its tokens, to the letter.
    pub issuer: String,
    /// Its keys.
    pub keys: KeySource,
    /// The claim `aud` must be, or hold, one of these.
    pub audiences: Vec<String>,
    /// The claim `tid` must be this.
    pub tenant: Option<String>,
    /// How far clocks may differ.
    pub clock_skew: Duration,
}

impl Issuer {
    /// Checks it.
    ///
    /// # Errors
    /// `ArgumentInvalid`, with what is wrong. Keys that travel without TLS could be anybody's, so only a loopback address may be
    /// `http`.
    pub fn check(&self) -> Result<(), Error> {
        if !super::super::roles::is_name(&self.name) {
            return Err(Error::argument(
                "The name of an issuer has 1 to 64 letters, digits and - _ . in ASCII",
            ));
        }
        if self.issuer.is_empty() || self.issuer.len() > URL_CHARS_MAX {
            return Err(Error::argument(
                "The field 'issuer' is the claim iss of its tokens, up to 2048 characters",
            ));
        }
        let is_short = |text: &String| (1..=URL_CHARS_MAX).contains(&text.len());
        if self.audiences.is_empty() || self.audiences.len() > 16 || !self.audiences.iter().all(is_short) {
            return Err(Error::argument(
                "The field 'audiences' has 1 to 16 audiences of up to 2048 characters",
            ));
        }
        match &self.keys {
            KeySource::Discovery(url) | KeySource::Url(url) => check_url(url),
            KeySource::Given(document) => check_key_set(document.as_bytes())
                .map(|_| ())
                .map_err(|wrong| Error::argument(format!("The key set cannot be used: {wrong}"))),
        }
    }
}

fn check_url(url: &str) -> Result<(), Error> {
    let is_fit = url.len() <= URL_CHARS_MAX && (url.starts_with("https://") || is_loopback(url));
    if is_fit {
        return Ok(());
    }
    Err(Error::argument(
        "The keys of an issuer are read over https; http is for a loopback address alone",
    ))
}

fn is_loopback(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split(':').next().unwrap_or_default(),
    };
    // A user name before an @ could hide another host.
    !authority.contains('@')
        && (host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback()))
}

/// A trusted issuer with its keys.
#[derive(Debug)]
pub struct TrustedIssuer {
    issuer: Issuer,
    keys: RwLock<Arc<Keys>>,
    // Held while keys are read; says when that was last tried.
    reading: tokio::sync::Mutex<Option<Duration>>,
}

#[derive(Debug, Default)]
struct Keys {
    set: KeySet,
    /// The clock's elapsed time when they were read; `None` before.
    read: Option<Duration>,
}

#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

impl TrustedIssuer {
    /// An issuer whose keys are known if they were given, and are not yet otherwise.
    pub fn new(issuer: Issuer) -> Self {
        let set = match &issuer.keys {
            KeySource::Given(document) => KeySet::parse(document.as_bytes()).unwrap_or_default(),
            KeySource::Discovery(_) | KeySource::Url(_) => KeySet::default(),
        };
        Self {
            issuer,
            keys: RwLock::new(Arc::new(Keys { set, read: None })),
            reading: tokio::sync::Mutex::new(None),
        }
    }

    /// Its description.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// How many keys are known.
    pub fn key_count(&self) -> usize {
        self.keys().set.iter().count()
    }

    pub(super) fn has_key_for(&self, jws: &Jws<'_>) -> bool {
        self.keys().set.key_for(jws).is_some()
    }

    /// Whether the keys need not be read again yet.
    pub(super) fn has_fresh_keys(&self, clock: &dyn Clock, limits: &Limits) -> bool {
        self.is_younger_than(Limit::IssuerKeysFreshSecs, clock, limits)
    }

    /// The key of a token.
    pub(super) fn key_for(
        &self,
        jws: &Jws<'_>,
        clock: &dyn Clock,
        limits: &Limits,
    ) -> Result<Arc<Key>, Refusal> {
        let refuse = |reason| Err(Refusal::new(reason, Subject::Peer).finding(&self.issuer.name));
        if !self.is_younger_than(Limit::IssuerKeysSecsMax, clock, limits) {
            return refuse(Reason::TokenIssuerUnavailable);
        }
        match self.keys().set.key_for(jws) {
            Some(key) => Ok(Arc::clone(key)),
            None => refuse(Reason::KeyUnknown),
        }
    }

    /// Whether a key is still one of the issuer's.
    pub(super) fn still_has(&self, key: &KeyPrint, clock: &dyn Clock, limits: &Limits) -> bool {
        self.is_younger_than(Limit::IssuerKeysSecsMax, clock, limits) && self.keys().set.has(key)
    }

    /// Reads the keys, unless that was tried a short while ago. Keys that cannot be read leave those that are there.
    pub(super) async fn refresh(&self, fetch: &dyn Fetch, clock: &dyn Clock, limits: &Limits) {
        if matches!(self.issuer.keys, KeySource::Given(_)) {
            return;
        }
        // Whoever waits here finds that the keys were read meanwhile.
        let mut tried = self.reading.lock().await;
        let now = clock.elapsed();
        let pause = limits.time(Limit::IssuerKeysPauseSecs);
        if tried.is_some_and(|tried| now.saturating_sub(tried) < pause) {
            limits.hit(Limit::IssuerKeysPauseSecs);
            return;
        }
        *tried = Some(now);
        match self.read(fetch, limits).await {
            Ok(set) => {
                let keys = Keys {
                    set,
                    read: Some(clock.elapsed()),
                };
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
            }
            Err(reason) => {
                tracing::warn!(issuer = %self.issuer.name, %reason, "the keys of an issuer of tokens cannot be read");
            }
        }
    }

    async fn read(&self, fetch: &dyn Fetch, limits: &Limits) -> Result<KeySet, String> {
        let bytes_max = limits.size(Limit::IssuerDocumentBytesMax);
        let get = async |url: &str| {
            let document = fetch.fetch(Wanted::get(url, bytes_max)).await;
            document.map_err(|error| error.to_string())
        };
        let url = match &self.issuer.keys {
            KeySource::Given(_) => return Err("they were given".to_owned()),
            KeySource::Url(url) => url.clone(),
            KeySource::Discovery(url) => {
                let document = get(url).await?;
                let found: Discovered = serde_json::from_slice(&document)
                    .map_err(|_| format!("{url} is no discovery document"))?;
                // Another issuer's document must not bring its keys (OpenID Connect Discovery 1.0, 4.3).
                if found.issuer != self.issuer.issuer {
                    return Err(format!(
                        "{url} speaks of another issuer than {}",
                        self.issuer.issuer
                    ));
                }
                check_url(&found.jwks_uri)
                    .map_err(|error| format!("the keys named by {url}: {}", error.message()))?;
                found.jwks_uri
            }
        };
        let document = get(&url).await?;
        let set = KeySet::parse(&document).map_err(|wrong| format!("{url} is no key set: {wrong}"))?;
        if set.iter().next().is_none() {
            return Err(format!("{url} has no key that signs with RSA, P-256 or P-384"));
        }
        Ok(set)
    }

    fn is_younger_than(&self, limit: Limit, clock: &dyn Clock, limits: &Limits) -> bool {
        if matches!(self.issuer.keys, KeySource::Given(_)) {
            return true;
        }
        let read = self.keys().read;
        read.is_some_and(|read| clock.elapsed().saturating_sub(read) < limits.time(limit))
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_travel_over_tls_or_stay_on_the_machine() {
        for good in [
            "https://login.example/keys",
            "http://localhost:3000/jwks",
            "http://127.0.0.1/jwks",
            "http://[::1]:80/jwks",
        ] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://login.example/keys",
            "http://localhost.example/keys",
            "http://localhost@login.example/keys",
            "http://127.0.0.1:x@login.example/keys",
            "file:///etc/keys",
            "",
        ] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }
}
