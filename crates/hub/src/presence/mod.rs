//! Who is connected, since when, and when an identity was last active: exact at once, written behind.
//!
//! What is true now lies in memory with the connections. The times are stored a little later, many in one commit, so that a
//! storm of reconnects costs the disk little; a crash may lose the times of the last second, never a message.
//!
//! An identity that comes or goes is told of as an event, where the hub wants it ([`crate::events`]). A connection that takes the
//! place of an older one is no change of the state and makes no event.

mod sequence;
mod stored;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::bus::Address;
use crate::clock::{Clock, Timestamp};
use crate::events::{Events, NoticeKind};
use crate::identity::IdentityId;
use crate::store::{ApplyError, Collection, Expect, Key, Store, StoreError, Write};
use crate::tenancy::HubName;

use sequence::SequenceNumbers;
use stored::StoredTimes;

/// Writes in one batch at most.
const FLUSH_BATCH_MAX: usize = 4_096;

/// Room for times that is kept between two writes; what a storm of connects needed beyond it is given back.
const UNWRITTEN_ROOM: usize = 256;

/// What is known of an identity's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// Whether it is connected now.
    pub connected: bool,
    /// When that last changed, or never.
    pub changed: Timestamp,
    /// When it last connected, sent or received, or never.
    pub last_activity: Timestamp,
}

impl Presence {
    /// An identity that was never seen.
    pub const NEVER: Self = Self {
        connected: false,
        changed: Timestamp::NEVER,
        last_activity: Timestamp::NEVER,
    };
}

/// One connected identity. Its connection notes activity here without a lock.
#[derive(Debug)]
pub struct Session {
    connected: Timestamp,
    last_activity_micros: AtomicI64,
}

impl Session {
    /// Notes that the identity did something.
    pub fn note_activity(&self, now: Timestamp) {
        self.last_activity_micros
            .store(now.as_micros(), Ordering::Relaxed);
    }

    fn presence(&self) -> Presence {
        let last = Timestamp::from_micros(self.last_activity_micros.load(Ordering::Relaxed));
        Presence {
            connected: true,
            changed: self.connected,
            last_activity: last,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<Address, Arc<Session>>,
    // What the store does not know yet.
    unwritten: HashMap<Address, StoredTimes>,
}

/// Presence of all identities of the server.
pub struct Presences {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    events: Arc<Events>,
    sequence: SequenceNumbers,
    state: Mutex<State>,
    // One flush at a time, so that an older time never overwrites a newer one.
    flushing: tokio::sync::Mutex<()>,
}

impl Presences {
    /// With the times in `store`; `events` hears of identities that come and go.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, events: Arc<Events>) -> Self {
        Self {
            store,
            clock,
            events,
            sequence: SequenceNumbers::default(),
            state: Mutex::default(),
            flushing: tokio::sync::Mutex::default(),
        }
    }

    /// An identity connected, perhaps in place of an older connection.
    pub fn connect(&self, address: &Address) -> Arc<Session> {
        let now = self.clock.now();
        let session = Arc::new(Session {
            connected: now,
            last_activity_micros: AtomicI64::new(now.as_micros()),
        });
        let mut state = self.lock();
        let older = state.sessions.insert(address.clone(), Arc::clone(&session));
        state.unwritten.insert(
            address.clone(),
            StoredTimes {
                changed: now,
                last_activity: now,
            },
        );
        if older.is_none() {
            self.tell(address, NoticeKind::Connected, now);
        }
        session
    }

    /// A connection ended. Has no effect when a newer one has taken its place.
    pub fn disconnect(&self, address: &Address, session: &Arc<Session>) {
        let mut state = self.lock();
        if state
            .sessions
            .get(address)
            .is_some_and(|current| Arc::ptr_eq(current, session))
        {
            state.sessions.remove(address);
            let last_activity = session.presence().last_activity;
            let changed = self.clock.now();
            let times = StoredTimes {
                changed,
                last_activity,
            };
            state.unwritten.insert(address.clone(), times);
            self.tell(address, NoticeKind::Disconnected, changed);
        }
    }

    /// Tells of a change, while the state is locked: that keeps the events of an identity in the order of its changes.
    fn tell(&self, address: &Address, kind: NoticeKind, now: Timestamp) {
        if !self.events.wants(&address.hub, kind) {
            return;
        }
        let body = format!(r#"{{"sequenceNumber":"{}"}}"#, self.sequence.next(now));
        let told = self.events.tell(address, kind, body.as_bytes());
        // It is queued already; what is awaited is only whether it failed. At the end of the process nobody is left to wait.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(told);
        }
    }

    /// An identity was deleted: what was known of it goes.
    pub fn forget(&self, address: &Address) {
        let mut state = self.lock();
        state.sessions.remove(address);
        state.unwritten.remove(address);
    }

    /// What is known of an identity.
    pub async fn of(&self, address: &Address) -> Result<Presence, StoreError> {
        {
            let state = self.lock();
            if let Some(session) = state.sessions.get(address) {
                return Ok(session.presence());
            }
            if let Some(times) = state.unwritten.get(address) {
                return Ok(times.presence());
            }
        }
        let stored = self.store.get(&key(address)).await?;
        Ok(stored.map_or(Presence::NEVER, |document| {
            StoredTimes::decode(&document.body).presence()
        }))
    }

    /// Number of connected devices of a hub; modules do not count.
    pub fn connected_devices(&self, hub: &HubName) -> usize {
        let is_device = |address: &&Address| address.hub == *hub && address.identity.module.is_none();
        self.lock().sessions.keys().filter(is_device).count()
    }

    /// Writes the times that the store does not know yet. Called every second and when the server stops.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.flushing.lock().await;
        loop {
            let batch: Vec<(Address, StoredTimes)> = {
                let state = self.lock();
                state
                    .unwritten
                    .iter()
                    .take(FLUSH_BATCH_MAX)
                    .map(|(a, t)| (a.clone(), *t))
                    .collect()
            };
            if batch.is_empty() {
                return Ok(());
            }
            let writes = batch.iter().map(|(address, times)| Write::Put {
                key: key(address),
                body: times.encode().into(),
                expect: Expect::Any,
            });
            match self.store.apply(writes.collect()).await {
                Ok(_) => {}
                // Nothing is expected, so nothing can conflict.
                Err(ApplyError::Conflict { .. }) => return Ok(()),
                Err(ApplyError::Store(error)) => return Err(error),
            }
            let mut state = self.lock();
            for (address, times) in &batch {
                if state.unwritten.get(address) == Some(times) {
                    state.unwritten.remove(address);
                }
            }
            if state.unwritten.capacity() > UNWRITTEN_ROOM && state.unwritten.is_empty() {
                state.unwritten.shrink_to_fit();
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Presences {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presences")
            .field("connected", &self.lock().sessions.len())
            .finish_non_exhaustive()
    }
}

/// Where the times of an identity are stored.
pub fn key(address: &Address) -> Key {
    key_of(&address.hub, &address.identity)
}

fn key_of(hub: &HubName, identity: &IdentityId) -> Key {
    Key::new(Collection::Presence, hub, identity.to_string())
}
