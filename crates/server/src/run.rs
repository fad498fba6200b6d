//! Composition: from a configuration to a running server, and back to nothing.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use engines::blobs::LocalBlobs;
use engines::external::ExternalBlobs;
use engines::lists::ListFolder;
use engines::local::LocalBus;
use engines::segment::{Retention, SegmentLog, Settings};
use engines::sqlite::SqliteStore;
use engines::{DataFolderLock, LockError};
use hub::access::{Policy, Rights};
use hub::audit::Trail;
use hub::bus::Mail;
use hub::clock::{Clock, SystemClock};
use hub::commands::{Commands, Feedback};
use hub::entropy::{Entropy, SystemEntropy};
use hub::error::Error;
use hub::events::Events;
use hub::failures::Failures;
use hub::files::{Files, HubFiles, Place};
use hub::hub::{HostTaken, Hub, Hubs, Seams};
use hub::identity::Registry;
use hub::limits::{Limit, Limits};
use hub::methods::Methods;
use hub::presence::Presences;
use hub::records::Records;
use hub::secret::{MasterKeys, Vault, ledger};
use hub::sessions::{Leftovers, Sessions};
use hub::settings::TlsSettings;
use hub::store::Store;
use hub::tenancy::{HostName, HubName, InvalidHubName};
use hub::twins::Twins;

use crate::app::App;
use crate::background;
use crate::config::{Config, HubConfig};
use crate::event::SectionEncoder;
use crate::fetch::{Fetcher, FetcherError};
use crate::listen::{Accept, BindError, Bound, Drain, HubFinder, Strangers, bind, serve};
use crate::master_key::{self, MasterKeyError, MasterKeyService};
use crate::tls::{CertificateError, CertificateFiles, Certificates, Demands, Terms};
use crate::{admin, amqp, http, mqtt};

/// Connections that may wait to say who they are: each costs its budget of 16 KiB at the most.
const STRANGERS_MAX: usize = 16_384;

/// Why a server does not start. The operator's to mend, but for the last.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else uses the data folder, or it cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The data folder cannot be made or used.
    #[error("cannot use the data folder {}: {source}", folder.display())]
    Folder {
        /// The folder.
        folder: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no master key that can be used.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The document store cannot be opened.
    #[error(transparent)]
    Store(#[from] engines::sqlite::OpenError),
    /// A hub's event log cannot be opened.
    #[error("the event log of hub {hub} cannot be opened: {source}")]
    Log {
        /// The hub.
        hub: HubName,
        /// Why.
        source: engines::segment::OpenError,
    },
    /// The folder of a hub's files cannot be used.
    #[error("the folder {} of uploaded files cannot be used: {source}", folder.display())]
    Blobs {
        /// The folder.
        folder: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder of a hub's revocation lists cannot be used.
    #[error("the folder {} of revocation lists cannot be used: {source}", folder.display())]
    Lists {
        /// The folder.
        folder: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store of a hub's files cannot be used.
    #[error("the store of the files of hub {hub} cannot be used: {reason}")]
    Storage {
        /// The hub.
        hub: HubName,
        /// Why.
        reason: String,
    },
    /// A hub's name is none.
    #[error(transparent)]
    HubName(#[from] InvalidHubName),
    /// Two hubs have one host name.
    #[error(transparent)]
    Host(#[from] HostTaken),
    /// A certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Other servers cannot be read from.
    #[error(transparent)]
    Fetcher(#[from] FetcherError),
    /// TLS cannot be set up with the certificate.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// A port cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The hub could not be opened.
    #[error("a hub cannot be opened: {}", .0.detail().unwrap_or_else(|| .0.message()))]
    Hub(Error),
}

/// What a server tells once it serves.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Where it listens.
    pub addresses: Addresses,
    /// Its hubs.
    pub hubs: Vec<ReadyHub>,
    /// Where health and metrics are.
    pub admin_url: String,
}

/// Where a server listens.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// MQTT over TLS.
    pub mqtt: Vec<SocketAddr>,
    /// AMQP over TLS.
    pub amqp: Vec<SocketAddr>,
    /// HTTPS.
    pub https: Vec<SocketAddr>,
    /// AMQP without TLS.
    pub amqp_plain: Vec<SocketAddr>,
    /// Health and metrics.
    pub admin: Vec<SocketAddr>,
}

/// One hub of a server.
#[derive(Clone)]
pub struct ReadyHub {
    /// Its name.
    pub name: String,
    /// The names under which it answers; it calls itself by the first.
    pub host_names: Vec<String>,
    /// For service SDKs. Holds a key.
    pub service_connection_string: String,
    /// For Event Hubs SDKs. Holds a key.
    pub event_hub_connection_string: String,
}

impl std::fmt::Debug for ReadyHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadyHub")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Runs a server until `shutdown` resolves, then drains it. `on_ready` is called once everything listens.
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()>,
    on_ready: impl FnOnce(&Ready),
) -> Result<(), StartError> {
    make_folder(&config.data_dir)?;
    let _lock = DataFolderLock::acquire(&config.data_dir)?;
    let files = Arc::new(CertificateFiles::open(&config)?);
    let drain = Drain::new();
    let app = Arc::new(open(&config).await?);
    app.certificates.get_or_init(|| Arc::clone(&files));
    let addresses = listen(&config, files.certificates(), &app, &drain)?;
    let background = background::start(&app, config.mode);
    on_ready(&ready(&app, addresses));

    shutdown.await;
    let patience = app.limits.time(Limit::DrainSecsMax);
    tracing::info!(
        patience_secs = patience.as_secs(),
        "the server stops: connections are closed"
    );
    drain.begin();
    for hub in app.hubs.all() {
        // Wakes the connections that hold an identity; they find that the server stops.
        app.bus.broadcast(hub.name(), Mail::Recheck);
    }
    if !drain.finish(patience).await {
        tracing::warn!("some connections did not end in time");
    }
    background.stop();
    if let Err(error) = app.presences.flush().await {
        tracing::warn!(%error, "the last connection times were not written");
    }
    background::keep_all_observed(&app).await;
    tracing::info!("the server has stopped");
    Ok(())
}

fn make_folder(folder: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder);
    made.map_err(|source| StartError::Folder {
        folder: folder.to_owned(),
        source,
    })
}

async fn open(config: &Config) -> Result<App, StartError> {
    let limits = Arc::new(Limits::new(config.fidelity));
    limits.configure(config.fidelity, &config.limits.to_vec());
    let sqlite = Arc::new(SqliteStore::open(&config.data_dir.join("store.db"))?);
    let source = master_key::Source::find(config);
    let keys = master_keys(&source, config, &*sqlite).await?;
    let vault = Arc::new(Vault::new(&keys, Arc::new(SystemEntropy)));
    let seams = Seams {
        store: Arc::<SqliteStore>::clone(&sqlite),
        vault: Arc::clone(&vault),
        bus: Arc::new(LocalBus::new()),
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SystemEntropy),
        fetch: Arc::new(Fetcher::new(None)?),
        limits,
        encoder: Arc::new(SectionEncoder),
    };
    let events = Arc::new(Events::new(
        Arc::clone(&seams.encoder),
        Arc::clone(&seams.clock),
        Arc::clone(&seams.entropy),
    ));
    let hubs = Hubs::default();
    let mut logs = Vec::new();
    for settings in &config.hubs {
        let (hub, log) = open_hub(settings, &config.data_dir, &seams).await?;
        let seam: Arc<dyn hub::log::Log> = Arc::<SegmentLog>::clone(&log);
        events.connect(hub.name(), settings.event_sources, seam);
        logs.push((hub.name().clone(), log));
        let folder = hub_folder(&config.data_dir, hub.name()).join("revocation");
        let files = ListFolder::open(&folder).map_err(|source| StartError::Lists { folder, source })?;
        hub.revocation()
            .connect(Arc::new(files))
            .await
            .map_err(StartError::Hub)?;
        hubs.add(&Arc::new(hub))?;
    }
    let (clock, entropy) = (Arc::clone(&seams.clock), Arc::clone(&seams.entropy));
    let master_keys = MasterKeyService::new(
        source,
        keys,
        vault,
        Arc::clone(&sqlite),
        Arc::clone(&clock),
        Arc::clone(&entropy),
    );
    let app = assemble(seams, &events, hubs, sqlite, logs, master_keys);
    for settings in &config.hubs {
        let name = HubName::parse(&settings.name)?;
        let files = HubFiles {
            place: open_files(settings, &name, &config.data_dir, &clock, &entropy)?,
            notifies: settings.file_notifications,
        };
        app.files.connect(&name, files).await.map_err(StartError::Hub)?;
    }
    Ok(app)
}

/// The master keys; makes one when there is none and nothing is sealed.
async fn master_keys(
    source: &master_key::Source,
    config: &Config,
    store: &dyn Store,
) -> Result<MasterKeys, StartError> {
    if let Some(keys) = source.read()? {
        return Ok(keys);
    }
    for settings in &config.hubs {
        let hub = HubName::parse(&settings.name)?;
        let ledger = ledger::read(store, &hub).await;
        let ledger = ledger.map_err(|error| StartError::Hub(error.into()))?;
        if let Some(key) = ledger.and_then(|ledger| ledger.keys.first().copied()) {
            return Err(source.lost(&hub, key).into());
        }
    }
    let keys = source.make(&SystemEntropy)?;
    tracing::warn!(
        file = %source,
        master_key = %keys.current().id(),
        "a master key was made, under which the keys of devices and policies are stored. Back the file up, apart from the data folder: \
         without it the data folder is of no use"
    );
    Ok(keys)
}

/// Where the files of a hub are kept.
fn open_files(
    config: &HubConfig,
    name: &HubName,
    data_dir: &Path,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Place, StartError> {
    let unusable = |reason: String| StartError::Storage {
        hub: name.clone(),
        reason,
    };
    if let Some(settings) = config.storage.external().map_err(unusable)? {
        let store = ExternalBlobs::open(settings).map_err(|error| unusable(error.to_string()))?;
        return Ok(Place::External(Arc::new(store)));
    }
    let folder = hub_folder(data_dir, name).join("blobs");
    let blobs = LocalBlobs::open(&folder, Arc::clone(clock), Arc::clone(entropy))
        .map_err(|source| StartError::Blobs { folder, source })?;
    Ok(Place::Served(Arc::new(blobs)))
}

fn hub_folder(data_dir: &Path, hub: &HubName) -> std::path::PathBuf {
    data_dir.join("hubs").join(hub.as_str())
}

/// Puts the domain together over its seams. What lives and dies with identities is made before the registry, which tells it.
pub(crate) fn assemble(
    seams: Seams,
    events: &Arc<Events>,
    hubs: Hubs,
    sqlite: Arc<SqliteStore>,
    logs: Vec<(HubName, Arc<SegmentLog>)>,
    master_keys: MasterKeyService,
) -> App {
    let Seams {
        store,
        vault,
        bus,
        clock,
        entropy,
        limits,
        ..
    } = seams;
    let presences = Arc::new(Presences::new(
        Arc::clone(&store),
        Arc::clone(&clock),
        Arc::clone(events),
    ));
    let twins = Arc::new(Twins::new(
        Arc::clone(&store),
        Arc::clone(&bus),
        Arc::clone(&clock),
        Arc::clone(&limits),
        Arc::clone(events),
    ));
    let feedback = Arc::new(Feedback::new(
        Arc::clone(&store),
        Arc::clone(&clock),
        Arc::clone(&entropy),
        Arc::clone(&limits),
    ));
    let commands = Commands::new(
        Arc::clone(&store),
        Arc::clone(&bus),
        Arc::clone(&clock),
        Arc::clone(&entropy),
        Arc::clone(&limits),
    )
    .with_feedback(Arc::clone(&feedback));
    let commands = Arc::new(commands);
    let files = Arc::new(Files::new(
        Arc::clone(&store),
        Arc::clone(&vault),
        Arc::clone(&clock),
        Arc::clone(&entropy),
        Arc::clone(&limits),
    ));
    let registry = Registry::new(
        Arc::clone(&store),
        vault,
        Arc::clone(&bus),
        Arc::clone(&clock),
        Arc::clone(&entropy),
        Arc::clone(&limits),
    )
    .with_companion(Arc::<Commands>::clone(&commands))
    .with_companion(twins.companion())
    .with_companion(Arc::<Files>::clone(&files))
    .with_companion(Arc::new(Leftovers::new(Arc::clone(&presences))));
    let trail = Trail::new(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&limits));
    let records = Records::new(Arc::clone(&clock), limits.size(Limit::RecordsKeptMax));
    App {
        hubs,
        store: sqlite,
        logs,
        registry,
        presences,
        methods: Methods::new(Arc::clone(&store), Arc::clone(&bus)),
        sessions: Sessions::new(store),
        twins,
        commands,
        feedback,
        files,
        records: Arc::new(records),
        trail: Arc::new(trail),
        surveying: tokio::sync::Mutex::default(),
        failures: Arc::new(Failures::new(Arc::clone(&clock), Arc::clone(&limits))),
        mqtt_limits: Arc::new(mqtt::limits(&limits)),
        amqp_config: Arc::new(amqp::config(&limits)),
        amqp_port: std::sync::OnceLock::new(),
        certificates: std::sync::OnceLock::new(),
        strangers: Strangers::new(STRANGERS_MAX),
        started: clock.now(),
        master_keys: Arc::new(master_keys),
        limits,
        bus,
        clock,
        entropy,
    }
}

async fn open_hub(
    config: &HubConfig,
    data_dir: &Path,
    seams: &Seams,
) -> Result<(Hub, Arc<SegmentLog>), StartError> {
    let name = HubName::parse(&config.name)?;
    let folder = hub_folder(data_dir, &name).join("log");
    let settings = Settings {
        partition_count: config.partition_count,
        retention: Retention {
            age: config.retention_age,
            bytes: config.retention_bytes.unwrap_or(u64::MAX),
        },
        segment_bytes: config.segment_bytes,
        commit_within: config.commit_within,
        ..Settings::default()
    };
    let log = SegmentLog::open(&folder, settings, Arc::clone(&seams.clock))
        .map(Arc::new)
        .map_err(|source| StartError::Log {
            hub: name.clone(),
            source,
        })?;
    let hosts = config.host_names.iter().map(|host| HostName::new(host)).collect();
    let seam: Arc<dyn hub::log::Log> = Arc::<SegmentLog>::clone(&log);
    let hub = Hub::open(name, hosts, seam, seams)
        .await
        .map_err(StartError::Hub)?;
    Ok((hub, log))
}

/// Binds everything before anything is served, so that a server listens on all of its ports or on none.
fn listen(
    config: &Config,
    certificates: &Arc<Certificates>,
    app: &Arc<App>,
    drain: &Drain,
) -> Result<Addresses, StartError> {
    let listeners = &config.listeners;
    let bound_mqtt = bind("mqtt", &listeners.mqtt)?;
    let bound_amqp = bind("amqp", &listeners.amqp)?;
    let bound_https = bind("https", &listeners.https)?;
    let bound_plain = bind("amqp_plain", &listeners.amqp_plain)?;
    let bound_admin = bind("admin", &listeners.admin)?;
    let hub_of = hub_finder(app);
    let raw_tls = Arc::new(Terms::new(certificates, &[], demands(&hub_of))?);
    let https_tls = Arc::new(Terms::new(certificates, &[b"http/1.1"], demands(&hub_of))?);

    let accept = |protocol, tls: Option<&Arc<Terms>>| {
        Arc::new(Accept {
            protocol,
            tls: tls.cloned(),
            hub_of: Arc::clone(&hub_of),
            stranger_patience: app.limits.time(Limit::UnauthenticatedSecsMax),
            strangers: Arc::clone(&app.strangers),
            records: Arc::clone(&app.records),
            tracker: drain.tracker(),
        })
    };
    let addresses = |bound: &[Bound]| bound.iter().map(|bound| bound.address).collect();
    let all = Addresses {
        mqtt: addresses(&bound_mqtt),
        amqp: addresses(&bound_amqp),
        https: addresses(&bound_https),
        amqp_plain: addresses(&bound_plain),
        admin: addresses(&bound_admin),
    };
    if let Some(bound) = bound_amqp.first() {
        app.amqp_port.get_or_init(|| bound.address.port());
    }
    spawn(bound_mqtt, &accept("mqtt", Some(&raw_tls)), app, mqtt::serve);
    spawn(bound_amqp, &accept("amqp", Some(&raw_tls)), app, amqp::serve);
    spawn(bound_https, &accept("https", Some(&https_tls)), app, http::serve);
    spawn(bound_plain, &accept("amqp", None), app, amqp::serve);
    spawn(bound_admin, &accept("admin", None), app, admin::serve);
    Ok(all)
}

/// The hub of a server name; where there is one hub alone, that is meant by every name and by none.
fn hub_finder(app: &Arc<App>) -> HubFinder {
    let mut all = app.hubs.all();
    let only = if all.len() == 1 { all.pop() } else { None };
    let app = Arc::clone(app);
    Arc::new(move |name| {
        only.clone()
            .or_else(|| name.and_then(|name| app.hubs.by_server_name(name)))
    })
}

fn demands(hub_of: &HubFinder) -> Demands {
    let hub_of = Arc::clone(hub_of);
    Box::new(move |name| {
        let hub = hub_of(name);
        hub.map_or_else(TlsSettings::default, |hub| hub.settings().current().settings.tls)
    })
}

fn spawn<F>(
    bound: Vec<Bound>,
    accept: &Arc<Accept>,
    app: &Arc<App>,
    handle: impl Fn(crate::listen::Arrival, Arc<App>) -> F + Copy + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    for Bound { listener, .. } in bound {
        let app = Arc::clone(app);
        tokio::spawn(serve(listener, Arc::clone(accept), move |arrival| {
            handle(arrival, Arc::clone(&app))
        }));
    }
}

fn ready(app: &App, addresses: Addresses) -> Ready {
    let port = |addresses: &[SocketAddr], usual: u16| match addresses.first().map(SocketAddr::port) {
        Some(port) if port != usual => format!(":{port}"),
        _ => String::new(),
    };
    let https_port = port(&addresses.https, crate::config::HTTPS_PORT);
    let amqp_port = port(&addresses.amqp, crate::config::AMQP_PORT);
    let hubs = app.hubs.all();
    let hubs = hubs
        .iter()
        .map(|hub| ready_hub(hub, &https_port, &amqp_port))
        .collect();
    let admin_url = addresses
        .admin
        .first()
        .map(|address| format!("http://{address}"))
        .unwrap_or_default();
    Ready {
        addresses,
        hubs,
        admin_url,
    }
}

fn ready_hub(hub: &Hub, https_port: &str, amqp_port: &str) -> ReadyHub {
    // The owner of a new hub, or who holds all rights in its stead.
    let policies = hub.gate().policies();
    let is_owner = |policy: &Arc<Policy>| policy.rights.contains(Rights::ALL);
    let policy = policies.get("iothubowner").filter(is_owner);
    let policy = policy.or_else(|| policies.list().into_iter().find(is_owner));
    let access = policy.map_or_else(String::new, |policy| {
        let key = policy.primary.expose();
        format!("SharedAccessKeyName={};SharedAccessKey={key}", policy.name)
    });
    let (host, name) = (hub.host(), hub.name());
    ReadyHub {
        name: name.to_string(),
        host_names: hub.hosts().iter().map(ToString::to_string).collect(),
        service_connection_string: format!("HostName={host}{https_port};{access}"),
        event_hub_connection_string: format!("Endpoint=sb://{host}{amqp_port}/;{access};EntityPath={name}"),
    }
}
