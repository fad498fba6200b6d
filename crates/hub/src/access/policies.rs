//! The policies of one hub, held in memory: every token that names one is checked against them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::bus::{Bus, Mail};
use crate::entropy::Entropy;
use crate::error::{Code, Error};
use crate::limits::{Limit, Limits};
use crate::store::{ApplyError, Collection, Expect, Key, Range, Store, Write};
use crate::tenancy::HubName;

use super::operation;
use super::policy::{self, DEFAULTS, Policy};
use super::proof::Authorized;
use super::rights::Rights;

type Named = BTreeMap<Arc<str>, Arc<Policy>>;

/// The policies of one hub. Changes go through here, one after the other, and end the connections that they leave without ground.
pub struct Policies {
    hub: HubName,
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    limits: Arc<Limits>,
    held: RwLock<Arc<Named>>,
    writer: tokio::sync::Mutex<()>,
}

impl Policies {
    /// The writes that give a new hub its five policies with random keys. They belong into the batch that creates the hub.
    ///
    /// # Errors
    /// Only a bug.
    pub fn of_new_hub(hub: &HubName, entropy: &dyn Entropy) -> Result<Vec<Write>, Error> {
        let write = |(name, rights): (&str, Rights)| {
            let policy = Policy::generate(name, rights, entropy)?;
            Ok(Write::Put {
                key: key(hub, name),
                body: policy::encode(&policy)?.into(),
                expect: Expect::Absent,
            })
        };
        DEFAULTS.into_iter().map(write).collect()
    }

    /// Reads the policies of a hub.
    pub async fn open(
        hub: HubName,
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        limits: Arc<Limits>,
    ) -> Result<Self, Error> {
        let held = read(&*store, &hub).await?;
        Ok(Self {
            hub,
            store,
            bus,
            limits,
            held: RwLock::new(Arc::new(held)),
            writer: tokio::sync::Mutex::new(()),
        })
    }

    /// Adds a policy, or replaces the one of its name.
    ///
    /// # Errors
    /// `GenericConflict` when the hub would hold more policies than it may.
    pub async fn put(&self, proof: &Authorized<operation::Management>, policy: Policy) -> Result<(), Error> {
        self.check_hub(proof)?;
        let _writer = self.writer.lock().await;
        let mut changed = Named::clone(&self.held());
        let write = Write::Put {
            key: key(&self.hub, &policy.name),
            body: policy::encode(&policy)?.into(),
            expect: Expect::Any,
        };
        changed.insert(policy.name.clone(), Arc::new(policy));
        let service = |policy: &&Arc<Policy>| policy.rights.contains(Rights::SERVICE_CONNECT);
        for (limit, count) in [
            (Limit::PoliciesMax, changed.len()),
            (
                Limit::ServicePoliciesMax,
                changed.values().filter(service).count(),
            ),
        ] {
            self.limits
                .check_len(limit, count)
                .map_err(|exceeded| Error::peer(Code::GenericConflict, exceeded.to_string()))?;
        }
        self.apply(write, changed).await
    }

    /// Removes a policy.
    ///
    /// # Errors
    /// `GenericNotFound` when there is none of this name.
    pub async fn delete(&self, proof: &Authorized<operation::Management>, name: &str) -> Result<(), Error> {
        self.check_hub(proof)?;
        let _writer = self.writer.lock().await;
        let mut changed = Named::clone(&self.held());
        if changed.remove(name).is_none() {
            return Err(Error::peer(Code::GenericNotFound, "The policy is unknown"));
        }
        let write = Write::Delete {
            key: key(&self.hub, name),
            expect: Expect::Any,
        };
        self.apply(write, changed).await
    }

    /// The policy of a name.
    pub fn get(&self, name: &str) -> Option<Arc<Policy>> {
        self.held().get(name).cloned()
    }

    /// All policies, by name.
    pub fn list(&self) -> Vec<Arc<Policy>> {
        self.held().values().cloned().collect()
    }

    fn held(&self) -> Arc<Named> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn check_hub(&self, proof: &Authorized<operation::Management>) -> Result<(), Error> {
        if *proof.hub() == self.hub {
            return Ok(());
        }
        Err(Error::bug(
            "a proof for one hub was used for the policies of another",
        ))
    }

    async fn apply(&self, write: Write, changed: Named) -> Result<(), Error> {
        self.store.apply(vec![write]).await.map_err(|error| match error {
            ApplyError::Conflict { .. } => Error::bug("a policy write without condition met a conflict"),
            ApplyError::Store(error) => error.into(),
        })?;
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(changed);
        self.bus.broadcast(&self.hub, Mail::Recheck);
        Ok(())
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.held().values()).finish()
    }
}

async fn read(store: &dyn Store, hub: &HubName) -> Result<Named, Error> {
    // A hub whose limit was lowered keeps what it has; the page is larger than any limit that makes sense.
    let mut range = Range {
        collection: Collection::Policies,
        hub: hub.clone(),
        prefix: String::new(),
        after: None,
        limit: 256,
    };
    let mut named = Named::new();
    loop {
        let page = store.scan(&range).await?;
        for document in &page {
            let policy = policy::decode(&document.key.id, &document.body)?;
            named.insert(policy.name.clone(), Arc::new(policy));
        }
        match page.last() {
            Some(last) if page.len() == range.limit => range.after = Some(last.key.id.to_string()),
            _ => return Ok(named),
        }
    }
}

fn key(hub: &HubName, name: &str) -> Key {
    Key::new(Collection::Policies, hub, name)
}
