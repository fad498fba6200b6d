//! Writing a twin: read, judge, store, tell, all of it for one identity at a time.
//!
//! The lock of an identity keeps writers of one server from conflicting needlessly, and lets notifications and events leave in the order
//! of the versions. It is not what makes a write right: that is the store's compare-and-set, on the twin and on its identity.
//!
//! A write runs on a task of its own. A caller that goes away in the middle of one (a client that hangs up) would otherwise leave a durable
//! change that nobody is told of.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, MutexGuard};

use crate::BoxFuture;
use crate::bus::{Address, Bus, Mail};
use crate::clock::Clock;
use crate::error::{Code, Error};
use crate::events::{Events, NoticeKind};
use crate::identity::{GenerationId, IdentityId, find};
use crate::lazy_table::LazyTable;
use crate::limits::{Limit, Limits};
use crate::store::{ApplyError, Collection, Expect, Key, Store, Version, Write};
use crate::tenancy::HubName;

use super::change::{Effect, Request};
use super::watch::Watchers;
use super::{Twin, TwinView, stored};

/// Locks that identities share by their hash. A lock is held for one commit; with so many, strangers rarely wait for one another.
const LOCK_COUNT: usize = 4_096;

/// Bytes of a stored twin. Its sections are held to their sizes as the service counts them, which leaves out control characters and
/// empty objects; this holds what is left out. Below the store's own limit of a document.
const DOCUMENT_BYTES_MAX: usize = 768 * 1_024;

/// How long an answer waits for its event to be durable. The change is, and a full log must not keep it from being confirmed.
const EVENT_PATIENCE: Duration = Duration::from_secs(5);

/// Everything that a write needs.
pub(super) struct Writer {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Arc<Limits>,
    pub(super) events: Arc<Events>,
    pub(super) watchers: Arc<Watchers>,
    bus: Arc<dyn Bus>,
    locks: LazyTable<Mutex<()>>,
    hasher: RandomState,
}

/// An identity and its twin as stored.
pub(super) struct Loaded {
    pub(super) view: TwinView,
    /// What the next write of the twin finds in its place.
    expect: Expect,
}

/// What goes out once a write is durable, made before it so that nothing can fail afterwards.
struct News {
    mail: Option<Mail>,
    event: Option<(NoticeKind, Bytes)>,
}

impl Writer {
    pub(super) fn new(
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        limits: Arc<Limits>,
        events: Arc<Events>,
    ) -> Self {
        let watchers = Arc::new(Watchers::new(Arc::clone(&limits)));
        Self {
            store,
            clock,
            limits,
            events,
            watchers,
            bus,
            locks: LazyTable::new(LOCK_COUNT),
            hasher: RandomState::new(),
        }
    }

    /// The identity and its twin. With a generation only that one.
    ///
    /// # Errors
    /// `DeviceNotFound`, also for modules (service-rest.md 5.2).
    pub(super) async fn load(
        &self,
        address: &Address,
        generation: Option<GenerationId>,
    ) -> Result<Loaded, Error> {
        let Address { hub, identity } = address;
        let missing = || Error::peer(Code::DeviceNotFound, identity.to_string());
        let found = find(&*self.store, hub, identity).await?.ok_or_else(missing)?;
        let current = found.identity().generation();
        if generation.is_some_and(|generation| generation != current) {
            return Err(missing());
        }
        let there = self.stored(hub, identity, current).await?;
        let expect = there.version.map_or(Expect::Absent, Expect::Version);
        let twin = there.twin.unwrap_or_else(|| Twin::fresh(&found.identity()));
        Ok(Loaded {
            view: TwinView { found, twin },
            expect,
        })
    }

    /// What lies in the place of a twin; the twin of an earlier generation is none.
    pub(super) async fn stored(
        &self,
        hub: &HubName,
        identity: &IdentityId,
        generation: GenerationId,
    ) -> Result<There, crate::store::StoreError> {
        let Some(document) = self.store.get(&key(hub, identity)).await? else {
            return Ok(There::default());
        };
        let twin = stored::decode(identity, &document.body)?;
        Ok(There {
            version: Some(document.version),
            twin: (twin.generation == generation).then_some(twin),
        })
    }

    /// Carries a request out; resolves when it is durable, and told of.
    pub(super) async fn write(
        self: &Arc<Self>,
        address: Address,
        generation: Option<GenerationId>,
        request: Request,
    ) -> Result<TwinView, Error> {
        let writer = Arc::clone(self);
        let task = tokio::spawn(async move {
            let (view, told) = writer.write_in_order(&address, generation, &request).await?;
            if let Some(told) = told
                && tokio::time::timeout(EVENT_PATIENCE, told).await.is_err()
            {
                tracing::warn!(
                    hub = %address.hub, identity = %address.identity,
                    "a twin was changed, but the event that tells of it is not written yet"
                );
            }
            Ok(view)
        });
        task.await
            .map_err(|error| Error::bug(format!("a twin's write did not end: {error}")))?
    }

    async fn write_in_order(
        &self,
        address: &Address,
        generation: Option<GenerationId>,
        request: &Request,
    ) -> Result<(TwinView, Option<BoxFuture<'static, ()>>), Error> {
        let _turn = self.lock(address).lock().await;
        for _ in 0..self.limits.get(Limit::WriteAttemptsMax) {
            let Loaded { mut view, expect } = self.load(address, generation).await?;
            let now = self.clock.now();
            let identity = &address.identity;
            let Some(effect) = request.judge(&mut view.twin, identity, now, &self.limits)? else {
                return Ok((view, None));
            };
            let news = self.news(address, &effect, &view.twin)?;
            match self.store.apply(batch(address, &view, expect)?).await {
                Ok(_) => {
                    let told = self.tell(address, news, &effect, &view.twin);
                    return Ok((view, told));
                }
                Err(ApplyError::Conflict { .. }) => {}
                Err(ApplyError::Store(error)) => return Err(error.into()),
            }
        }
        self.limits.hit(Limit::WriteAttemptsMax);
        Err(Error::environment(
            Code::ServerBusy,
            "a twin's write met another writer at every attempt",
        ))
    }

    fn news(&self, address: &Address, effect: &Effect, twin: &Twin) -> Result<News, Error> {
        let wanted = effect
            .notice()
            .filter(|kind| self.events.wants(&address.hub, *kind));
        Ok(News {
            mail: effect.mail(twin)?,
            event: match wanted {
                Some(kind) => Some((kind, effect.event(twin, &address.identity)?)),
                None => None,
            },
        })
    }

    /// Tells the device, readers and watchers, in this order; called under the identity's lock.
    fn tell(
        &self,
        address: &Address,
        news: News,
        effect: &Effect,
        twin: &Twin,
    ) -> Option<BoxFuture<'static, ()>> {
        if let Some(mail) = news.mail {
            self.bus.send(address, mail);
        }
        let told = news
            .event
            .map(|(kind, body)| self.events.tell(address, kind, &body));
        if let Some(kind) = effect.notice() {
            let now = self.clock.now();
            self.watchers
                .tell(address, kind, now, || effect.event(twin, &address.identity));
        }
        told
    }

    /// Waits for the writers of these identities and keeps others from beginning. Locks are taken in the order of their places,
    /// each once, so that two who hold several do not wait for each other.
    pub(super) async fn hold(&self, addresses: impl Iterator<Item = Address>) -> Vec<MutexGuard<'_, ()>> {
        let places: BTreeSet<u64> = addresses.map(|address| self.place(&address)).collect();
        let mut held = Vec::with_capacity(places.len());
        for lock in places.into_iter().map(|place| self.locks.of(place)) {
            held.push(lock.lock().await);
        }
        held
    }

    fn lock(&self, address: &Address) -> &Mutex<()> {
        self.locks.of(self.place(address))
    }

    fn place(&self, address: &Address) -> u64 {
        self.hasher.hash_one(address) % LOCK_COUNT as u64
    }
}

/// What lies in the place of a twin.
#[derive(Default)]
pub(super) struct There {
    /// The version of the document, of whatever generation it is.
    pub(super) version: Option<Version>,
    /// The twin, if it is the identity's.
    pub(super) twin: Option<Twin>,
}

/// The twin, on condition that identity and twin are those that the request was judged by.
fn batch(address: &Address, view: &TwinView, expect: Expect) -> Result<Vec<Write>, Error> {
    let body = stored::encode(&view.twin)?;
    if body.len() > DOCUMENT_BYTES_MAX {
        return Err(Error::peer(
            Code::DeviceModelMaxPropertiesExceeded,
            format!("The twin should be less than {DOCUMENT_BYTES_MAX} bytes of JSON."),
        ));
    }
    Ok(vec![
        Write::Check {
            key: view.found.key.clone(),
            expect: Expect::Version(view.found.version),
        },
        Write::Put {
            key: key(&address.hub, &address.identity),
            body: body.into(),
            expect,
        },
    ])
}

/// Where a twin is stored.
pub(super) fn key(hub: &HubName, identity: &IdentityId) -> Key {
    Key::new(Collection::Twins, hub, identity.to_string())
}
