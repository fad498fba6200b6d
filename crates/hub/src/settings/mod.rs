//! What an owner of a hub can change while it runs: switches that close ways in, network rules, TLS.
//!
//! The settings of a hub are one document (docs/formats/settings.md), held in memory. [`HubSettings::update`] makes a change durable,
//! puts it in force at the gate, and has every open connection ask its gate again: one that lost its ground ends at once.

mod change;
mod keeper;
mod stored;
mod tls;

use serde::Serialize;

use crate::access::Rules;
use crate::network::NetworkRules;

pub use change::{Change, Field, InvalidChange};
pub use keeper::{Current, HubSettings};
pub use tls::{
    CipherSuite, CipherSuites, InvalidTlsSettings, TlsAgreement, TlsSettings, TlsVersion, UnknownCipherSuite,
    UnknownTlsVersion,
};

/// The settings of a hub. The default is what a new hub has: everything open, TLS as the server is configured.
///
/// As JSON the names are those of the hub's resource in Azure where that has them (service-rest.md 16.1).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Tokens signed with policy keys are refused.
    pub disable_local_auth: bool,
    /// Tokens for devices are refused.
    #[serde(rename = "disableDeviceSAS")]
    pub disable_device_sas: bool,
    /// Tokens for modules are refused.
    #[serde(rename = "disableModuleSAS")]
    pub disable_module_sas: bool,
    /// What TLS must be.
    #[serde(flatten)]
    pub tls: TlsSettings,
    /// From where the hub may be reached.
    pub network: NetworkRules,
}

impl Settings {
    /// The switches as the gate knows them.
    pub const fn rules(&self) -> Rules {
        Rules {
            policy_sas_disabled: self.disable_local_auth,
            device_sas_disabled: self.disable_device_sas,
            module_sas_disabled: self.disable_module_sas,
        }
    }
}
