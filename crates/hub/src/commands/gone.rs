//! What is left of the queues of deleted identities.
//!
//! The batch that deletes an identity takes the first commands of its queue along, and names a longer queue in a document. From
//! then on the queue is nobody's: no send can reach its generation and no receiver has it. So its commands are removed here page
//! by page without anybody's turn, and the document that names it comes last: a crash in between leaves it for the next sweep.
//! Refused: all of it in the batch of the deletion, which a queue of any length would make of any size.

use crate::error::Error;
use crate::store::{ApplyError, Collection, Document, Expect, Key, Range, StoreError, Write};
use crate::tenancy::HubName;

use super::core::Core;
use super::keys::{GONE_PREFIX, QueueId, sequence_of};
use super::stored::Entry;

/// Commands that are removed in one batch, each of up to 64 KiB to be read.
pub(super) const PAGE_MAX: usize = 64;

/// Batches of one sweep of a hub; the next sweep goes on.
const PAGES_PER_SWEEP_MAX: usize = 32;

/// The body of a document that names a queue, whose id says all: the version of the form.
pub(super) const GONE_BODY: bytes::Bytes = bytes::Bytes::from_static(b"\x01");

impl Core {
    /// Removes commands that are nobody's, so many of them as one sweep may.
    pub(super) async fn sweep_gone(&self, hub: &HubName) -> Result<(), Error> {
        let range = Range {
            collection: Collection::Commands,
            hub: hub.clone(),
            prefix: GONE_PREFIX.to_owned(),
            after: None,
            limit: PAGES_PER_SWEEP_MAX,
        };
        let mut pages = 0;
        for document in self.store.scan(&range).await? {
            let Some(queue) = QueueId::parse_gone(hub, &document.key.id) else {
                tracing::error!(
                    id = &*document.key.id,
                    "the name of a deleted queue cannot be read"
                );
                continue;
            };
            loop {
                if pages == PAGES_PER_SWEEP_MAX {
                    return Ok(());
                }
                pages += 1;
                let there = self.page_of(&queue).await?;
                let is_last = there.len() < PAGE_MAX;
                let mut keys = keys_of(&queue, &there);
                if is_last {
                    keys.push(document.key.clone());
                }
                self.remove(keys).await?;
                if is_last {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The first commands of a queue.
    pub(super) async fn page_of(&self, queue: &QueueId) -> Result<Vec<Document>, StoreError> {
        let range = Range {
            collection: Collection::Commands,
            hub: queue.address.hub.clone(),
            prefix: queue.commands_prefix(),
            after: None,
            limit: PAGE_MAX,
        };
        self.store.scan(&range).await
    }

    async fn remove(&self, keys: Vec<Key>) -> Result<(), Error> {
        match self.store.apply(keys.into_iter().map(delete).collect()).await {
            // Nothing is expected, so nothing can conflict.
            Ok(_) | Err(ApplyError::Conflict { .. }) => Ok(()),
            Err(ApplyError::Store(error)) => Err(error.into()),
        }
    }
}

/// All that goes with these commands of a queue.
pub(super) fn keys_of(queue: &QueueId, commands: &[Document]) -> Vec<Key> {
    let mut keys = Vec::with_capacity(commands.len() * 2 + 2);
    for document in commands {
        // The entry of a command that cannot be read goes when its time is up.
        if let (Some(sequence), Ok(entry)) = (sequence_of(&document.key.id), Entry::decode(&document.body)) {
            keys.push(queue.expiry_key(entry.expires, sequence));
        }
        keys.push(document.key.clone());
    }
    keys
}

pub(super) fn delete(key: Key) -> Write {
    Write::Delete {
        key,
        expect: Expect::Any,
    }
}
