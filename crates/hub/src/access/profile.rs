//! What the gate must know of its hub: its names and its switches.

use crate::tenancy::{HostName, HubName};

/// A hub as tokens see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubProfile {
    /// The hub.
    pub name: HubName,
    /// Every host name under which it answers, the Event Hubs-compatible ones included. The first is shown in messages.
    pub hosts: Vec<HostName>,
    /// The Event Hubs-compatible name of the built-in endpoint: first path segment in tokens of Event Hubs clients.
    pub events_entity: String,
    /// The hub's switches.
    pub rules: Rules,
}

/// Switches that close a way in (service-rest.md 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// `disableLocalAuth`: tokens signed with policy keys are refused.
    pub policy_sas_disabled: bool,
    /// `disableDeviceSAS`: tokens for devices are refused.
    pub device_sas_disabled: bool,
    /// `disableModuleSAS`: tokens for modules are refused.
    pub module_sas_disabled: bool,
}

impl HubProfile {
    /// Whether a host, with or without port, is one of this hub.
    pub fn answers_to(&self, host: &str) -> bool {
        let host = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        self.hosts
            .iter()
            .any(|own| own.as_str().eq_ignore_ascii_case(host))
    }

    /// Whether a name is the hub's short one: the first label of a host, as in SASL PLAIN user names.
    pub fn has_label(&self, label: &str) -> bool {
        let first = |host: &HostName| {
            let own = host.as_str().split('.').next().unwrap_or_default();
            own.eq_ignore_ascii_case(label)
        };
        self.name.as_str().eq_ignore_ascii_case(label) || self.hosts.iter().any(first)
    }

    /// The host to show in messages.
    pub(super) fn shown_host(&self) -> &str {
        self.hosts.first().map_or(self.name.as_str(), HostName::as_str)
    }
}
