//! The queue in which services hear of uploads (service-rest.md 7, amqp.md B.3). Receivers of one hub compete.

use std::sync::Arc;

use bytes::Bytes;

use crate::access::{Authorized, operation};
use crate::clock::{Clock, Timestamp};
use crate::commands::lock_queue::{Found, Kind, LockQueue};
use crate::commands::{LockToken, Settlement, time_of};
use crate::entropy::Entropy;
use crate::error::Error;
use crate::identity::{self, IdentityId};
use crate::limits::{Limit, Limits};
use crate::store::{Collection, Document, Expect, Key, Store, Write};
use crate::tenancy::HubName;

use super::notification::{Notification, PREFIX, counted};

/// Notifications that are read at a time.
const PAGE_MAX: usize = 64;

/// What is queued, and under which limits.
const NOTIFICATIONS: Kind = Kind {
    collection: Collection::Notifications,
    what: "a file notification",
    life: Limit::FileNotificationLifeSecs,
    lock: Limit::FileNotificationLockSecs,
    deliveries_max: Limit::FileNotificationDeliveriesMax,
    counted,
};

/// File notifications, a queue for each hub of a server.
pub struct FileNotifications {
    queue: Arc<LockQueue>,
}

/// A notification that is handed out under a lock.
#[derive(Debug, Clone)]
pub struct FileNotification {
    /// The lock.
    pub lock: LockToken,
    /// When the lock ends by itself.
    pub locked_until: Timestamp,
    /// When the device said that the file is there.
    pub enqueued: Timestamp,
    /// How often it was abandoned before.
    pub delivery_count: u8,
    /// One JSON object.
    pub body: Bytes,
}

impl FileNotifications {
    pub(super) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            queue: Arc::new(LockQueue::new(NOTIFICATIONS, store, clock, entropy, limits)),
        }
    }

    /// The next notification under a lock, or `None` when there is none.
    pub async fn receive(
        &self,
        right: &Authorized<operation::ReceiveFileNotifications>,
    ) -> Result<Option<FileNotification>, Error> {
        match self.look(right.hub()).await? {
            Found::Item(notification) => Ok(Some(notification)),
            Found::Later(_) | Found::Nothing => Ok(None),
        }
    }

    /// Waits for the next notification. One that stops waiting takes nothing along.
    pub async fn next(
        &self,
        right: &Authorized<operation::ReceiveFileNotifications>,
    ) -> Result<FileNotification, Error> {
        let hub = right.hub();
        self.queue.next(hub, || self.look(hub)).await
    }

    /// Settles a notification; resolves when that is durable. Begins when it is called and goes on to its end, whether or not the
    /// caller waits for it. To be called within a tokio runtime.
    ///
    /// # Errors
    /// `DeviceMessageLockLost`.
    pub fn settle(
        &self,
        right: &Authorized<operation::ReceiveFileNotifications>,
        lock: LockToken,
        settlement: Settlement,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        self.queue.settle(right.hub(), lock, settlement)
    }

    /// Gives notifications back that a receiver held when it went; not counted as deliveries.
    pub fn release(&self, right: &Authorized<operation::ReceiveFileNotifications>, locks: &[LockToken]) {
        self.queue.release(right.hub(), locks);
    }

    /// Ends the locks whose time is up, and removes what nobody read in time.
    pub(super) async fn sweep(&self, hub: &HubName) -> Result<(), Error> {
        self.queue.end_locks();
        self.queue.expire(hub, PREFIX).await
    }

    /// The write that puts a notification into the queue.
    pub(super) fn write(&self, hub: &HubName, notification: &Notification) -> Result<Write, Error> {
        let mut number = [0; 8];
        self.queue.entropy.fill(&mut number);
        Ok(Write::Put {
            key: Notification::key(hub, self.queue.clock.now(), u64::from_be_bytes(number)),
            body: notification.encode()?,
            expect: Expect::Absent,
        })
    }

    /// There is something new.
    pub(super) fn announce(&self, hub: &HubName) {
        self.queue.announce(hub);
    }

    async fn look(&self, hub: &HubName) -> Result<Found<FileNotification>, Error> {
        let desk = self.queue.desk(hub);
        let _turn = desk.turn().await;
        self.queue.end_locks();
        let found = self.first_free(hub).await?.map_or(Found::Nothing, Found::Item);
        Ok(self.queue.or_when_a_lock_ends(hub, found))
    }

    /// The oldest that nobody holds and that still means something; those that do not are removed on the way.
    async fn first_free(&self, hub: &HubName) -> Result<Option<FileNotification>, Error> {
        let held = self.queue.held(hub);
        let mut after = None;
        loop {
            let documents = self.queue.page(hub, PREFIX, after.take(), PAGE_MAX).await?;
            for document in &documents {
                if held.contains(&document.key.id) {
                    continue;
                }
                match self.living(hub, document).await? {
                    Some(notification) => return self.hand_out(hub, &document.key, &notification).map(Some),
                    None => self.queue.remove(vec![document.key.clone()]).await?,
                }
            }
            match documents.last() {
                Some(last) if documents.len() == PAGE_MAX => after = Some(last.key.id.to_string()),
                _ => return Ok(None),
            }
        }
    }

    /// A notification that was not waiting too long and whose device is still there; it goes with its identity.
    async fn living(&self, hub: &HubName, document: &Document) -> Result<Option<Notification>, Error> {
        let now = self.queue.clock.now();
        let life = self.queue.limits.time(Limit::FileNotificationLifeSecs);
        if time_of(&document.key.id).is_none_or(|time| now >= time.plus(life)) {
            return Ok(None);
        }
        let notification = match Notification::decode(&document.body) {
            Ok(notification) => notification,
            Err(error) => {
                tracing::error!(%error, id = &*document.key.id, "a file notification is dropped");
                return Ok(None);
            }
        };
        let id = IdentityId::device(notification.device.clone());
        let found = identity::find(&*self.queue.store, hub, &id).await?;
        let generation = found.map(|found| found.identity().generation());
        Ok((generation == Some(notification.generation)).then_some(notification))
    }

    fn hand_out(
        &self,
        hub: &HubName,
        key: &Key,
        notification: &Notification,
    ) -> Result<FileNotification, Error> {
        let enqueued = time_of(&key.id).unwrap_or_else(|| self.queue.clock.now());
        let body = notification.to_wire(enqueued)?;
        let (lock, locked_until) = self.queue.lock(hub, &key.id);
        Ok(FileNotification {
            lock,
            locked_until,
            enqueued,
            delivery_count: notification.delivery_count,
            body,
        })
    }
}

impl std::fmt::Debug for FileNotifications {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileNotifications").finish_non_exhaustive()
    }
}
