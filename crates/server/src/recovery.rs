//! A way back in for the operator of a server whose owner is locked out: local authentication of services is off and no issuer works,
//! the keys of every owner are lost, or the network rules keep everybody out.
//!
//! It works on the data folder of a stopped server, under its lock. Nothing is given that the operator does not have: whoever can write
//! the folder can start a server of their own over it, and keys are made only with the master key. Each step is in the audit trail,
//! in the commit that takes it. Refused: a switch of the configuration, which would stay on; and a right of the loopback listener,
//! which every process of the machine can reach.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engines::local::LocalBus;
use engines::sqlite::{OpenError, SqliteStore};
use engines::{DataFolderLock, LockError};
use hub::access::operation::Management;
use hub::access::{Authorized, Policies, Policy, Rights};
use hub::bus::Bus;
use hub::clock::{Clock, SystemClock};
use hub::entropy::SystemEntropy;
use hub::error::Error;
use hub::identity::IfMatch;
use hub::limits::{Fidelity, Limits};
use hub::network::NetworkRules;
use hub::secret::ledger::{self, Rotator};
use hub::secret::{SymmetricKey, Vault};
use hub::settings::{HubSettings, Settings};
use hub::store::Store;
use hub::tenancy::HubName;

use crate::config::Config;
use crate::master_key::{MasterKeyError, Source};

/// The policy that holds every right.
const OWNER: &str = "iothubowner";

/// What the audit trail says besides what changed.
const REMARK: &str = "recovery on the stopped server";

/// What shall be given back. That shared access signatures of services are taken, always is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// No network rules.
    pub open_network: bool,
    /// Two new keys for the policy `iothubowner`, which is made if it is gone.
    pub new_owner: bool,
}

/// What was done. Without `Debug`: it may hold a key.
pub struct Recovered {
    /// The hub.
    pub hub: String,
    /// Whether shared access signatures of services were refused before.
    pub local_auth_was_off: bool,
    /// How many network rules were removed.
    pub rules_removed: usize,
    /// The name of the owner's policy and its new primary key.
    pub owner: Option<(&'static str, SymmetricKey)>,
}

/// Why nothing was done. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// There is no data folder.
    #[error("{} holds no data of a server; name its data folder", .0.display())]
    NoData(PathBuf),
    /// The server runs, or the folder cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The folder cannot be looked through.
    #[error("the hubs in {} cannot be listed: {source}", folder.display())]
    Hubs {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No hub is meant, or one of several.
    #[error("say which hub is meant; in this data folder {}", hubs_in_words(.0))]
    Which(Vec<String>),
    /// The master key is missing.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// There is no master key with which new keys could be kept.
    #[error(
        "new keys cannot be stored without the master key; give back its file, or name it with --master-key-file"
    )]
    NoMasterKey,
    /// Something of the hub cannot be read or written.
    #[error("the hub cannot be changed: {}", .0.detail().unwrap_or_else(|| .0.message()))]
    Hub(#[from] Error),
}

/// Gives an owner a way back into a hub of a stopped server. Durable when it returns.
///
/// # Errors
/// What is told apart by [`RecoveryError`]. The steps are taken one after the other: an error says that those after it were not.
pub async fn recover(
    data_dir: &Path,
    master_key_file: Option<&Path>,
    hub: Option<&str>,
    wanted: Wanted,
) -> Result<Recovered, RecoveryError> {
    let file = data_dir.join("store.db");
    if !file.is_file() {
        return Err(RecoveryError::NoData(data_dir.to_owned()));
    }
    let _lock = DataFolderLock::acquire(data_dir)?;
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&file)?);
    let hub = find(data_dir, &*store, hub).await?;
    let limits = Arc::new(Limits::new(Fidelity::Native));
    // Nobody is connected who could hear of it.
    let bus: Arc<dyn Bus> = Arc::new(LocalBus::new());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let proof: Authorized<Management> = Authorized::of_operator(hub.clone());
    let settings = HubSettings::open(
        hub.clone(),
        Arc::clone(&store),
        Arc::clone(&bus),
        &SystemEntropy,
        Arc::clone(&limits),
    )
    .await?;
    let before = settings.current();
    let change = |settings: Settings| {
        let network = if wanted.open_network {
            NetworkRules::default()
        } else {
            settings.network.clone()
        };
        Ok(Settings {
            disable_local_auth: false,
            network,
            ..settings
        })
    };
    let was = &before.settings;
    let rules_removed = if wanted.open_network {
        was.network.rules().len()
    } else {
        0
    };
    if was.disable_local_auth || (wanted.open_network && !was.network.is_open()) {
        settings
            .update_in_store(&proof, clock.now(), change, &IfMatch::Any, REMARK)
            .await?;
    }
    let owner = if wanted.new_owner {
        let seams = Seams {
            store,
            bus,
            clock,
            limits,
        };
        let key = new_owner(data_dir, master_key_file, &proof, seams).await?;
        Some((OWNER, key))
    } else {
        None
    };
    Ok(Recovered {
        hub: hub.to_string(),
        local_auth_was_off: was.disable_local_auth,
        rules_removed,
        owner,
    })
}

/// What the parts of a hub work over.
struct Seams {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    limits: Arc<Limits>,
}

/// Gives the owner's policy two new keys, so that those that were lost are worth nothing any more.
async fn new_owner(
    data_dir: &Path,
    master_key_file: Option<&Path>,
    proof: &Authorized<Management>,
    seams: Seams,
) -> Result<SymmetricKey, RecoveryError> {
    let hub = proof.hub().clone();
    let source = Source::find(&Config {
        data_dir: data_dir.to_owned(),
        master_key_file: master_key_file.map(Path::to_owned).unwrap_or_default(),
        ..Config::default()
    });
    let keys = source.read()?.ok_or(RecoveryError::NoMasterKey)?;
    let vault = Arc::new(Vault::new(&keys, Arc::new(SystemEntropy)));
    let by = Rotator::new(proof.caller(), seams.clock.now());
    ledger::admit(&*seams.store, &vault, &hub, vault.current(), &by).await?;
    let policies = Policies::open(hub, seams.store, vault, seams.bus, seams.clock, seams.limits).await?;
    let policy = Policy::generate(OWNER, Rights::ALL, &SystemEntropy)?;
    let key = policy.primary.clone();
    policies.put(proof, policy).await?;
    Ok(key)
}

/// The hub of a name, or the only one.
async fn find(data_dir: &Path, store: &dyn Store, wanted: Option<&str>) -> Result<HubName, RecoveryError> {
    let folder = data_dir.join("hubs");
    let failed = |source| RecoveryError::Hubs {
        folder: folder.clone(),
        source,
    };
    let mut hubs = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(name) = name.to_str().and_then(|name| HubName::parse(name).ok()) else {
            continue;
        };
        // A folder without documents is none of a hub.
        if ledger::read(store, &name).await.map_err(Error::from)?.is_some() {
            hubs.push(name);
        }
    }
    hubs.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    let names = || hubs.iter().map(ToString::to_string).collect();
    let found = match wanted {
        Some(wanted) => hubs.iter().find(|hub| hub.as_str().eq_ignore_ascii_case(wanted)),
        None => hubs.first().filter(|_| hubs.len() == 1),
    };
    found.cloned().ok_or_else(|| RecoveryError::Which(names()))
}

fn hubs_in_words(hubs: &[String]) -> String {
    match hubs {
        [] => "there is none".to_owned(),
        hubs => format!("there are {}", hubs.join(", ")),
    }
}
