//! Tokens that were verified, by their SHA-256. Only what passed is kept, so a stranger cannot fill it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest as hash};

use crate::access::operation::Operations;
use crate::clock::Timestamp;

use super::claims::Principal;
use super::issuer::TrustedIssuer;
use super::jwk::{Key, KeyPrint};

pub(super) type TokenDigest = [u8; 32];

pub(super) fn digest(token: &str) -> TokenDigest {
    let mut out = [0; 32];
    out.copy_from_slice(hash(&SHA256, token.as_bytes()).as_ref());
    out
}

/// A token whose signature, issuer, audience and tenant were found good. Its time is asked for anew.
#[derive(Debug)]
pub(in crate::access) struct Verified {
    pub(in crate::access) principal: Principal,
    pub(in crate::access) expires: Timestamp,
    pub(super) not_before: Timestamp,
    pub(super) issuer: Arc<TrustedIssuer>,
    pub(super) key: KeyPrint,
    // What the directory's generation allows the principal, worked out once.
    allowed: Mutex<Option<(u64, Operations)>>,
}

impl Verified {
    pub(super) fn new(
        principal: Principal,
        expires: Timestamp,
        not_before: Timestamp,
        key: &Key,
        issuer: Arc<TrustedIssuer>,
    ) -> Self {
        Self {
            principal,
            expires,
            not_before,
            issuer,
            key: key.print,
            allowed: Mutex::new(None),
        }
    }

    /// When what stands on the token must end.
    pub(in crate::access) fn ends_at(&self) -> Timestamp {
        self.expires.plus(self.issuer.issuer().clock_skew)
    }

    /// What a generation of the directory allows, worked out when it is not known yet.
    pub(in crate::access) fn allowed(
        &self,
        generation: u64,
        work_out: impl FnOnce(&Principal) -> Operations,
    ) -> Operations {
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        match *allowed {
            Some((known, operations)) if known == generation => operations,
            _ => {
                let operations = work_out(&self.principal);
                *allowed = Some((generation, operations));
                operations
            }
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Cache {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    by_digest: HashMap<TokenDigest, Arc<Verified>>,
    // Oldest first.
    order: VecDeque<TokenDigest>,
    // How many more are taken in for the oldest ones before it is looked again which of them are over.
    until_sweep: usize,
}

/// A full cache is searched for tokens that are over once for so many, as a part of its size, that are taken in: searched for each of
/// them, it would cost more than their signatures.
const SWEEPS: usize = 8;

impl Cache {
    pub(super) fn get(&self, digest: &TokenDigest) -> Option<Arc<Verified>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.by_digest.get(digest).cloned()
    }

    /// Keeps a token; when there are too many, the ones that are over go, and then the oldest.
    pub(super) fn put(&self, digest: TokenDigest, verified: Arc<Verified>, now: Timestamp, max: usize) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Held {
            by_digest,
            order,
            until_sweep,
        } = &mut *held;
        if by_digest.len() >= max {
            *until_sweep = until_sweep.saturating_sub(1);
        }
        if by_digest.len() >= max && *until_sweep == 0 {
            *until_sweep = max / SWEEPS;
            by_digest.retain(|_, known| known.expires > now);
            order.retain(|digest| by_digest.contains_key(digest));
        }
        while by_digest.len() >= max {
            let Some(oldest) = order.pop_front() else {
                return;
            };
            by_digest.remove(&oldest);
        }
        if by_digest.insert(digest, verified).is_none() {
            order.push_back(digest);
        }
    }
}
