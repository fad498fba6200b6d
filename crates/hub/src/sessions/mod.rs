//! What outlives a connection: the subscriptions of an identity that asked for a persistent session.
//!
//! Clients subscribe once and rely on it for ever after (device-mqtt-https.md 4.4), so a subscription is durable before it is
//! confirmed. What a subscription means is the front end's business; here it is a name and the quality of delivery.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::BoxFuture;
use crate::access::Authenticated;
use crate::bus::Address;
use crate::error::Error;
use crate::identity::{Change, Companion, IdentityId};
use crate::store::{ApplyError, Collection, Expect, Key, Store, StoreError, Write};
use crate::tenancy::HubName;

/// Subscriptions by filter, with the granted quality of delivery.
pub type Subscriptions = BTreeMap<String, u8>;

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "v")]
    format: u8,
    // Which incarnation of the identity the session belongs to.
    #[serde(rename = "g")]
    generation: String,
    #[serde(rename = "s")]
    subscriptions: Subscriptions,
}

/// Persistent sessions of all identities.
pub struct Sessions {
    store: Arc<dyn Store>,
}

impl Sessions {
    /// Sessions in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The stored subscriptions; `None` when there is no session.
    pub async fn load(&self, proof: &Authenticated) -> Result<Option<Subscriptions>, Error> {
        let Some(document) = self.store.get(&key(proof.hub(), proof.identity())).await? else {
            return Ok(None);
        };
        let stored: Stored = serde_json::from_slice(&document.body)
            .map_err(|error| Error::bug(format!("a stored session cannot be read: {error}")))?;
        // A session of a deleted namesake is none of this identity's.
        Ok((stored.generation == proof.generation().to_string()).then_some(stored.subscriptions))
    }

    /// Keeps subscriptions; durable when this resolves.
    pub async fn keep(&self, proof: &Authenticated, subscriptions: &Subscriptions) -> Result<(), Error> {
        let stored = Stored {
            format: 1,
            generation: proof.generation().to_string(),
            subscriptions: subscriptions.clone(),
        };
        let body = serde_json::to_vec(&stored)
            .map_err(|error| Error::bug(format!("a session cannot be written: {error}")))?;
        let key = key(proof.hub(), proof.identity());
        self.apply(Write::Put {
            key,
            body: body.into(),
            expect: Expect::Any,
        })
        .await
    }

    /// Forgets a session, as a client that asks for a clean one wants it.
    pub async fn forget(&self, proof: &Authenticated) -> Result<(), Error> {
        let key = key(proof.hub(), proof.identity());
        self.apply(Write::Delete {
            key,
            expect: Expect::Any,
        })
        .await
    }

    async fn apply(&self, write: Write) -> Result<(), Error> {
        match self.store.apply(vec![write]).await {
            // Nothing is expected, so nothing can conflict.
            Ok(_) | Err(ApplyError::Conflict { .. }) => Ok(()),
            Err(ApplyError::Store(error)) => Err(error.into()),
        }
    }
}

/// What hangs on an identity beside its own document goes with it: presence and session.
pub struct Leftovers {
    presences: Arc<crate::presence::Presences>,
}

impl Leftovers {
    /// Clears the store and `presences` when an identity is deleted.
    pub fn new(presences: Arc<crate::presence::Presences>) -> Self {
        Self { presences }
    }
}

impl Companion for Leftovers {
    fn writes<'a>(
        &'a self,
        hub: &'a HubName,
        change: Change<'a>,
    ) -> BoxFuture<'a, Result<Vec<Write>, StoreError>> {
        let Change::Deleted { before } = change else {
            return Box::pin(async { Ok(Vec::new()) });
        };
        let id = before.id().to_string();
        let writes = [Collection::Presence, Collection::Subscriptions].map(|collection| Write::Delete {
            key: Key::new(collection, hub, id.as_str()),
            expect: Expect::Any,
        });
        Box::pin(async move { Ok(writes.to_vec()) })
    }

    fn done(&self, hub: &HubName, change: Change<'_>) {
        if let Change::Deleted { before } = change {
            self.presences.forget(&Address {
                hub: hub.clone(),
                identity: before.id(),
            });
        }
    }
}

fn key(hub: &HubName, identity: &IdentityId) -> Key {
    Key::new(Collection::Subscriptions, hub, identity.to_string())
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Leftovers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leftovers").finish_non_exhaustive()
    }
}
