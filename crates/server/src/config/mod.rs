//! The configuration: one file, the environment and flags, read into one checked [`Config`].
//!
//! Everything comes from one table ([`table`]): defaults, the reference, what `config print` shows, and the names that the
//! file, the environment and flags accept. A flag beats the environment, the environment beats the file, the file beats the
//! default. Nothing is guessed: an unknown key is an error that names the nearest known one, and all errors of all sources are
//! reported together. Refused: deriving the keys from serde, which knows neither the line of a value nor its meaning.

mod certificates;
mod check;
mod form;
mod nearest;
mod problem;
mod read;
mod storage;
mod table;
mod write;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hub::events::EventSources;
use hub::limits::Limit;

pub use certificates::check_certificates;
pub(crate) use certificates::{is_named, is_valid, pair_problems};
pub use check::check;
pub use form::{LogFormat, parse_duration};
pub use hub::limits::Fidelity;
pub use problem::{ConfigError, Place, Problem};
pub use read::{Flag, Sources, overlay};
pub use storage::{StorageConfig, StorageKind};
pub use table::environment_name;
pub use write::{print, reference};

/// What the server runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What the server is run for. Chosen by the command, not by a key.
    pub mode: Mode,
    /// The folder that holds everything the server keeps.
    pub data_dir: PathBuf,
    /// The file with the master key that keys are stored under; empty until it is given.
    pub master_key_file: PathBuf,
    /// Whether the system may write core files of the server, and debuggers may look into it.
    pub allow_core_dumps: bool,
    /// How closely quotas follow Azure's.
    pub fidelity: Fidelity,
    /// Where to listen.
    pub listeners: Listeners,
    /// The certificates of the server, for every hub that has none of its own.
    pub tls: TlsFiles,
    /// The log of the server itself.
    pub log: LogConfig,
    /// Limits that differ from the profile's.
    pub limits: LimitOverrides,
    /// The hubs, by name.
    pub hubs: Vec<HubConfig>,
}

/// What the server is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `ironhub serve`: nothing is made up, nothing is unencrypted.
    Production,
    /// `ironhub dev`: own certificates, and plain AMQP on loopback for the emulator mode of SDKs.
    Development,
}

/// Where to listen; port 0 stands for any free port, the same one on all addresses of a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listeners {
    /// MQTT over TLS.
    pub mqtt: Vec<SocketAddr>,
    /// AMQP over TLS.
    pub amqp: Vec<SocketAddr>,
    /// HTTPS.
    pub https: Vec<SocketAddr>,
    /// AMQP without TLS: only on loopback, only in development.
    pub amqp_plain: Vec<SocketAddr>,
    /// Health and metrics, plain HTTP without credentials.
    pub admin: Vec<SocketAddr>,
}

impl Listeners {
    /// Every kind with its configuration key below `listeners.`.
    pub fn kinds(&self) -> [(&'static str, &[SocketAddr]); 5] {
        [
            ("mqtt", &self.mqtt),
            ("amqp", &self.amqp),
            ("https", &self.https),
            ("amqp_plain", &self.amqp_plain),
            ("admin", &self.admin),
        ]
    }
}

/// PEM files: a certificate and its key, several times over for keys of several kinds. The preferred kind stands first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chains, leaf first.
    pub certificate: Vec<PathBuf>,
    /// The keys of the leaves, in the same order.
    pub key: Vec<PathBuf>,
}

/// The files of one certificate. Both may be the same file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The key of the leaf.
    pub key: PathBuf,
}

/// A pair with the hub whose own it is, and the hubs and host names that it must name.
pub(crate) type NamedPair<'a> = (Option<&'a str>, Vec<(String, String)>, Pair);

impl TlsFiles {
    /// Certificate and key in one file.
    pub fn single(file: PathBuf) -> Self {
        Self {
            certificate: vec![file.clone()],
            key: vec![file],
        }
    }

    /// Whether nothing is given.
    pub fn is_empty(&self) -> bool {
        self.certificate.is_empty() && self.key.is_empty()
    }

    fn pairs(&self) -> impl Iterator<Item = Pair> {
        let both = self.certificate.iter().zip(&self.key);
        both.map(|(certificate, key)| Pair {
            certificate: certificate.clone(),
            key: key.clone(),
        })
    }
}

impl Config {
    /// All pairs of certificate and key: the server's, which speak for hubs without their own, and each hub's.
    pub(crate) fn pairs(&self) -> Vec<NamedPair<'_>> {
        let names = |hub: &HubConfig| {
            let names = hub.host_names.iter().map(|name| (hub.name.clone(), name.clone()));
            names.collect::<Vec<_>>()
        };
        let without = self.hubs.iter().filter(|hub| hub.tls.is_empty());
        let shared: Vec<_> = without.flat_map(names).collect();
        let servers = self.tls.pairs().map(|pair| (None, shared.clone(), pair));
        let own = self.hubs.iter().flat_map(|hub| {
            let pairs = hub.tls.pairs();
            pairs.map(|pair| (Some(hub.name.as_str()), names(hub), pair))
        });
        servers.chain(own).collect()
    }
}

/// The log of the server itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// A level (`info`) or a list of filters (`info,server::mqtt=debug`).
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// Limits that the operator chose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitOverrides(pub(crate) BTreeMap<Limit, u64>);

impl LimitOverrides {
    /// The chosen values, as [`hub::limits::Limits::configure`] takes them.
    pub fn to_vec(&self) -> Vec<(Limit, u64)> {
        self.0.iter().map(|(limit, value)| (*limit, *value)).collect()
    }
}

/// One hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubConfig {
    /// Its name: lower case, first part of everything that is stored for it.
    pub name: String,
    /// The names under which clients reach it; it calls itself by the first.
    pub host_names: Vec<String>,
    /// Its own certificates; without, those of the server speak for it.
    pub tls: TlsFiles,
    /// Partitions of its telemetry; fixed once the hub exists.
    pub partition_count: u16,
    /// How long telemetry is kept.
    pub retention_age: Duration,
    /// How many bytes of telemetry are kept; none for no bound but the age.
    pub retention_bytes: Option<u64>,
    /// Size of one file of the telemetry log.
    pub segment_bytes: u64,
    /// How long a message may take to be on disk while more are waited for, to share its write.
    pub commit_within: Duration,
    /// Which events other than telemetry readers see.
    pub event_sources: EventSources,
    /// Whether services are notified of uploaded files.
    pub file_notifications: bool,
    /// Where uploaded files are kept.
    pub storage: StorageConfig,
}

impl HubConfig {
    /// A hub with default settings and no host name yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            host_names: Vec::new(),
            tls: TlsFiles::default(),
            partition_count: 4,
            retention_age: Duration::from_secs(24 * 60 * 60),
            retention_bytes: None,
            segment_bytes: 64 * 1_024 * 1_024,
            commit_within: Duration::from_micros(2_500),
            event_sources: EventSources::default(),
            file_notifications: false,
            storage: StorageConfig::default(),
        }
    }
}

/// The defaults of `ironhub serve`. Incomplete on purpose: certificate and hubs are for the operator to name.
impl Default for Config {
    fn default() -> Self {
        let everywhere = |port| {
            vec![
                SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
                SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port),
            ]
        };
        Self {
            mode: Mode::Production,
            data_dir: PathBuf::from("/var/lib/ironhub"),
            master_key_file: PathBuf::new(),
            allow_core_dumps: false,
            fidelity: Fidelity::Native,
            listeners: Listeners {
                mqtt: everywhere(MQTT_PORT),
                amqp: everywhere(AMQP_PORT),
                https: everywhere(HTTPS_PORT),
                amqp_plain: Vec::new(),
                admin: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), ADMIN_PORT)],
            },
            tls: TlsFiles::default(),
            log: LogConfig {
                level: "info".to_owned(),
                format: LogFormat::Auto,
            },
            limits: LimitOverrides::default(),
            hubs: Vec::new(),
        }
    }
}

/// Reads all sources over a base, and checks the result. Certificate files are checked apart ([`check_certificates`]).
pub fn load(base: Config, sources: &Sources) -> Result<Config, ConfigError> {
    let config = overlay(base, sources)?;
    check(&config)?;
    Ok(config)
}

/// The port of MQTT over TLS, compiled into the SDKs.
pub const MQTT_PORT: u16 = 8_883;

/// The port of AMQP over TLS, compiled into the SDKs.
pub const AMQP_PORT: u16 = 5_671;

/// The port of HTTPS, compiled into the SDKs.
pub const HTTPS_PORT: u16 = 443;

/// The port of plain AMQP, which SDKs use in their emulator mode.
pub const AMQP_PLAIN_PORT: u16 = 5_672;

/// The default port of health and metrics.
pub const ADMIN_PORT: u16 = 9_883;

#[cfg(test)]
mod tests;
