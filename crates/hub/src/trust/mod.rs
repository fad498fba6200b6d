//! Certificates: which ones a hub trusts, and what a chain is worth (device-mqtt-https.md 2.4, dps.md 14, service-rest.md 16.3).
//!
//! [`Authorities`] are the CA certificates of a hub, each with its proof of possession; [`revocation`] knows those that lost their
//! trust. Chains are judged by code of this folder over the parser x509-parser and the signatures of aws-lc-rs. Refused:
//! rustls-webpki, whose rules are those of the web: it demands an extended key usage, refuses version 1, has no words for what
//! exactly failed, and reads no directory names in constraints. Whom a certificate belongs to is not asked here but at the gate
//! ([`crate::access`]).

mod authorities;
mod certificate;
pub(crate) mod chain;
mod der;
#[cfg(feature = "fuzzing")]
mod fuzz;
mod names;
pub mod revocation;
mod signature;
mod upload;

use std::sync::Arc;

use crate::error::Error;
use crate::tenancy::HubName;

pub use authorities::{Authorities, Authority, Stored, VerificationCode};
pub(crate) use certificate::hex;
pub use certificate::{Certificate, Malformed};
#[cfg(feature = "fuzzing")]
pub(crate) use fuzz::fuzz_chain;
pub use signature::{SignatureError, Unsupported};
pub use upload::certificate_from_upload;

/// What a hub trusts.
#[derive(Debug, Clone)]
pub struct Trust {
    /// Its CA certificates.
    pub authorities: Arc<Authorities>,
    /// What lost its trust.
    pub revocation: Arc<revocation::Revocation>,
}

impl Trust {
    /// Reads what a hub trusts.
    pub async fn open(hub: &HubName, ports: revocation::Ports) -> Result<Self, Error> {
        let authorities = Authorities::open(
            hub.clone(),
            Arc::clone(&ports.store),
            Arc::clone(&ports.bus),
            Arc::clone(&ports.clock),
            Arc::clone(&ports.entropy),
            Arc::clone(&ports.limits),
        );
        Ok(Self {
            authorities: Arc::new(authorities.await?),
            revocation: Arc::new(revocation::Revocation::open(hub.clone(), ports).await?),
        })
    }
}
