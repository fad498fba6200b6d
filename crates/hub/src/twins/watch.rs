//! Following the changes of one twin while they happen (`ironhub twin watch`). Nothing is kept: who reads slowly is told how many
//! changes it missed, and reads the twin again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::broadcast;

use crate::bus::Address;
use crate::clock::Timestamp;
use crate::error::{Code, Error};
use crate::events::NoticeKind;
use crate::limits::{Limit, Limits};

/// Changes of one twin that wait for its slowest watcher.
const WAITING_MAX: usize = 64;

/// A change as a watcher sees it.
#[derive(Debug, Clone)]
pub struct Watched {
    /// What was done.
    pub kind: NoticeKind,
    /// When.
    pub time: Timestamp,
    /// The body of the event that tells of it; empty when the identity was deleted.
    pub body: Bytes,
}

impl Watched {
    /// One JSON object: `{"time":"..","opType":"updateTwin","change":{..}}`; a deletion has no `change`.
    pub fn json(&self) -> Vec<u8> {
        let head = format!(r#"{{"time":"{}","opType":"{}""#, self.time, self.kind.operation());
        let mut json = head.into_bytes();
        if !self.body.is_empty() {
            json.extend_from_slice(br#","change":"#);
            json.extend_from_slice(&self.body);
        }
        json.push(b'}');
        json
    }
}

/// What a watch gives next.
#[derive(Debug, Clone)]
pub enum Next {
    /// A change.
    Change(Arc<Watched>),
    /// So many changes were missed.
    Missed(u64),
}

/// Follows one twin until it is dropped.
#[derive(Debug)]
pub struct TwinWatch {
    changes: broadcast::Receiver<Arc<Watched>>,
    place: Place,
}

/// A watcher's place among all; gives it up when dropped.
#[derive(Debug)]
struct Place {
    watchers: Arc<Watchers>,
    address: Address,
}

impl TwinWatch {
    /// The next change; `None` once the server stops. Changes lose nothing when this is dropped before it resolves.
    pub async fn next(&mut self) -> Option<Next> {
        match self.changes.recv().await {
            Ok(change) => Some(Next::Change(change)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Next::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// Whom it follows.
    pub fn address(&self) -> &Address {
        &self.place.address
    }
}

#[derive(Debug)]
struct Followed {
    sender: broadcast::Sender<Arc<Watched>>,
    watcher_count: usize,
}

/// Who follows which twin.
#[derive(Debug)]
pub(super) struct Watchers {
    limits: Arc<Limits>,
    // Lets a write pass without the lock while nobody watches anything, which is nearly always.
    count: AtomicUsize,
    followed: Mutex<HashMap<Address, Followed>>,
}

impl Watchers {
    pub(super) fn new(limits: Arc<Limits>) -> Self {
        Self {
            limits,
            count: AtomicUsize::new(0),
            followed: Mutex::default(),
        }
    }

    /// Follows a twin from now on.
    ///
    /// # Errors
    /// `GenericTooManyRequests`.
    pub(super) fn follow(self: &Arc<Self>, address: &Address) -> Result<TwinWatch, Error> {
        let mut all = self.lock();
        let count = self.count.load(Ordering::SeqCst).saturating_add(1);
        self.limits
            .check_len(Limit::TwinWatchersMax, count)
            .map_err(|exceeded| Error::peer(Code::GenericTooManyRequests, exceeded.to_string()))?;
        self.count.store(count, Ordering::SeqCst);
        let followed = all.entry(address.clone()).or_insert_with(|| Followed {
            sender: broadcast::Sender::new(WAITING_MAX),
            watcher_count: 0,
        });
        followed.watcher_count += 1;
        Ok(TwinWatch {
            changes: followed.sender.subscribe(),
            place: Place {
                watchers: Arc::clone(self),
                address: address.clone(),
            },
        })
    }

    /// Tells whoever follows the twin; the body is made only if somebody does.
    pub(super) fn tell(
        &self,
        address: &Address,
        kind: NoticeKind,
        time: Timestamp,
        body: impl FnOnce() -> Result<Bytes, Error>,
    ) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let sender = self.lock().get(address).map(|followed| followed.sender.clone());
        let Some(sender) = sender else { return };
        match body() {
            Ok(body) => {
                // Fails when the last watcher has just left.
                let _ = sender.send(Arc::new(Watched { kind, time, body }));
            }
            Err(error) => {
                tracing::warn!(identity = %address.identity, detail = error.detail(), "watchers of a twin were not told of a change");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Address, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.watchers.lock();
        self.watchers.count.fetch_sub(1, Ordering::SeqCst);
        if let Some(followed) = all.get_mut(&self.address) {
            followed.watcher_count -= 1;
            if followed.watcher_count == 0 {
                all.remove(&self.address);
            }
        }
    }
}
