//! A certificate of the server with its key, loaded from PEM files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hub::clock::Timestamp;
use hub::settings::CipherSuites;
use hub::trust::Certificate;
use rustls::crypto::aws_lc_rs;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

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

/// The kind of a key, by which the suites of TLS 1.2 go. Edwards curves count as elliptic ones there (RFC 8422, 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Ecdsa,
    Rsa,
}

impl KeyKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ecdsa => "ECDSA",
            Self::Rsa => "RSA",
        }
    }

    /// Whether a suite of TLS 1.2 among these goes with the key.
    pub(crate) fn has_suite(self, suites: CipherSuites) -> bool {
        let prefix = format!("TLS_ECDHE_{}_", self.name());
        suites.iter().any(|suite| suite.name().starts_with(&prefix))
    }
}

/// A certificate chain with its key.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    key: Arc<CertifiedKey>,
    expires: Option<Timestamp>,
}

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
        let Some(leaf) = chain.first() else {
            return Err(file(
                "a certificate chain",
                certificate,
                "it holds no certificate".to_owned(),
            ));
        };
        let expires = Certificate::parse(leaf).ok().map(|leaf| leaf.not_after());
        let key = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| file("a private key", key, error.to_string()))?;
        let unusable = |reason: rustls::Error| CertificateError::Unusable {
            certificate: certificate.into(),
            reason: reason.to_string(),
        };
        let certified =
            CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(unusable)?;
        Ok(Self {
            key: Arc::new(certified),
            expires,
        })
    }

    /// The chain, leaf first.
    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    /// When the certificate expires; none of one that says so in a way that is not understood.
    pub(crate) fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// Whether clients that ask for `name` take the certificate, which may name it with a wildcard.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        let leaf = self.chain().first().map(ParsedCertificate::try_from);
        matches!(leaf, Some(Ok(leaf)) if crate::config::is_named(&leaf, name))
    }

    /// Whether a client can verify a signature of the key.
    pub(super) fn suits(&self, schemes: &[SignatureScheme]) -> bool {
        self.key.key.choose_scheme(schemes).is_some()
    }

    /// What kind of key it has.
    pub(super) fn key_kind(&self) -> KeyKind {
        match self.key.key.algorithm() {
            SignatureAlgorithm::RSA => KeyKind::Rsa,
            _ => KeyKind::Ecdsa,
        }
    }

    pub(super) fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }
}
