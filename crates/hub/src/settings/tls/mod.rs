//! What a hub demands of TLS: the lowest version, and which cipher suites.
//!
//! The front of the server refuses a handshake that offers less (by the name that the client asks for), and every protocol asks again
//! once it has named the hub ([`TlsSettings::admit`]): the name of the handshake proves nothing.

mod cipher;
mod version;

use serde::Serialize;

use crate::access::{Reason, Refusal, Subject};

pub use cipher::{CipherSuite, CipherSuites, UnknownCipherSuite};
pub use version::{TlsVersion, UnknownTlsVersion};

/// The demands; none where the server's configuration decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsSettings {
    /// The lowest version.
    pub min_tls_version: Option<TlsVersion>,
    /// The cipher suites; without, all that the server has.
    pub cipher_suites: Option<CipherSuites>,
}

/// What a connection and the server agreed upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsAgreement {
    /// The version.
    pub version: TlsVersion,
    /// The cipher suite; none that is served is unknown, so none is a suite that no hub may choose.
    pub cipher_suite: Option<CipherSuite>,
}

/// A version of TLS would have no cipher suite. The owner's to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTlsSettings {
    /// TLS 1.2 would be taken and have none.
    #[error(
        "cipherSuites names no suite of TLS 1.2, which the hub takes: add one such as \
         TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 and its twin TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, or set minTlsVersion to \"1.3\""
    )]
    NoneOfTls12,
    /// TLS 1.3 would have none.
    #[error("cipherSuites names no suite of TLS 1.3: add one such as TLS_AES_128_GCM_SHA256")]
    NoneOfTls13,
}

impl TlsSettings {
    /// The lowest version that is taken.
    pub fn lowest_version(&self) -> TlsVersion {
        self.min_tls_version.unwrap_or(TlsVersion::V1_2)
    }

    /// The cipher suites of the versions that are taken.
    pub fn effective_suites(&self) -> CipherSuites {
        let suites = self.cipher_suites.unwrap_or(CipherSuites::ALL);
        let lowest = self.lowest_version();
        suites.iter().filter(|suite| suite.version() >= lowest).collect()
    }

    /// Whether every version that is taken has a suite.
    ///
    /// # Errors
    /// Names the version that has none.
    pub fn check(&self) -> Result<(), InvalidTlsSettings> {
        let suites = self.effective_suites();
        let has = |version| suites.iter().any(|suite| suite.version() == version);
        if !has(TlsVersion::V1_3) {
            return Err(InvalidTlsSettings::NoneOfTls13);
        }
        if self.lowest_version() == TlsVersion::V1_2 && !has(TlsVersion::V1_2) {
            return Err(InvalidTlsSettings::NoneOfTls12);
        }
        Ok(())
    }

    /// Whether a connection's TLS is good enough; a listener without TLS has none and is not asked.
    ///
    /// # Errors
    /// [`Reason::TlsTooOld`], [`Reason::CipherRefused`].
    pub fn admit(&self, agreement: Option<TlsAgreement>) -> Result<(), Refusal> {
        let Some(agreement) = agreement else { return Ok(()) };
        if agreement.version < self.lowest_version() {
            return Err(self.too_old(&format!("TLS {}", agreement.version)));
        }
        let Some(suites) = self.cipher_suites else {
            return Ok(());
        };
        match agreement.cipher_suite {
            Some(suite) if suites.contains(suite) => Ok(()),
            Some(suite) => Err(self.cipher_refused(suite.name())),
            None => Err(self.cipher_refused("another")),
        }
    }

    /// The refusal of a peer whose versions are `found`.
    pub fn too_old(&self, found: &str) -> Refusal {
        Refusal::new(Reason::TlsTooOld, Subject::Peer)
            .expecting(&format!("TLS {} or later", self.lowest_version()))
            .finding(found)
    }

    /// The refusal of a peer whose cipher suites are `found`.
    pub fn cipher_refused(&self, found: &str) -> Refusal {
        Refusal::new(Reason::CipherRefused, Subject::Peer)
            .expecting(&format!("one of {}", self.effective_suites()))
            .finding(found)
    }
}

#[cfg(test)]
mod tests;
