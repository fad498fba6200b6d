//! Where a server is reached and as whom: all that a client of the load generator needs to know.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::devices;
use crate::failure::Failure;

/// A server, as clients see it.
pub(crate) struct Endpoint {
    /// What the server is called in the report.
    pub(crate) name: &'static str,
    /// Where MQTT over TLS is.
    pub(crate) address: SocketAddr,
    /// The name in the certificate.
    pub(crate) server_name: ServerName<'static>,
    /// How TLS is spoken.
    pub(crate) tls: Arc<ClientConfig>,
    /// Who the clients are.
    pub(crate) credentials: Credentials,
}

/// How clients prove who they are.
#[derive(Clone)]
pub(crate) enum Credentials {
    /// All by one name and password; the client ids differ.
    Shared {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// As devices of a hub, all with the token of one policy.
    Policy {
        /// The hub.
        host: String,
        /// The token.
        token: String,
    },
    /// As devices of a hub, each with a token of its own key.
    DeviceKeys {
        /// The hub.
        host: String,
        /// When the tokens end, in seconds since 1970.
        expiry_epoch_secs: u64,
    },
    /// As devices of a hub, each with a certificate of its own.
    Certificates {
        /// The hub.
        host: String,
        /// The number of the first of these devices.
        first: usize,
        /// How TLS is spoken by each of them.
        clients: Arc<[Arc<ClientConfig>]>,
    },
}

/// What one client says in its CONNECT.
pub(crate) struct Login {
    /// The client id.
    pub(crate) client_id: String,
    /// The user name.
    pub(crate) username: String,
    /// The password; whoever has a certificate has none.
    pub(crate) password: Option<String>,
}

impl Endpoint {
    /// What the device of this number says.
    pub(crate) fn login(&self, device: usize) -> Login {
        let first = match &self.credentials {
            Credentials::Certificates { first, .. } => *first,
            _ => 0,
        };
        let client_id = devices::id(first + device);
        let of_hub = |host: &str| format!("{host}/{client_id}/?api-version=2021-04-12");
        let (username, password) = match &self.credentials {
            Credentials::Shared { username, password } => (username.clone(), Some(password.clone())),
            Credentials::Policy { host, token } => (of_hub(host), Some(token.clone())),
            Credentials::DeviceKeys {
                host,
                expiry_epoch_secs,
            } => (
                of_hub(host),
                Some(devices::token(host, device, *expiry_epoch_secs)),
            ),
            Credentials::Certificates { host, .. } => (of_hub(host), None),
        };
        Login {
            client_id,
            username,
            password,
        }
    }

    /// How the device of this number speaks TLS.
    pub(crate) fn tls_of(&self, device: usize) -> &Arc<ClientConfig> {
        let own = match &self.credentials {
            Credentials::Certificates { clients, .. } => clients.get(device),
            _ => None,
        };
        own.unwrap_or(&self.tls)
    }

    /// The same server, with other credentials.
    pub(crate) fn with_credentials(&self, credentials: Credentials) -> Self {
        Self {
            name: self.name,
            address: self.address,
            server_name: self.server_name.clone(),
            tls: Arc::clone(&self.tls),
            credentials,
        }
    }
}

/// TLS 1.3 with one suite and one group, so that every server computes the same; each handshake is a full one.
pub(crate) fn tls(ca_file: &Path) -> Result<Arc<ClientConfig>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::environment("preparing TLS", error);
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(ca_file).map_err(|error| failed(&error))?;
    roots.add(authority).map_err(|error| failed(&error))?;
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The name in a certificate.
pub(crate) fn server_name(name: &str) -> Result<ServerName<'static>, Failure> {
    ServerName::try_from(name.to_owned()).map_err(|error| Failure::environment(name, error))
}
