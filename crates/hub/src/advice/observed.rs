//! What logins show and nothing else does: how long tokens are good, when certificates expire, which policies are used.
//!
//! Kept in memory since the start of the server, for a bounded number of identities: those about which there is something to say. A
//! later login of the same identity that is in order takes the earlier one's place.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::access::{AuthKind, AuthScope, Authenticated};
use crate::clock::Timestamp;
use crate::limits::{Limit, Limits};

/// Identities that are kept of each kind.
const KEPT_MAX: usize = 10_000;

/// What one hub's logins showed.
#[derive(Debug)]
pub struct Observed {
    limits: Arc<Limits>,
    long_tokens: Kept,
    certificates: Kept,
    policies: RwLock<HashMap<Arc<str>, AtomicI64>>,
}

/// Identities, each with a moment that says why.
#[derive(Debug, Default)]
struct Kept(Mutex<BTreeMap<String, Timestamp>>);

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

    fn all(&self) -> Vec<(String, Timestamp)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .map(|(name, moment)| (name.clone(), *moment))
            .collect()
    }
}

impl Observed {
    /// Nothing seen yet.
    pub fn new(limits: Arc<Limits>) -> Self {
        Self {
            limits,
            long_tokens: Kept::default(),
            certificates: Kept::default(),
            policies: RwLock::default(),
        }
    }

    /// An identity logged in.
    pub fn login(&self, proof: &Authenticated, now: Timestamp) {
        let Some(expires) = proof.expires() else { return };
        let name = || proof.identity().to_string();
        let left = expires.since(now);
        let is_own = proof.method().scope != AuthScope::Hub;
        match proof.method().kind {
            AuthKind::Sas if is_own => {
                let is_long = left > self.limits.time(Limit::AdviseTokenLifeSecs);
                self.long_tokens.note(&name, is_long.then_some(expires));
            }
            AuthKind::Sas => {}
            AuthKind::X509 => {
                let is_near = left < self.limits.time(Limit::AdviseExpirySecs);
                self.certificates.note(&name, is_near.then_some(expires));
            }
        }
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

    /// When a policy's key was used last; never, if not since the start.
    pub fn policy_used(&self, name: &str) -> Timestamp {
        let policies = self.policies.read().unwrap_or_else(PoisonError::into_inner);
        policies.get(name).map_or(Timestamp::NEVER, |used| {
            Timestamp::from_micros(used.load(Ordering::Relaxed))
        })
    }

    /// Identities that logged in with tokens that are good for very long.
    pub fn long_tokens(&self) -> Vec<(String, Timestamp)> {
        self.long_tokens.all()
    }

    /// Identities that logged in with certificates that expired soon after, and when.
    pub fn certificates(&self) -> Vec<(String, Timestamp)> {
        self.certificates.all()
    }
}
