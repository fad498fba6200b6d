//! A hub: everything that belongs to one name, and the list of all hubs of a server by their host names.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::access::bearer::Bearers;
use crate::access::roles::Directory;
use crate::access::{Authorized, Caller, Gate, HubProfile, Policies, Refusal, Rules, operation};
use crate::audit::{self, Act, Entry};
use crate::bus::Bus;
use crate::clock::{Clock, Timestamp};
use crate::description::Descriptions;
use crate::entropy::Entropy;
use crate::error::Error;
use crate::fetch::Fetch;
use crate::identity::IfMatch;
use crate::limits::{Limit, Limits};
use crate::log::Log;
use crate::readers::{ConsumerGroups, ReaderSlots};
use crate::secret::{Vault, ledger};
use crate::settings::{Current, HubSettings, Settings, TlsAgreement};
use crate::store::{ApplyError, Collection, Expect, Key, Store, Write};
use crate::telemetry::{EventEncoder, Telemetry};
use crate::tenancy::{HostName, HubName};
use crate::trust::revocation::{Ports, Revocation};
use crate::trust::{Authorities, Trust};

/// What all hubs of a server share.
#[derive(Clone)]
pub struct Seams {
    /// Documents.
    pub store: Arc<dyn Store>,
    /// Seals what is secret in documents.
    pub vault: Arc<Vault>,
    /// Who holds a connection.
    pub bus: Arc<dyn Bus>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Documents of other servers.
    pub fetch: Arc<dyn Fetch>,
    /// Limits in force.
    pub limits: Arc<Limits>,
    /// How messages are written for readers.
    pub encoder: Arc<dyn EventEncoder>,
}

/// What is decided about a hub when it is first started, and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Founding {
    #[serde(rename = "v")]
    format: u8,
    created_micros: i64,
}

/// One hub.
pub struct Hub {
    name: HubName,
    hosts: Vec<HostName>,
    created: Timestamp,
    trust: Trust,
    gate: Gate,
    settings: HubSettings,
    telemetry: Telemetry,
    groups: ConsumerGroups,
    readers: ReaderSlots,
    descriptions: Descriptions,
}

impl Hub {
    /// Opens a hub, creating it with its policies when the store does not know it. `hosts` are all names under which it answers,
    /// the first of them the one it calls itself by; `log` is its own.
    pub async fn open(
        name: HubName,
        hosts: Vec<HostName>,
        log: Arc<dyn Log>,
        seams: &Seams,
    ) -> Result<Self, Error> {
        let created = found(&name, seams).await?;
        let operator = Caller::operator();
        let (current, by) = (
            seams.vault.current(),
            ledger::Rotator::new(&operator, seams.clock.now()),
        );
        ledger::admit(&*seams.store, &seams.vault, &name, current, &by).await?;
        let policies = Policies::open(
            name.clone(),
            Arc::clone(&seams.store),
            Arc::clone(&seams.vault),
            Arc::clone(&seams.bus),
            Arc::clone(&seams.clock),
            Arc::clone(&seams.limits),
        )
        .await?;
        let ports = Ports {
            store: Arc::clone(&seams.store),
            bus: Arc::clone(&seams.bus),
            clock: Arc::clone(&seams.clock),
            entropy: Arc::clone(&seams.entropy),
            fetch: Arc::clone(&seams.fetch),
            limits: Arc::clone(&seams.limits),
        };
        let trust = Trust::open(&name, ports).await?;
        let profile = HubProfile {
            name: name.clone(),
            hosts: hosts.clone(),
            events_entity: name.as_str().to_owned(),
            rules: Rules::default(),
        };
        let gate = Gate::new(
            profile,
            Arc::new(policies),
            trust.clone(),
            Arc::clone(&seams.store),
            Arc::clone(&seams.vault),
            Arc::clone(&seams.clock),
            Arc::clone(&seams.limits),
        );
        let directory = Directory::open(
            name.clone(),
            Arc::clone(&seams.store),
            Arc::clone(&seams.bus),
            Arc::clone(&seams.clock),
            Arc::clone(&seams.limits),
        )
        .await?;
        let gate = gate.with_bearers(Bearers::new(
            Arc::new(directory),
            Arc::clone(&seams.fetch),
            Arc::clone(&seams.clock),
            Arc::clone(&seams.limits),
        ));
        let settings = HubSettings::open(
            name.clone(),
            Arc::clone(&seams.store),
            Arc::clone(&seams.bus),
            &*seams.entropy,
            Arc::clone(&seams.limits),
        )
        .await?;
        settings.put_in_force(&gate);
        gate.restore_observed().await?;
        let telemetry = Telemetry::new(
            log,
            Arc::clone(&seams.encoder),
            Arc::clone(&seams.clock),
            Arc::clone(&seams.limits),
        );
        let groups = ConsumerGroups::new(
            Arc::clone(&seams.store),
            Arc::clone(&seams.clock),
            name.clone(),
            seams.limits.size(Limit::ConsumerGroupsMax),
        );
        let readers = ReaderSlots::new(seams.limits.size(Limit::ReceiversPerPartitionMax));
        let descriptions = Descriptions::new(
            name.clone(),
            Arc::clone(&seams.store),
            Arc::clone(&seams.clock),
            Arc::clone(&seams.limits),
        );
        Ok(Self {
            name,
            hosts,
            created,
            trust,
            gate,
            settings,
            telemetry,
            groups,
            readers,
            descriptions,
        })
    }

    /// Its name, which is also that of its Event Hubs-compatible endpoint.
    pub fn name(&self) -> &HubName {
        &self.name
    }

    /// The host names under which it answers, the one it calls itself by first.
    pub fn hosts(&self) -> &[HostName] {
        &self.hosts
    }

    /// The host name it calls itself by.
    pub fn host(&self) -> &str {
        self.hosts.first().map_or(self.name.as_str(), HostName::as_str)
    }

    /// When it was created.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// Who may do what.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// What its owner can change while it runs.
    pub fn settings(&self) -> &HubSettings {
        &self.settings
    }

    /// Whether a connection's TLS is what the hub demands; a listener without TLS has none and is not asked.
    pub fn admit_tls(&self, agreement: Option<TlsAgreement>) -> Result<(), Refusal> {
        if let Some(agreement) = agreement {
            self.gate.observed().tls(agreement.version, self.gate.now());
        }
        self.settings.current().settings.tls.admit(agreement)
    }

    /// Changes the settings: durable first, then in force ([`HubSettings::update`]).
    pub async fn update_settings(
        &self,
        proof: &Authorized<operation::Management>,
        change: impl FnOnce(Settings) -> Result<Settings, Error>,
        if_match: &IfMatch,
    ) -> Result<Arc<Current>, Error> {
        self.settings.update(proof, &self.gate, change, if_match).await
    }

    /// Its CA certificates.
    pub fn authorities(&self) -> &Authorities {
        &self.trust.authorities
    }

    /// Which certificates lost their trust.
    pub fn revocation(&self) -> &Arc<Revocation> {
        &self.trust.revocation
    }

    /// Device-to-cloud messages.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Consumer groups.
    pub fn groups(&self) -> &ConsumerGroups {
        &self.groups
    }

    /// What people note about it.
    pub fn descriptions(&self) -> &Descriptions {
        &self.descriptions
    }

    /// Who reads.
    pub fn readers(&self) -> &ReaderSlots {
        &self.readers
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// When the hub was created; creates it when it was not.
async fn found(name: &HubName, seams: &Seams) -> Result<Timestamp, Error> {
    let key = Key::new(Collection::Hubs, name, "");
    loop {
        if let Some(document) = seams.store.get(&key).await? {
            let founding: Founding = serde_json::from_slice(&document.body)
                .map_err(|error| Error::bug(format!("the document of hub {name} cannot be read: {error}")))?;
            return Ok(Timestamp::from_micros(founding.created_micros));
        }
        let founding = Founding {
            format: 1,
            created_micros: seams.clock.now().as_micros(),
        };
        let body = serde_json::to_vec(&founding)
            .map_err(|error| Error::bug(format!("the document of hub {name} cannot be written: {error}")))?;
        let mut batch = vec![Write::Put {
            key: key.clone(),
            body: body.into(),
            expect: Expect::Absent,
        }];
        batch.push(ledger::of_new_hub(name, &seams.vault)?);
        batch.extend(Policies::of_new_hub(name, &seams.vault, &*seams.entropy)?);
        let operator = Caller::operator();
        let entry = Entry::new(&operator, Act::HubCreate, audit::Subject::hub(name));
        batch.push(entry.write(name, seams.clock.now())?);
        match seams.store.apply(batch).await {
            Ok(_) | Err(ApplyError::Conflict { .. }) => {}
            Err(ApplyError::Store(error)) => return Err(error.into()),
        }
    }
}

/// All hubs of a server.
#[derive(Debug, Default)]
pub struct Hubs {
    by_host: RwLock<HashMap<HostName, Arc<Hub>>>,
}

/// Two hubs claim one host name. The operator's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the host name {host} is given to the hubs {first} and {second}; a host name names one hub")]
pub struct HostTaken {
    host: HostName,
    first: HubName,
    second: HubName,
}

impl Hubs {
    /// Adds a hub under all of its names, or under none.
    pub fn add(&self, hub: &Arc<Hub>) -> Result<(), HostTaken> {
        let mut by_host = self.by_host.write().unwrap_or_else(PoisonError::into_inner);
        for host in hub.hosts() {
            if let Some(other) = by_host.get(host)
                && other.name() != hub.name()
            {
                let (first, second) = (other.name().clone(), hub.name().clone());
                return Err(HostTaken {
                    host: host.clone(),
                    first,
                    second,
                });
            }
        }
        for host in hub.hosts() {
            by_host.insert(host.clone(), Arc::clone(hub));
        }
        Ok(())
    }

    /// The hub that answers to a host, given with or without a port.
    pub fn by_host(&self, host: &str) -> Option<Arc<Hub>> {
        self.by_host
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&HostName::new(host))
            .cloned()
    }

    /// The hub that a TLS client asks for: a name without port and trailing dot, in lower case. Allocates nothing.
    pub fn by_server_name(&self, name: &str) -> Option<Arc<Hub>> {
        let by_host = self.by_host.read().unwrap_or_else(PoisonError::into_inner);
        by_host.get(name).cloned()
    }

    /// The hub of a name.
    pub fn by_name(&self, name: &HubName) -> Option<Arc<Hub>> {
        let by_host = self.by_host.read().unwrap_or_else(PoisonError::into_inner);
        by_host.values().find(|hub| hub.name() == name).cloned()
    }

    /// Every hub once, by name.
    pub fn all(&self) -> Vec<Arc<Hub>> {
        let by_host = self.by_host.read().unwrap_or_else(PoisonError::into_inner);
        let mut hubs: Vec<Arc<Hub>> = by_host.values().cloned().collect();
        hubs.sort_by(|a, b| a.name().cmp(b.name()));
        hubs.dedup_by(|a, b| a.name() == b.name());
        hubs
    }
}
