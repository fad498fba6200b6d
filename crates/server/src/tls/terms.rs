//! On which terms a handshake goes: those of the hub whose name the client asks for.
//!
//! The TLS library chooses version and suites before it asks for a certificate, so what a hub demands must be in the configuration
//! that the handshake begins with. There is one for each set of demands, made when it is first needed: a change of a hub's settings
//! holds from the next handshake on, and hubs without demands share the usual one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use hub::settings::{CipherSuite, TlsSettings, TlsVersion};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ProducesTickets;
use rustls::{ServerConfig, SupportedCipherSuite, version};

use super::certificates::Certificates;
use super::client_certificate::AnyClientCertificate;

/// Most configurations that are kept. More sets of demands than hubs are there only when settings were changed.
const CONFIGS_MAX: usize = 64;

/// What the hub demands that is meant by a server name, or by none.
pub(crate) type Demands = Box<dyn Fn(Option<&str>) -> TlsSettings + Send + Sync>;

/// The terms of a listener.
pub(crate) struct Terms {
    demands: Demands,
    certificates: Arc<Certificates>,
    ticketer: Arc<dyn ProducesTickets>,
    protocols: Vec<Vec<u8>>,
    usual: Arc<ServerConfig>,
    made: Mutex<HashMap<TlsSettings, Arc<ServerConfig>>>,
}

impl Terms {
    /// Terms that offer these protocols (ALPN).
    pub(crate) fn new(
        certificates: &Arc<Certificates>,
        protocols: &[&[u8]],
        demands: Demands,
    ) -> Result<Self, rustls::Error> {
        let ticketer = aws_lc_rs::Ticketer::new()?;
        let protocols: Vec<Vec<u8>> = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let usual = config(
            TlsSettings::default(),
            Arc::clone(certificates),
            Arc::clone(&ticketer),
            protocols.clone(),
        )?;
        Ok(Self {
            demands,
            certificates: Arc::clone(certificates),
            ticketer,
            protocols,
            usual: Arc::new(usual),
            made: Mutex::default(),
        })
    }

    /// What is demanded of a client that asks for this name.
    pub(super) fn demands(&self, server_name: Option<&str>) -> TlsSettings {
        (self.demands)(server_name)
    }

    /// The configuration that meets the demands.
    ///
    /// # Errors
    /// When they leave nothing that the library could offer, which settings do not ([`TlsSettings::check`]).
    pub(super) fn config(&self, demands: TlsSettings) -> Result<Arc<ServerConfig>, rustls::Error> {
        if demands == TlsSettings::default() {
            return Ok(Arc::clone(&self.usual));
        }
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = made.get(&demands) {
            return Ok(Arc::clone(config));
        }
        if made.len() >= CONFIGS_MAX {
            made.clear();
        }
        let config = config(
            demands,
            Arc::clone(&self.certificates),
            // A session that began on other terms may go on when it fits these: the library checks version and suite of a ticket.
            Arc::clone(&self.ticketer),
            self.protocols.clone(),
        )?;
        let config = Arc::new(config);
        made.insert(demands, Arc::clone(&config));
        Ok(config)
    }
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms").finish_non_exhaustive()
    }
}

/// A client certificate is asked for but not required, session tickets are stateless, and the server's order of suites counts, not the
/// client's.
fn config(
    demands: TlsSettings,
    certificates: Arc<Certificates>,
    ticketer: Arc<dyn ProducesTickets>,
    protocols: Vec<Vec<u8>>,
) -> Result<ServerConfig, rustls::Error> {
    let suites = demands.effective_suites();
    let provider = Arc::new(CryptoProvider {
        cipher_suites: suites.iter().map(supported).collect(),
        ..aws_lc_rs::default_provider()
    });
    let versions: &[_] = match demands.lowest_version() {
        TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12],
        TlsVersion::V1_3 => &[&version::TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(Arc::new(AnyClientCertificate::new(provider)))
        .with_cert_resolver(certificates);
    config.ignore_client_order = true;
    config.ticketer = ticketer;
    // One ticket is enough for a device that reconnects; each costs its share of every handshake.
    config.send_tls13_tickets = 1;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.alpn_protocols = protocols;
    Ok(config)
}

/// The library's own of a suite.
fn supported(suite: CipherSuite) -> SupportedCipherSuite {
    use aws_lc_rs::cipher_suite as of;
    match suite {
        CipherSuite::Tls13Aes128 => of::TLS13_AES_128_GCM_SHA256,
        CipherSuite::Tls13Aes256 => of::TLS13_AES_256_GCM_SHA384,
        CipherSuite::Tls13ChaCha20 => of::TLS13_CHACHA20_POLY1305_SHA256,
        CipherSuite::EcdheEcdsaAes128 => of::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheEcdsaAes256 => of::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheEcdsaChaCha20 => of::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::EcdheRsaAes128 => of::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheRsaAes256 => of::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheRsaChaCha20 => of::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_is_the_one_of_its_number() {
        for suite in CipherSuite::ALL {
            assert_eq!(u16::from(supported(*suite).suite()), suite.number(), "{suite}");
        }
    }
}
