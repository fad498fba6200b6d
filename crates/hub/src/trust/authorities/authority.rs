//! One CA certificate of a hub.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::clock::Timestamp;
use crate::entropy::Entropy;
use crate::store::Version;

use super::super::certificate::{Certificate, hex};

/// Bytes of a code; it is shown as twice as many hex digits.
const CODE_BYTES: usize = 24;

/// What the owner of a CA's key must have certified: 48 upper-case hex digits. Drawn anew for each proof and of no use to others,
/// so it is no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerificationCode(Arc<str>);

impl VerificationCode {
    pub(super) fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; CODE_BYTES];
        entropy.fill(&mut bytes);
        Self(hex(&bytes).into())
    }

    /// Reads a stored code.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == CODE_BYTES * 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        valid.then(|| Self(text.into()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A CA certificate of a hub.
#[derive(Clone)]
pub struct Authority {
    pub(super) name: Arc<str>,
    pub(super) certificate: Certificate,
    pub(super) is_verified: bool,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) code: Option<VerificationCode>,
    pub(super) version: Version,
}

impl Authority {
    /// One that is trusted without a proof.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn vouched(name: &str, certificate: Certificate) -> Self {
        Self {
            name: name.into(),
            certificate,
            is_verified: true,
            created: Timestamp::NEVER,
            updated: Timestamp::NEVER,
            code: None,
            version: Version(0),
        }
    }

    /// Its name in the hub, case-sensitive.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Whether chains may end here: somebody proved to hold the key, or vouched for it at the upload.
    pub fn is_verified(&self) -> bool {
        self.is_verified
    }

    /// When the name was first used.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// When it changed last.
    pub fn updated(&self) -> Timestamp {
        self.updated
    }

    /// The code that waits for its proof.
    pub fn verification_code(&self) -> Option<&VerificationCode> {
        self.code.as_ref()
    }

    /// Names this state of the certificate, without quotes: the form of the resource manager, eight bytes in base64.
    pub fn etag(&self) -> String {
        STANDARD.encode(self.version.0.to_be_bytes())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("name", &self.name)
            .field("certificate", &self.certificate)
            .field("is_verified", &self.is_verified)
            .finish_non_exhaustive()
    }
}

/// What became of an upload.
#[derive(Debug, Clone)]
pub enum Stored {
    /// The name is new.
    Created(Arc<Authority>),
    /// The name was there.
    Replaced(Arc<Authority>),
}

impl Stored {
    /// The certificate as it is now.
    pub fn authority(&self) -> &Arc<Authority> {
        match self {
            Self::Created(authority) | Self::Replaced(authority) => authority,
        }
    }
}
