//! Commands whose time is up: found by the expiry index, without walking the queues.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::store::{ApplyError, Collection, Expect, Range, Write};
use crate::tenancy::HubName;

use super::core::{Act, Core, Done};
use super::keys::{Due, EXPIRY_PREFIX, QueueId};
use super::queue::Commands;

/// Entries of the index that are read at a time.
const PAGE_MAX: usize = 256;

/// Entries that are due, by queue.
struct Page {
    due: BTreeMap<QueueId, Vec<Due>>,
    /// Where the next page begins, if there may be one.
    next: Option<String>,
}

impl Commands {
    /// Ends the commands of a hub whose time is up. To be called every second. What a deleted identity left behind goes, without
    /// feedback. A queue that cannot be worked on does not keep the others from it.
    pub async fn expire(&self, hub: &HubName) -> Result<(), Error> {
        let swept = self.core.sweep_gone(hub).await;
        let mut after = None;
        loop {
            let page = self.core.due(hub, after.take()).await?;
            for (queue, entries) in &page.due {
                let _turn = self.core.turn(&queue.address).await;
                if let Err(error) = self.core.expire_entries(queue, entries).await {
                    let detail = error.detail().unwrap_or_else(|| error.message());
                    tracing::warn!(identity = %queue.address.identity, detail, "expired commands remain; trying again");
                }
            }
            after = page.next;
            if after.is_none() {
                return swept;
            }
        }
    }
}

impl Core {
    /// Ends the commands of one queue whose time is up. The caller has its turn.
    pub(super) async fn expire_of(&self, queue: &QueueId) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = self.due(&queue.address.hub, after.take()).await?;
            if let Some(entries) = page.due.get(queue) {
                self.expire_entries(queue, entries).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// A page of the index up to now.
    async fn due(&self, hub: &HubName, after: Option<String>) -> Result<Page, Error> {
        let now = self.clock.now();
        let range = Range {
            collection: Collection::Commands,
            hub: hub.clone(),
            prefix: EXPIRY_PREFIX.to_owned(),
            after,
            limit: PAGE_MAX,
        };
        let documents = self.store.scan(&range).await?;
        let is_full = documents.len() == PAGE_MAX;
        let mut next = documents
            .last()
            .map(|last| last.key.id.to_string())
            .filter(|_| is_full);
        let mut due: BTreeMap<QueueId, Vec<Due>> = BTreeMap::new();
        for document in documents {
            match Due::parse(hub, &document.key.id) {
                Some(entry) if entry.expires <= now => {
                    due.entry(entry.queue.clone()).or_default().push(entry);
                }
                Some(_) => {
                    next = None;
                    break;
                }
                None => tracing::error!(
                    id = &*document.key.id,
                    "an entry of the expiry index cannot be read"
                ),
            }
        }
        Ok(Page { due, next })
    }

    /// Ends commands of one queue, and removes entries of the index that belong to no command.
    async fn expire_entries(&self, queue: &QueueId, entries: &[Due]) -> Result<(), Error> {
        let acts: Vec<_> = entries.iter().map(|due| (due.sequence, Act::Expire)).collect();
        let done = self.change(queue, &acts).await?;
        let mut leftovers = Vec::new();
        for (due, done) in entries.iter().zip(done) {
            if done == Done::Kept {
                continue;
            }
            self.locks.done(queue, &due.sequence);
            // Gone, or of an earlier namesake: neither the command nor its entry is anybody's.
            if done == Done::Gone {
                let keys = [
                    queue.expiry_key(due.expires, due.sequence),
                    queue.command_key(due.sequence),
                ];
                leftovers.extend(keys.map(|key| Write::Delete {
                    key,
                    expect: Expect::Any,
                }));
            }
        }
        if !leftovers.is_empty() {
            match self.store.apply(leftovers).await {
                // Nothing is expected, so nothing can conflict.
                Ok(_) | Err(ApplyError::Conflict { .. }) => {}
                Err(ApplyError::Store(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
