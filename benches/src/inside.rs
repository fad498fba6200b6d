//! A hub inside of this process: the gate and what it stands on, over the engines of one node, without a server around it.

use std::path::Path;
use std::sync::Arc;

use engines::lists::ListFolder;
use engines::local::LocalBus;
use engines::sqlite::SqliteStore;
use hub::access::bearer::Bearers;
use hub::access::operation::Management;
use hub::access::roles::Directory;
use hub::access::{Authorized, Gate, HubProfile, Policies, Rules};
use hub::clock::SystemClock;
use hub::entropy::SystemEntropy;
use hub::fetch::NoFetch;
use hub::limits::{Fidelity, Limits};
use hub::secret::Vault;
use hub::tenancy::{HostName, HubName};
use hub::trust::Trust;
use hub::trust::revocation::{Ports, Revocation};

use crate::failure::Failure;
use crate::subject::HUB;

/// Its host.
pub(crate) const HOST: &str = "hub1.example.test";

/// A hub.
pub(crate) struct Inside {
    /// Who may do what.
    pub(crate) gate: Gate,
    /// What lost its trust.
    pub(crate) revocation: Arc<Revocation>,
}

impl Inside {
    /// A new one, with its files in a folder.
    pub(crate) async fn open(folder: &Path) -> Result<Self, Failure> {
        let name = HubName::parse(HUB).map_err(failed)?;
        let ports = Ports {
            store: Arc::new(SqliteStore::open(&folder.join("inside.db")).map_err(failed)?),
            bus: Arc::new(LocalBus::new()),
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(SystemEntropy),
            fetch: Arc::new(NoFetch),
            limits: Arc::new(Limits::new(Fidelity::Native)),
        };
        let vault = Arc::new(Vault::ephemeral(Arc::clone(&ports.entropy)));
        let trust = Trust::open(&name, ports.clone()).await.map_err(failed)?;
        let lists = ListFolder::open(&folder.join("inside-lists")).map_err(failed)?;
        trust.revocation.connect(Arc::new(lists)).await.map_err(failed)?;
        let revocation = Arc::clone(&trust.revocation);
        let gate = gate(name, ports, vault, trust).await?;
        Ok(Self { gate, revocation })
    }

    /// Leave to change it.
    pub(crate) fn owner(&self) -> Authorized<Management> {
        self.gate.authorize_operator()
    }
}

async fn gate(name: HubName, ports: Ports, vault: Arc<Vault>, trust: Trust) -> Result<Gate, Failure> {
    let policies = policies(&name, ports.clone(), Arc::clone(&vault)).await?;
    let Ports {
        store,
        bus,
        clock,
        entropy: _,
        fetch,
        limits,
    } = ports;
    let directory = Directory::open(
        name.clone(),
        Arc::clone(&store),
        bus,
        Arc::clone(&clock),
        Arc::clone(&limits),
    );
    let directory = Arc::new(directory.await.map_err(failed)?);
    let bearers = Bearers::new(directory, fetch, Arc::clone(&clock), Arc::clone(&limits));
    let profile = HubProfile {
        events_entity: format!("iothub-ehub-{name}").as_str().into(),
        hosts: vec![HostName::new(HOST)],
        rules: Rules::default(),
        name,
    };
    let gate = Gate::new(profile, policies, trust, store, vault, clock, limits);
    Ok(gate.with_bearers(bearers))
}

/// Those that a new hub has.
async fn policies(name: &HubName, ports: Ports, vault: Arc<Vault>) -> Result<Arc<Policies>, Failure> {
    let writes = Policies::of_new_hub(name, &vault, &*ports.entropy).map_err(failed)?;
    ports
        .store
        .apply(writes)
        .await
        .map_err(|error| Failure::environment("opening a hub", format!("{error:?}")))?;
    let policies = Policies::open(
        name.clone(),
        ports.store,
        vault,
        ports.bus,
        ports.clock,
        ports.limits,
    );
    policies.await.map(Arc::new).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::environment("opening a hub", error)
}
