//! The twin lives and dies with its identity, and so do the lifecycle events, whose body it is (service-rest.md 3, 13.2).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::BoxFuture;
use crate::bus::Address;
use crate::events::NoticeKind;
use crate::identity::{Change, Companion, GenerationId, Hold, IdentityRef};
use crate::store::{Expect, StoreError, Write};
use crate::tenancy::HubName;

use super::writer::{Writer, key};
use super::{Twin, change};

/// How long the last state of a twin is kept for the event of its deletion. A deletion that failed leaves it behind.
const LAST_STATE_LIFE: Duration = Duration::from_secs(60);

/// Deletes twins with their identities and tells of identities that come and go. Made by [`Twins::companion`](super::Twins::companion).
pub struct TwinCompanion {
    writer: Arc<Writer>,
    last_states: Mutex<HashMap<(Address, GenerationId), LastState>>,
}

/// A twin as it was when its deletion was asked for.
struct LastState {
    event: Bytes,
    taken: Duration,
}

impl TwinCompanion {
    pub(super) fn new(writer: Arc<Writer>) -> Self {
        Self {
            writer,
            last_states: Mutex::default(),
        }
    }

    /// Deletes the twin as it is found here, so that the event tells of the very last state.
    async fn deletion(&self, address: Address, before: IdentityRef<'_>) -> Result<Vec<Write>, StoreError> {
        let generation = before.generation();
        let (hub, identity) = (&address.hub, &address.identity);
        let there = self.writer.stored(hub, identity, generation).await?;
        let write = match there.version {
            Some(version) => Write::Delete {
                key: key(hub, identity),
                expect: Expect::Version(version),
            },
            None => Write::Check {
                key: key(hub, identity),
                expect: Expect::Absent,
            },
        };
        if self.writer.events.wants(hub, NoticeKind::Deleted) {
            let twin = there.twin.unwrap_or_else(|| Twin::fresh(&before));
            let event =
                change::whole(&twin, identity).map_err(|error| StoreError::Unreadable(error.to_string()))?;
            self.keep(address, generation, event);
        }
        Ok(vec![write])
    }

    fn keep(&self, address: Address, generation: GenerationId, event: Bytes) {
        let now = self.writer.clock.elapsed();
        let mut states = self.last_states.lock().unwrap_or_else(PoisonError::into_inner);
        states.retain(|_, state| now.saturating_sub(state.taken) < LAST_STATE_LIFE);
        states.insert((address, generation), LastState { event, taken: now });
    }

    fn take(&self, address: &Address, generation: GenerationId) -> Option<Bytes> {
        let mut states = self.last_states.lock().unwrap_or_else(PoisonError::into_inner);
        let state = states.remove(&(address.clone(), generation))?;
        Some(state.event)
    }

    fn tell(&self, address: &Address, kind: NoticeKind, body: &[u8]) {
        // Queued in this very call; the task only sees to it that a failure is logged.
        tokio::spawn(self.writer.events.tell(address, kind, body));
    }

    fn created(&self, address: &Address, after: IdentityRef<'_>) {
        if !self.writer.events.wants(&address.hub, NoticeKind::Created) {
            return;
        }
        match change::whole(&Twin::fresh(&after), &address.identity) {
            Ok(body) => self.tell(address, NoticeKind::Created, &body),
            Err(error) => tracing::error!(detail = error.detail(), "a creation was not told of"),
        }
    }

    fn deleted(&self, address: &Address, before: IdentityRef<'_>) {
        let kind = NoticeKind::Deleted;
        if self.writer.events.wants(&address.hub, kind) {
            if let Some(body) = self.take(address, before.generation()) {
                self.tell(address, kind, &body);
            } else {
                tracing::warn!(
                    hub = %address.hub, identity = %address.identity,
                    "a deletion was not told of: it took too long"
                );
            }
        }
        let now = self.writer.clock.now();
        self.writer.watchers.tell(address, kind, now, || Ok(Bytes::new()));
    }
}

impl Companion for TwinCompanion {
    /// Keeps the writers of twins waiting, so that a creation is told of before the first change of its twin, and a deletion behind
    /// the last.
    fn hold<'a>(&'a self, hub: &'a HubName, changes: &'a [Change<'a>]) -> BoxFuture<'a, Hold<'a>> {
        Box::pin(async move {
            let comes_or_goes = changes
                .iter()
                .filter(|change| !matches!(change, Change::Updated { .. }))
                .map(|change| address_of(hub, change.identity()));
            Box::new(self.writer.hold(comes_or_goes).await) as Hold<'a>
        })
    }

    fn writes<'a>(
        &'a self,
        hub: &'a HubName,
        change: Change<'a>,
    ) -> BoxFuture<'a, Result<Vec<Write>, StoreError>> {
        Box::pin(async move {
            match change {
                Change::Deleted { before } => self.deletion(address_of(hub, before), before).await,
                Change::Created { .. } | Change::Updated { .. } => Ok(Vec::new()),
            }
        })
    }

    fn done(&self, hub: &HubName, change: Change<'_>) {
        match change {
            Change::Created { after } => self.created(&address_of(hub, after), after),
            Change::Deleted { before } => self.deleted(&address_of(hub, before), before),
            Change::Updated { .. } => {}
        }
    }
}

fn address_of(hub: &HubName, identity: IdentityRef<'_>) -> Address {
    Address {
        hub: hub.clone(),
        identity: identity.id(),
    }
}

impl std::fmt::Debug for TwinCompanion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TwinCompanion").finish_non_exhaustive()
    }
}
