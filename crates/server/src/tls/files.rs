//! The files of the certificates: read at the start, and again when they change or when the server is told to.
//!
//! A pair of files is taken as a whole or not at all. What cannot be used, has expired, or does not name its hubs any more is refused
//! with its reason, and what was in use stays so; other pairs are not held up by it. Open connections are not touched.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hub::clock::Timestamp;

use super::certificates::{Certificates, Table};
use super::identity::{CertificateError, Identity, KeyKind};
use crate::config::{Config, Pair, pair_problems};

/// The certificates of a server and where they come from.
#[derive(Debug)]
pub(crate) struct CertificateFiles {
    certificates: Arc<Certificates>,
    slots: Mutex<Vec<Slot>>,
    loaded: AtomicU64,
    refused: AtomicU64,
}

/// What is told of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateStatus {
    /// The hub whose own it is; none of the server's.
    pub(crate) hub: Option<String>,
    /// Its file.
    pub(crate) file: PathBuf,
    /// When it expires, if that is understood.
    pub(crate) expires: Option<Timestamp>,
    /// What kind of key it has.
    pub(crate) key_kind: KeyKind,
    /// Why what is in the files now is not what is in use.
    pub(crate) problem: Option<String>,
}

/// A pair of files.
#[derive(Debug)]
struct Slot {
    hub: Option<String>,
    // Hubs and their host names that the certificate must name.
    host_names: Vec<(String, String)>,
    pair: Pair,
    identity: Identity,
    // The files as they were last judged, and as they were seen last.
    judged: Stamps,
    seen: Stamps,
    problem: Option<String>,
}

/// Of certificate and key.
type Stamps = [Option<Stamp>; 2];

/// Changes when a file is replaced or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

impl CertificateFiles {
    /// Reads all files.
    ///
    /// # Errors
    /// When one cannot be used.
    pub(crate) fn open(config: &Config) -> Result<Self, CertificateError> {
        let mut slots = Vec::new();
        for (hub, host_names, pair) in config.pairs() {
            let seen = stamps(&pair);
            slots.push(Slot {
                hub: hub.map(str::to_owned),
                host_names,
                identity: Identity::load(&pair.certificate, &pair.key)?,
                pair,
                judged: seen,
                seen,
                problem: None,
            });
        }
        Ok(Self {
            certificates: Arc::new(Certificates::new(table(&slots))),
            slots: Mutex::new(slots),
            loaded: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// What handshakes use.
    pub(crate) fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// Takes what has changed since the last look and does not change any more: somebody may be writing just now. Blocks on the disk.
    pub(crate) fn look(&self, now: Timestamp) {
        self.take(now, |slot, before| {
            slot.seen == before && slot.seen != slot.judged
        });
    }

    /// Reads everything again at once. Blocks on the disk.
    pub(crate) fn reload(&self, now: Timestamp) {
        self.take(now, |_, _| true);
    }

    fn take(&self, now: Timestamp, is_due: impl Fn(&Slot, Stamps) -> bool) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut has_changed = false;
        for slot in slots.iter_mut() {
            let before = std::mem::replace(&mut slot.seen, stamps(&slot.pair));
            if is_due(slot, before) {
                has_changed |= self.take_pair(slot, now);
            }
        }
        if has_changed {
            self.certificates.replace(table(&slots));
        }
    }

    /// Whether the pair was taken.
    fn take_pair(&self, slot: &mut Slot, now: Timestamp) -> bool {
        let file = slot.pair.certificate.display().to_string();
        let hub = slot.hub.as_deref().unwrap_or("-");
        slot.judged = slot.seen;
        let read = Identity::load(&slot.pair.certificate, &slot.pair.key)
            .map_err(|error| error.to_string())
            .and_then(|identity| {
                let problems = pair_problems(&identity, &slot.pair.certificate, &slot.host_names, now);
                if problems.is_empty() {
                    Ok(identity)
                } else {
                    Err(problems.join("; "))
                }
            });
        match read {
            Ok(identity) => {
                self.loaded.fetch_add(1, Ordering::Relaxed);
                let expires = identity.expires().map(|expires| expires.to_string());
                let expires = expires.as_deref().unwrap_or("-");
                tracing::info!(
                    file,
                    hub,
                    expires,
                    "the certificate was read again; the next handshakes use it"
                );
                slot.identity = identity;
                slot.problem = None;
                true
            }
            Err(problem) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    file,
                    hub,
                    problem,
                    "the changed certificate is not used, the one before stays in use. Mend the files: they are read again when they change"
                );
                slot.problem = Some(problem);
                false
            }
        }
    }

    /// What is in use, the server's own first.
    pub(crate) fn status(&self) -> Vec<CertificateStatus> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let status = slots.iter().map(|slot| CertificateStatus {
            hub: slot.hub.clone(),
            file: slot.pair.certificate.clone(),
            expires: slot.identity.expires(),
            key_kind: slot.identity.key_kind(),
            problem: slot.problem.clone(),
        });
        status.collect()
    }

    /// What a hub shows: its own, or those of the server.
    pub(crate) fn of_hub(&self, hub: &str) -> Vec<CertificateStatus> {
        let all = self.status();
        let has_own = all.iter().any(|status| status.hub.as_deref() == Some(hub));
        let owner = has_own.then_some(hub);
        all.into_iter()
            .filter(|status| status.hub.as_deref() == owner)
            .collect()
    }

    /// How many changed pairs were taken, and how many refused.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (
            self.loaded.load(Ordering::Relaxed),
            self.refused.load(Ordering::Relaxed),
        )
    }
}

fn stamps(pair: &Pair) -> Stamps {
    [Stamp::of(&pair.certificate), Stamp::of(&pair.key)]
}

/// Slots of one hub stand together, the server's own first.
fn table(slots: &[Slot]) -> Table {
    let own = |hub: &Option<String>| {
        let of_hub = slots.iter().filter(|slot| slot.hub == *hub);
        of_hub.map(|slot| slot.identity.clone()).collect::<Vec<_>>()
    };
    let mut table = Table::new(own(&None));
    let mut last = None;
    for slot in slots.iter().filter(|slot| slot.hub.is_some()) {
        if last == Some(&slot.hub) {
            continue;
        }
        last = Some(&slot.hub);
        let names: Vec<String> = slot.host_names.iter().map(|(_, name)| name.clone()).collect();
        table.add(&names, own(&slot.hub));
    }
    table
}

#[cfg(test)]
mod tests;
