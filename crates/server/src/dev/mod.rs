//! `ironhub dev`: everything that a server needs, made on the spot.
//!
//! [`prepare`] makes the data folder, a local certificate authority and a server certificate, and gives the configuration to run
//! with. All of it may run again and again: what is there and still good is kept, so a trusted authority stays trusted. Refused:
//! a self-signed server certificate, which every new host name would make strange to its clients again.

mod authority;
mod file;
mod folder;
mod server_certificate;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use hub::clock::Timestamp;
use hub::events::EventSources;

use crate::config::{
    ADMIN_PORT, AMQP_PLAIN_PORT, AMQP_PORT, Config, ConfigError, Flag, HTTPS_PORT, HubConfig, Listeners,
    MQTT_PORT, Mode, Sources, check, overlay,
};

pub use file::write_atomically;

/// The name of the one hub.
pub const HUB_NAME: &str = "hub1";

/// The names of every development server. `localhost` is first: it needs no entry in any name service. The last is for SDKs that
/// want a name with a dot.
pub const HOST_NAMES: [&str; 4] = ["localhost", "127.0.0.1", "::1", "hub1.ironhub.test"];

/// What may be chosen about a development server.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data folder; made when it is missing.
    pub data_dir: PathBuf,
    /// Host names to answer to besides [`HOST_NAMES`]. The hub calls itself by the first of them.
    pub hosts: Vec<String>,
    /// The environment: all variables, of which those of the configuration are taken.
    pub environment: Vec<(String, String)>,
    /// Configuration keys given as flags.
    pub flags: Vec<Flag>,
}

/// A development server that can be run.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What to run with.
    pub config: Config,
    /// The certificate of the authority, which clients are to trust.
    pub ca_file: PathBuf,
    /// Whether the authority was made just now, so that nobody can trust it yet.
    pub authority_is_new: bool,
}

/// Why a development server cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The data folder cannot be used. The operator's to mend.
    #[error("cannot use the data folder {}: {reason}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's word on it.
        source: std::io::Error,
    },
    /// The authority's certificate is there but its key is not, or not a key.
    #[error(
        "the key of the development CA, {}, is missing or damaged ({reason}), and a new server certificate is needed. Restore \
         the key, or remove the folder it is in to get a new CA, which clients must then trust anew", path.display()
    )]
    AuthorityKey {
        /// The key's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Making a certificate failed.
    #[error("cannot make the {what}: {reason}")]
    Certificate {
        /// `development CA` or `server certificate`.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The environment or a flag is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Makes what is missing, and gives the configuration.
pub fn prepare(options: &Options, now: Timestamp) -> Result<Prepared, PrepareError> {
    let sources = Sources {
        file: None,
        environment: options.environment.clone(),
        flags: options.flags.clone(),
    };
    let mut config = overlay(defaults(options), &sources)?;
    config.data_dir = folder::prepare(&config.data_dir)?;
    let tls_dir = config.data_dir.join("tls");
    let authority = authority::Authority::open_or_make(&tls_dir, now)?;
    if config.tls.is_empty() {
        let names: Vec<String> = config
            .hubs
            .iter()
            .flat_map(|hub| hub.host_names.iter().cloned())
            .collect();
        // A name that is none is told as a mistake in the configuration, not as a failure to make a certificate.
        check(&Config {
            tls: placeholder(&tls_dir),
            ..config.clone()
        })?;
        config.tls = server_certificate::keep_or_make(&tls_dir, &authority, &names, now)?;
    }
    check(&config)?;
    Ok(Prepared {
        ca_file: authority.certificate_file().to_owned(),
        authority_is_new: authority.is_new(),
        config,
    })
}

fn placeholder(tls_dir: &std::path::Path) -> crate::config::TlsFiles {
    crate::config::TlsFiles::single(tls_dir.to_owned())
}

/// Loopback addresses with a port, as the value of a listener key.
pub fn loopback_list(port: u16) -> String {
    let addresses: Vec<String> = loopback(port).iter().map(SocketAddr::to_string).collect();
    addresses.join(",")
}

fn defaults(options: &Options) -> Config {
    let mut host_names: Vec<String> = Vec::new();
    for name in options.hosts.iter().map(String::as_str).chain(HOST_NAMES) {
        let name = name.to_ascii_lowercase();
        if !host_names.contains(&name) {
            host_names.push(name);
        }
    }
    Config {
        mode: Mode::Development,
        data_dir: options.data_dir.clone(),
        listeners: Listeners {
            mqtt: loopback(MQTT_PORT),
            amqp: loopback(AMQP_PORT),
            https: loopback(HTTPS_PORT),
            amqp_plain: loopback(AMQP_PLAIN_PORT),
            admin: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), ADMIN_PORT)],
        },
        hubs: vec![HubConfig {
            host_names,
            event_sources: EventSources::ALL,
            file_notifications: true,
            ..HubConfig::new(HUB_NAME)
        }],
        ..Config::default()
    }
}

/// IPv4 and IPv6 loopback; the second only where the machine has it, as many containers do not.
fn loopback(port: u16) -> Vec<SocketAddr> {
    let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port);
    match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => vec![v4, v6],
        Err(_) => vec![v4],
    }
}

#[cfg(test)]
mod tests;
