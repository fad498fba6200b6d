//! Seals again: documents from before sealing, and those sealed under a master key that is to go.
//!
//! Runs beside everything else, page by page, each page one batch under compare-and-set: whoever writes a record meanwhile
//! seals it by that, and wins. Passes follow each other until one finds nothing to do. Refused: stopping the server for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::access;
use crate::clock::Clock;
use crate::error::Error;
use crate::files;
use crate::identity;
use crate::store::{ApplyError, Collection, Document, Expect, Range, Store, StoreError, Write};
use crate::tenancy::HubName;

use super::ledger::{self, Ledger};
use super::{MasterKeyId, Vault};

/// Documents that are read, and at most written, at once.
const PAGE: usize = 256;

/// Passes that may be needed: more than two means that somebody goes on sealing under an old key.
const PASSES_MAX: usize = 8;

/// Documents that hold something sealed: where they lie, what their ids begin with, and how one is sealed again, `None` when it needs
/// nothing.
type Kind = (
    Collection,
    &'static str,
    fn(&Document, &Vault) -> Result<Option<Vec<u8>>, StoreError>,
);

/// Every kind there is.
const KINDS: [Kind; 4] = [
    (Collection::Hubs, files::SECRET_ID, files::reseal_key),
    (Collection::Policies, "", access::reseal_policy),
    (Collection::Devices, "", identity::reseal_device),
    (Collection::Modules, "", identity::reseal_module),
];

/// What has been done, in documents; counted up while it is.
#[derive(Debug, Default)]
pub struct Progress {
    looked_at: AtomicU64,
    sealed: AtomicU64,
    unreadable: AtomicU64,
}

impl Progress {
    /// Documents looked at, in all passes.
    pub fn looked_at(&self) -> u64 {
        self.looked_at.load(Ordering::Relaxed)
    }

    /// Documents sealed.
    pub fn sealed(&self) -> u64 {
        self.sealed.load(Ordering::Relaxed)
    }

    /// Documents that could not be read or opened, and stay as they are.
    pub fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }
}

/// That everything of a hub is sealed under one key.
#[derive(Debug)]
pub struct Done {
    hub: HubName,
    seen: Ledger,
    current: MasterKeyId,
}

impl Done {
    /// Whether keys had lain there in clear text: what the store has let go of may still show them.
    pub fn had_plain(&self) -> bool {
        self.seen.has_plain
    }
}

/// Seals again. One for the whole server.
pub struct Resealer {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
}

impl Resealer {
    /// A resealer over the seams.
    pub fn new(store: Arc<dyn Store>, vault: Arc<Vault>, clock: Arc<dyn Clock>) -> Self {
        Self { store, vault, clock }
    }

    /// Seals everything of a hub under the current key. Gives nothing when that is so already, or when some documents cannot be
    /// read, which are logged and counted.
    ///
    /// # Errors
    /// When the store fails; what was sealed stays so.
    pub async fn reseal(&self, hub: &HubName, progress: &Progress) -> Result<Option<Done>, Error> {
        let current = self.vault.current();
        let Some(seen) = ledger::read(&*self.store, hub).await? else {
            return Ok(None);
        };
        if seen.is_settled(current) {
            return Ok(None);
        }
        for _ in 0..PASSES_MAX {
            let (mut sealed, mut unreadable) = (0_u64, 0_u64);
            for kind in KINDS {
                let pass = self.pass(hub, kind, progress).await?;
                sealed = sealed.saturating_add(pass.0);
                unreadable = unreadable.saturating_add(pass.1);
            }
            if unreadable > 0 {
                return Ok(None);
            }
            if sealed == 0 {
                let hub = hub.clone();
                return Ok(Some(Done { hub, seen, current }));
            }
        }
        Err(Error::bug(format!(
            "documents of hub {hub} are sealed under an old master key again and again"
        )))
    }

    /// Strikes the keys that are not used any more off the ledger. False when a rotation came in between.
    pub async fn settle(&self, done: &Done) -> Result<bool, Error> {
        ledger::settle(&*self.store, &done.hub, &done.seen, done.current).await
    }

    /// How many documents of one kind were sealed, and how many could not be.
    async fn pass(
        &self,
        hub: &HubName,
        (collection, prefix, reseal): Kind,
        progress: &Progress,
    ) -> Result<(u64, u64), Error> {
        let mut range = Range {
            collection,
            hub: hub.clone(),
            prefix: prefix.to_owned(),
            after: None,
            limit: PAGE,
        };
        let (mut sealed, mut unreadable) = (0_u64, 0_u64);
        loop {
            let began = self.clock.elapsed();
            let page = self.store.scan(&range).await?;
            let mut writes = Vec::new();
            for document in &page {
                progress.looked_at.fetch_add(1, Ordering::Relaxed);
                match reseal(document, &self.vault) {
                    Ok(Some(body)) => writes.push(Write::Put {
                        key: document.key.clone(),
                        body: body.into(),
                        expect: Expect::Version(document.version),
                    }),
                    Ok(None) => {}
                    Err(error) => {
                        unreadable = unreadable.saturating_add(1);
                        progress.unreadable.fetch_add(1, Ordering::Relaxed);
                        tracing::error!(%hub, %error, "a record is left as it is: it cannot be sealed again");
                    }
                }
            }
            let count = self.apply(writes).await?;
            sealed = sealed.saturating_add(count);
            progress.sealed.fetch_add(count, Ordering::Relaxed);
            match page.last() {
                Some(last) if page.len() >= PAGE => range.after = Some(last.key.id.to_string()),
                _ => return Ok((sealed, unreadable)),
            }
            if count > 0 {
                // The disk is half free for those who wait for an answer.
                tokio::time::sleep(self.clock.elapsed().saturating_sub(began)).await;
            }
        }
    }

    /// Applies all writes but those that somebody else was faster with.
    async fn apply(&self, mut writes: Vec<Write>) -> Result<u64, Error> {
        while !writes.is_empty() {
            match self.store.apply(writes.clone()).await {
                Ok(_) => break,
                Err(ApplyError::Conflict { index, .. }) if index < writes.len() => {
                    writes.remove(index);
                }
                Err(ApplyError::Conflict { .. }) => {
                    return Err(Error::bug("the store names a write that is not in the batch"));
                }
                Err(ApplyError::Store(error)) => return Err(error.into()),
            }
        }
        Ok(writes.len() as u64)
    }
}
