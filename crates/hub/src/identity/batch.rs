//! A judged change of a device and of what is part of it, ready to be applied: all of it or nothing.

use std::sync::Arc;

use crate::access::Caller;
use crate::bus::{Address, Bus, Mail};
use crate::clock::Clock;
use crate::error::Error;
use crate::secret::Vault;
use crate::store::{ApplyError, Expect, Key, Store, StoreError, Version, Write};
use crate::tenancy::HubName;

use super::audited;
use super::change::{Change, Companion};
use super::device::{Device, Status};
use super::module::Module;
use super::{IdentityId, IdentityRef, Registry, registry, statistics, stored, stored_module};

/// Changes in the order in which companions hear of them, and all writes that go with them.
pub(super) struct Batch {
    vault: Arc<Vault>,
    steps: Vec<Step>,
    writes: Vec<Write>,
    /// Identities whose connections may have lost their ground.
    rechecks: Vec<IdentityId>,
}

/// The change of one identity; never from nothing to nothing.
struct Step {
    before: Option<Identity>,
    after: Option<Identity>,
}

enum Identity {
    Device(Device),
    Module(Module),
}

impl Batch {
    fn new(vault: Arc<Vault>) -> Self {
        Self {
            vault,
            steps: Vec::new(),
            writes: Vec::new(),
            rechecks: Vec::new(),
        }
    }

    /// Adds the change of a device: the write under compare-and-set, the counters, the mail.
    pub(super) fn change_device(
        &mut self,
        hub: &HubName,
        before: Option<(Device, Version)>,
        after: Option<Device>,
    ) -> Result<(), StoreError> {
        let (before, version) = before.unzip();
        let Some(id) = before.as_ref().or(after.as_ref()).map(|device| &device.id) else {
            return Ok(());
        };
        let key = registry::key(hub, id);
        let encode = |device| stored::encode(device, &self.vault, &key);
        let body = after.as_ref().map(encode).transpose()?;
        self.writes.push(write(key, version, body));
        let status = |device: &Option<Device>| device.as_ref().map(|device| device.status);
        let moves = statistics::moves(hub, status(&before), status(&after));
        self.writes.extend(moves);
        if is_disabled_by(before.as_ref(), after.as_ref()) {
            self.recheck(IdentityId::device(id.clone()));
        }
        self.add(before.map(Identity::Device), after.map(Identity::Device));
        Ok(())
    }

    /// Adds the change of a module.
    pub(super) fn change_module(
        &mut self,
        hub: &HubName,
        before: Option<(Module, Version)>,
        after: Option<Module>,
    ) -> Result<(), StoreError> {
        let (before, version) = before.unzip();
        let Some(module) = before.as_ref().or(after.as_ref()) else {
            return Ok(());
        };
        let key = registry::module_key(hub, &module.device, &module.id);
        let encode = |module| stored_module::encode(module, &self.vault, &key);
        let body = after.as_ref().map(encode).transpose()?;
        self.writes.push(write(key, version, body));
        self.add(before.map(Identity::Module), after.map(Identity::Module));
        Ok(())
    }

    /// Adds writes that are no change of an identity.
    pub(super) fn extend(&mut self, writes: impl IntoIterator<Item = Write>) {
        self.writes.extend(writes);
    }

    /// Tells the connection of an identity to check again, once the batch is durable.
    pub(super) fn recheck(&mut self, identity: IdentityId) {
        if !self.rechecks.contains(&identity) {
            self.rechecks.push(identity);
        }
    }

    fn add(&mut self, before: Option<Identity>, after: Option<Identity>) {
        let step = Step { before, after };
        if step.takes_ground()
            && let Some(change) = step.change()
        {
            self.recheck(change.identity().id());
        }
        self.steps.push(step);
    }
}

/// Whether an enabled device is disabled by a change.
pub(super) fn is_disabled_by(before: Option<&Device>, after: Option<&Device>) -> bool {
    let status = |device: &Device| device.status;
    before.map(status) == Some(Status::Enabled) && after.map(status) == Some(Status::Disabled)
}

fn write(key: Key, before: Option<Version>, body: Option<Vec<u8>>) -> Write {
    let expect = before.map_or(Expect::Absent, Expect::Version);
    match body {
        Some(body) => Write::Put {
            key,
            body: body.into(),
            expect,
        },
        None => Write::Delete { key, expect },
    }
}

impl Step {
    fn change(&self) -> Option<Change<'_>> {
        match (&self.before, &self.after) {
            (None, Some(after)) => Some(Change::Created {
                after: after.as_ref(),
            }),
            (Some(before), Some(after)) => Some(Change::Updated {
                before: before.as_ref(),
                after: after.as_ref(),
            }),
            (Some(before), None) => Some(Change::Deleted {
                before: before.as_ref(),
            }),
            (None, None) => None,
        }
    }

    /// Whether an open connection may have lost its credential. A creation too: a connection of a deleted namesake may linger.
    fn takes_ground(&self) -> bool {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => !before
                .as_ref()
                .authentication()
                .is_same(after.as_ref().authentication()),
            (None, None) => false,
            _ => true,
        }
    }
}

impl Identity {
    fn as_ref(&self) -> IdentityRef<'_> {
        match self {
            Self::Device(device) => IdentityRef::Device(device),
            Self::Module(module) => IdentityRef::Module(module),
        }
    }
}

/// What it takes to apply a batch.
struct Applying {
    hub: HubName,
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    caller: Caller,
    companions: Vec<Arc<dyn Companion>>,
}

impl Registry {
    /// A batch with nothing in it.
    pub(super) fn batch(&self) -> Batch {
        Batch::new(Arc::clone(&self.vault))
    }

    /// Applies a judged change of `caller`, with its entries of the audit trail, and tells everybody; `false` when something it was
    /// judged by has changed meanwhile. It goes on to its end whether or not the caller waits for it: connections that lost their
    /// ground must hear of it although a client hung up.
    pub(super) async fn apply(&self, hub: &HubName, caller: &Caller, batch: Batch) -> Result<bool, Error> {
        let applying = Applying {
            hub: hub.clone(),
            store: Arc::clone(&self.store),
            bus: Arc::clone(&self.bus),
            clock: Arc::clone(&self.clock),
            caller: caller.clone(),
            companions: self.companions.clone(),
        };
        let applied = tokio::spawn(async move { applying.run(batch).await }).await;
        applied.unwrap_or_else(|error| Err(Error::bug(format!("a registry write did not end: {error}"))))
    }
}

impl Applying {
    async fn run(&self, mut batch: Batch) -> Result<bool, Error> {
        let mut writes = std::mem::take(&mut batch.writes);
        let changes: Vec<Change<'_>> = batch.steps.iter().filter_map(Step::change).collect();
        let mut holds = Vec::with_capacity(self.companions.len());
        for companion in &self.companions {
            holds.push(companion.hold(&self.hub, &changes).await);
        }
        for &change in &changes {
            for companion in &self.companions {
                writes.extend(companion.writes(&self.hub, change).await?);
            }
        }
        let now = self.clock.now();
        for &change in &changes {
            writes.push(audited::entry(&self.caller, change).write(&self.hub, now)?);
        }
        match self.store.apply(writes).await {
            Ok(_) => {}
            Err(ApplyError::Conflict { .. }) => return Ok(false),
            Err(ApplyError::Store(error)) => return Err(error.into()),
        }
        for identity in &batch.rechecks {
            let address = Address {
                hub: self.hub.clone(),
                identity: identity.clone(),
            };
            self.bus.send(&address, Mail::Recheck);
        }
        for &change in &changes {
            for companion in &self.companions {
                companion.done(&self.hub, change);
            }
        }
        drop(holds);
        Ok(true)
    }
}
