//! The server's certificates: loaded from PEM files, chosen by the name that the client asks for.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::client_certificate::AnyClientCertificate;

/// Why a certificate cannot be used. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or holds no PEM of the kind.
    #[error("cannot read {what} from {}: {reason}; give a PEM file", path.display())]
    File {
        /// `a certificate chain` or `a private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// Key and certificate do not fit or are of an unsupported kind.
    #[error("the certificate {} cannot be used with its key: {reason}", certificate.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

/// A certificate chain with its key.
#[derive(Debug, Clone)]
pub(crate) struct Identity(Arc<CertifiedKey>);

impl Identity {
    /// Loads a chain, leaf first, and the key of its leaf.
    pub(crate) fn load(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let file = |what, path: &Path, reason: String| CertificateError::File {
            what,
            path: path.into(),
            reason,
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .map_err(|error| file("a certificate chain", certificate, error.to_string()))?;
        if chain.is_empty() {
            return Err(file(
                "a certificate chain",
                certificate,
                "it holds no certificate".to_owned(),
            ));
        }
        let key = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| file("a private key", key, error.to_string()))?;
        let unusable = |reason: rustls::Error| CertificateError::Unusable {
            certificate: certificate.into(),
            reason: reason.to_string(),
        };
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(unusable)?;
        Ok(Self(Arc::new(certified)))
    }
}

/// The server's order counts, not the client's: AES-128 before AES-256, whose SHA-384 costs a small device and this server more than
/// it gives, and `ChaCha20` for whoever offers nothing else.
fn provider() -> Arc<CryptoProvider> {
    use aws_lc_rs::cipher_suite;
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
        ..aws_lc_rs::default_provider()
    })
}

/// What every TLS listener uses: TLS 1.2 and 1.3, a client certificate asked for but not required, stateless session tickets.
pub(crate) fn config(identity: Identity, alpn: &[&[u8]]) -> Result<ServerConfig, rustls::Error> {
    let provider = provider();
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_client_cert_verifier(Arc::new(AnyClientCertificate::new(provider)))
        .with_cert_resolver(Arc::new(Resolver { default: identity }));
    config.ignore_client_order = true;
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    // One ticket is enough for a device that reconnects; each costs its share of every handshake.
    config.send_tls13_tickets = 1;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

thread_local! {
    // The unbuffered API does not hand out the server name. The resolver runs inside `process_tls_records`, on the thread
    // that calls it, so the stream finds the name here right after that call.
    static SERVER_NAME: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// The server name of the handshake that this thread just processed, if any.
pub(super) fn take_server_name() -> Option<Box<str>> {
    SERVER_NAME.take()
}

#[derive(Debug)]
struct Resolver {
    default: Identity,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        SERVER_NAME.set(hello.server_name().map(Into::into));
        Some(Arc::clone(&self.default.0))
    }
}
