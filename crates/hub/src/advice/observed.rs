//! What logins show and nothing else does: how long tokens are good, when certificates expire, which policies and which versions of
//! TLS are used.
//!
//! Kept in memory, for a bounded number of identities: those about which there is something to say. A later login of the same
//! identity that is in order takes the earlier one's place. Written now and then ([`observed_stored`](super::observed_stored)), so
//! that a restart forgets little.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::access::{AuthKind, AuthScope, Authenticated};
use crate::clock::Timestamp;
use crate::limits::{Limit, Limits};
use crate::settings::TlsVersion;

/// Identities that are kept of each kind.
const KEPT_MAX: usize = 10_000;

/// What one hub's logins showed.
#[derive(Debug)]
pub struct Observed {
    limits: Arc<Limits>,
    pub(super) long_tokens: Kept,
    pub(super) long_policy_tokens: Kept,
    pub(super) certificates: Kept,
    /// When each policy was used last, or else since when it is known.
    pub(super) policies: RwLock<HashMap<Arc<str>, AtomicI64>>,
    /// When connections were looked at for the first time, in microseconds; 0 is not yet.
    pub(super) since: AtomicI64,
    /// When TLS 1.2 was used last, in microseconds; 0 is never.
    pub(super) old_tls: AtomicI64,
}

/// Names, each with a moment that says why.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<BTreeMap<String, Timestamp>>);

impl Kept {
    fn note(&self, name: &dyn Fn() -> String, moment: Option<Timestamp>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if moment.is_none() && kept.is_empty() {
            return;
        }
        let name = name();
        match moment {
            Some(moment) if kept.len() < KEPT_MAX || kept.contains_key(&name) => {
                kept.insert(name, moment);
            }
            Some(_) => {}
            None => {
                kept.remove(&name);
            }
        }
    }

    pub(super) fn all(&self) -> Vec<(String, Timestamp)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .map(|(name, moment)| (name.clone(), *moment))
            .collect()
    }

    /// Takes in what was kept before a restart; what was seen since is newer.
    pub(super) fn restore(&self, earlier: BTreeMap<String, i64>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, micros) in earlier.into_iter().take(KEPT_MAX) {
            kept.entry(name).or_insert(Timestamp::from_micros(micros));
        }
    }
}

impl Observed {
    /// Nothing seen yet.
    pub fn new(limits: Arc<Limits>) -> Self {
        Self {
            limits,
            long_tokens: Kept::default(),
            long_policy_tokens: Kept::default(),
            certificates: Kept::default(),
            policies: RwLock::default(),
            since: AtomicI64::new(0),
            old_tls: AtomicI64::new(0),
        }
    }

    /// An identity logged in.
    pub fn login(&self, proof: &Authenticated, now: Timestamp) {
        let name = || proof.identity().to_string();
        let is_own = proof.method().scope != AuthScope::Hub;
        match (proof.method().kind, proof.expires(), proof.certificate_expires()) {
            (AuthKind::Sas, Some(expires), _) if is_own => {
                self.long_tokens.note(&name, self.if_long(expires, now));
            }
            (AuthKind::X509, _, Some(expires)) => {
                let is_near = expires.since(now) < self.limits.time(Limit::AdviseExpirySecs);
                self.certificates.note(&name, is_near.then_some(expires));
            }
            _ => {}
        }
    }

    /// A token that a policy's key signed was taken.
    pub fn policy_token(&self, policy: &str, expires: Timestamp, now: Timestamp) {
        // A back end may have several tokens; the longest counts until it has expired.
        if let Some(expires) = self.if_long(expires, now) {
            self.long_policy_tokens.note(&|| policy.to_owned(), Some(expires));
        }
    }

    fn if_long(&self, expires: Timestamp, now: Timestamp) -> Option<Timestamp> {
        (expires.since(now) > self.limits.time(Limit::AdviseTokenLifeSecs)).then_some(expires)
    }

    /// A policy's key was used.
    pub fn policy(&self, name: &Arc<str>, now: Timestamp) {
        let micros = now.as_micros();
        let policies = self.policies.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = policies.get(name) {
            used.fetch_max(micros, Ordering::Relaxed);
            return;
        }
        drop(policies);
        let mut policies = self.policies.write().unwrap_or_else(PoisonError::into_inner);
        policies
            .entry(Arc::clone(name))
            .or_default()
            .fetch_max(micros, Ordering::Relaxed);
    }

    /// These policies are there, and no others: from now on it is counted that they are idle.
    pub fn policies_are(&self, names: &[Arc<str>], now: Timestamp) {
        let mut policies = self.policies.write().unwrap_or_else(PoisonError::into_inner);
        policies.retain(|name, _| names.contains(name));
        for name in names {
            let known = policies.entry(Arc::clone(name));
            known.or_insert_with(|| AtomicI64::new(now.as_micros()));
        }
    }

    /// A connection came with a version of TLS.
    pub fn tls(&self, version: TlsVersion, now: Timestamp) {
        let micros = now.as_micros();
        if version < TlsVersion::V1_3 {
            self.old_tls.fetch_max(micros, Ordering::Relaxed);
        }
        if self.since.load(Ordering::Relaxed) == 0 {
            self.since.store(micros, Ordering::Relaxed);
        }
    }

    /// Since when TLS 1.2 was not used; nothing while no connection was seen.
    pub fn old_tls_idle_since(&self) -> Option<Timestamp> {
        let since = self.since.load(Ordering::Relaxed);
        let last = self.old_tls.load(Ordering::Relaxed).max(since);
        (since != 0).then(|| Timestamp::from_micros(last))
    }

    /// When a policy's key was used last, or else since when the policy is known; nothing for one that is new.
    pub fn policy_used(&self, name: &str) -> Option<Timestamp> {
        let policies = self.policies.read().unwrap_or_else(PoisonError::into_inner);
        let used = policies.get(name)?;
        Some(Timestamp::from_micros(used.load(Ordering::Relaxed)))
    }

    /// Identities that logged in with tokens that are good for very long.
    pub fn long_tokens(&self) -> Vec<(String, Timestamp)> {
        self.long_tokens.all()
    }

    /// Policies of which such tokens were used.
    pub fn long_policy_tokens(&self) -> Vec<(String, Timestamp)> {
        self.long_policy_tokens.all()
    }

    /// Identities that logged in with certificates that expired soon after, and when.
    pub fn certificates(&self) -> Vec<(String, Timestamp)> {
        self.certificates.all()
    }
}
