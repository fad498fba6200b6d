//! A queue goes with its identity; what is longer than a page goes soon after ([`super::gone`]).

use crate::BoxFuture;
use crate::bus::Address;
use crate::identity::{Change, Companion};
use crate::store::{Expect, StoreError, Write};
use crate::tenancy::HubName;

use super::gone::{GONE_BODY, PAGE_MAX, delete, keys_of};
use super::keys::QueueId;
use super::queue::Commands;

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
            let there = self.core.page_of(&queue).await?;
            let mut keys = keys_of(&queue, &there);
            keys.push(queue.head_key());
            let mut writes: Vec<Write> = keys.into_iter().map(delete).collect();
            if there.len() == PAGE_MAX {
                writes.push(Write::Put {
                    key: queue.gone_key(),
                    body: GONE_BODY,
                    expect: Expect::Any,
                });
            }
            Ok(writes)
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
