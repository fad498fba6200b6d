//! The settings of one hub, in memory and in the store.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::access::{Authorized, Gate, operation};
use crate::audit::{Act, Entry, Subject};
use crate::bus::{Bus, Mail};
use crate::clock::Timestamp;
use crate::entropy::Entropy;
use crate::error::{Code, Error};
use crate::identity::{Etag, IfMatch};
use crate::limits::Limits;
use crate::store::{ApplyError, Collection, Expect, Key, Store, Version, Write};
use crate::tenancy::HubName;

use super::Settings;
use super::stored::{decode, encode};

/// Id of the document in [`Collection::Hubs`].
const ID: &str = "settings";

/// Settings with the etag that names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    /// Changes with every update.
    pub etag: Etag,
    /// The settings.
    pub settings: Settings,
}

/// What is in force, and the write that it came from.
#[derive(Debug, Clone)]
struct Held {
    current: Arc<Current>,
    version: Option<Version>,
}

/// The settings of one hub. Changes go through here, one after the other.
pub struct HubSettings {
    hub: HubName,
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    limits: Arc<Limits>,
    held: RwLock<Held>,
    writer: tokio::sync::Mutex<()>,
}

impl HubSettings {
    /// Reads the settings of a hub; one without a document has the defaults.
    ///
    /// # Errors
    /// When the document cannot be read or understood. A hub must not open without its settings: it would be open to all.
    pub async fn open(
        hub: HubName,
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        entropy: &dyn Entropy,
        limits: Arc<Limits>,
    ) -> Result<Self, Error> {
        let held = match store.get(&key(&hub)).await? {
            Some(document) => Held {
                current: Arc::new(decode(&document.body)?),
                version: Some(document.version),
            },
            None => Held {
                current: Arc::new(Current {
                    etag: Etag::first(entropy),
                    settings: Settings::default(),
                }),
                version: None,
            },
        };
        Ok(Self {
            hub,
            store,
            bus,
            limits,
            held: RwLock::new(held),
            writer: tokio::sync::Mutex::new(()),
        })
    }

    /// The settings in force.
    pub fn current(&self) -> Arc<Current> {
        Arc::clone(&self.held().current)
    }

    /// Changes the settings: durable first, then in force at the gate, then every open connection asks it again.
    ///
    /// # Errors
    /// That of `change`; `PreconditionFailed` when the settings have another etag than `if_match` names; `ArgumentInvalid` when there
    /// would be more network rules than may be, or a version of TLS without a cipher suite.
    pub async fn update(
        &self,
        proof: &Authorized<operation::Management>,
        gate: &Gate,
        change: impl FnOnce(Settings) -> Result<Settings, Error>,
        if_match: &IfMatch,
    ) -> Result<Arc<Current>, Error> {
        let _writer = self.writer.lock().await;
        let (current, is_new) = self.write(proof, gate.now(), change, if_match, None).await?;
        if is_new {
            self.put_in_force(gate);
            self.bus.broadcast(&self.hub, Mail::Recheck);
        }
        Ok(current)
    }

    /// The same for a hub that is not open: durable, and in force with its next start. `remark` stands in the audit trail besides.
    ///
    /// # Errors
    /// Those of [`update`](Self::update).
    pub async fn update_in_store(
        &self,
        proof: &Authorized<operation::Management>,
        now: Timestamp,
        change: impl FnOnce(Settings) -> Result<Settings, Error>,
        if_match: &IfMatch,
        remark: &str,
    ) -> Result<Arc<Current>, Error> {
        let _writer = self.writer.lock().await;
        let (current, _) = self.write(proof, now, change, if_match, Some(remark)).await?;
        Ok(current)
    }

    /// Writes a change, and says whether it is one. The writer's lock is held.
    async fn write(
        &self,
        proof: &Authorized<operation::Management>,
        now: Timestamp,
        change: impl FnOnce(Settings) -> Result<Settings, Error>,
        if_match: &IfMatch,
        remark: Option<&str>,
    ) -> Result<(Arc<Current>, bool), Error> {
        if *proof.hub() != self.hub {
            return Err(Error::bug(
                "a proof for one hub was used for the settings of another",
            ));
        }
        let held = self.held();
        check_etag(if_match, held.current.etag)?;
        let settings = change(held.current.settings.clone())?;
        if let Err(invalid) = settings.network.check(&self.limits) {
            return Err(Error::argument(invalid.to_string()));
        }
        if let Err(invalid) = settings.tls.check() {
            return Err(Error::argument(invalid.to_string()));
        }
        if settings == held.current.settings && held.version.is_some() {
            return Ok((held.current, false));
        }
        let current = Arc::new(Current {
            etag: held.current.etag.next(),
            settings,
        });
        let mut entry = Entry::new(proof.caller(), Act::SettingUpdate, Subject::hub(&self.hub));
        for name in changed(&held.current.settings, &current.settings) {
            entry = entry.saying(name);
        }
        if let Some(remark) = remark {
            entry = entry.saying(remark);
        }
        let entry = entry.write(&self.hub, now)?;
        let write = Write::Put {
            key: key(&self.hub),
            body: encode(&current)?.into(),
            expect: held.version.map_or(Expect::Absent, Expect::Version),
        };
        let version = self
            .store
            .apply(vec![write, entry])
            .await
            .map_err(|error| match error {
                ApplyError::Conflict { .. } => {
                    Error::bug("the settings of the hub were written behind its back")
                }
                ApplyError::Store(error) => error.into(),
            })?;
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Held {
            current: Arc::clone(&current),
            version: Some(version),
        };
        Ok((current, true))
    }

    /// Puts the settings in force at the gate.
    pub fn put_in_force(&self, gate: &Gate) {
        let current = self.current();
        gate.set_rules(current.settings.rules());
        gate.set_network(current.settings.network.clone());
    }

    fn held(&self) -> Held {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for HubSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubSettings")
            .field("hub", &self.hub)
            .field("current", &self.current())
            .finish_non_exhaustive()
    }
}

/// What the audit trail says of a change: the names of what is different, and the values of switches.
fn changed(before: &Settings, after: &Settings) -> Vec<String> {
    let switch = |name: &str, before: bool, after: bool| {
        (before != after).then(|| format!("{name} {before} -> {after}"))
    };
    [
        switch(
            "disableLocalAuth",
            before.disable_local_auth,
            after.disable_local_auth,
        ),
        switch(
            "disableDeviceSAS",
            before.disable_device_sas,
            after.disable_device_sas,
        ),
        switch(
            "disableModuleSAS",
            before.disable_module_sas,
            after.disable_module_sas,
        ),
        (before.tls.min_tls_version != after.tls.min_tls_version).then(|| "minTlsVersion".to_owned()),
        (before.tls.cipher_suites != after.tls.cipher_suites).then(|| "cipherSuites".to_owned()),
        (before.network != after.network).then(|| "network rules".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn check_etag(if_match: &IfMatch, existing: Etag) -> Result<(), Error> {
    match if_match {
        IfMatch::Absent | IfMatch::Any => Ok(()),
        IfMatch::Etag(text) if Etag::parse(text) == Some(existing) => Ok(()),
        IfMatch::Etag(_) => Err(Error::peer(
            Code::PreconditionFailed,
            format!(
                "The settings have been changed meanwhile; their etag is {existing}. Read them again, then change them"
            ),
        )),
    }
}

fn key(hub: &HubName) -> Key {
    Key::new(Collection::Hubs, hub, ID)
}
