//! A queue goes with its identity.

use crate::BoxFuture;
use crate::bus::Address;
use crate::identity::{Change, Companion};
use crate::store::{Collection, Expect, Range, StoreError, Write};
use crate::tenancy::HubName;

use super::keys::{QueueId, sequence_of};
use super::queue::Commands;
use super::stored::Entry;

/// Commands that are removed in the batch that deletes their identity. What a longer queue has left belongs to a generation
/// that is no more, so nobody is given it; it goes when its time is up.
const REMOVED_MAX: usize = 64;

impl Companion for Commands {
    fn writes<'a>(
        &'a self,
        hub: &'a HubName,
        change: Change<'a>,
    ) -> BoxFuture<'a, Result<Vec<Write>, StoreError>> {
        Box::pin(async move {
            let Some(queue) = deleted(hub, change) else {
                return Ok(Vec::new());
            };
            let range = Range {
                collection: Collection::Commands,
                hub: hub.clone(),
                prefix: queue.commands_prefix(),
                after: None,
                limit: REMOVED_MAX,
            };
            let mut keys = vec![queue.head_key()];
            for document in self.core.store.scan(&range).await? {
                // The entry of a command that cannot be read goes when its time is up.
                if let (Some(sequence), Ok(entry)) =
                    (sequence_of(&document.key.id), Entry::decode(&document.body))
                {
                    keys.push(queue.expiry_key(entry.expires, sequence));
                }
                keys.push(document.key);
            }
            let delete = |key| Write::Delete {
                key,
                expect: Expect::Any,
            };
            Ok(keys.into_iter().map(delete).collect())
        })
    }

    fn done(&self, hub: &HubName, change: Change<'_>) {
        if let Some(queue) = deleted(hub, change) {
            self.core.locks.forget(&queue);
        }
    }
}

fn deleted(hub: &HubName, change: Change<'_>) -> Option<QueueId> {
    let Change::Deleted { before } = change else {
        return None;
    };
    Some(QueueId {
        address: Address {
            hub: hub.clone(),
            identity: before.id(),
        },
        generation: before.generation(),
    })
}
