//! The rules as the resource of a hub has them in Azure (service-rest.md 16.1, 19): `ipFilterRules` and `networkRuleSets`.
//!
//! `ipFilterRules` are in order, accept or reject, and hold for the hub but not for the built-in endpoint. `networkRuleSets` accept
//! alone, have a default, and say whether they hold for the built-in endpoint too. When both come, neither is dropped: the filter
//! rules are asked first, because leaving out a rejection would open what somebody closed.
//!
//! Azure knows IPv4 alone, so its `0.0.0.0/0` means everybody and is read as [`Source::Any`].

use serde::{Deserialize, Serialize};

use crate::error::Error;

use super::{Action, Endpoint, Endpoints, NetworkRules, Rule, RuleName, Source};

/// Everybody, as Azure writes it.
const EVERYBODY: &str = "0.0.0.0/0";

/// Both properties of the resource.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AzureFilters {
    /// Filter rules in their order.
    #[serde(default)]
    pub ip_filter_rules: Vec<IpFilterRule>,
    /// The rule set, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_rule_sets: Option<NetworkRuleSets>,
}

/// An entry of `ipFilterRules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpFilterRule {
    /// Its name.
    pub filter_name: String,
    /// What happens.
    pub action: AzureAction,
    /// To whom: an address or a CIDR range.
    pub ip_mask: String,
}

/// What happens by a filter rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AzureAction {
    /// The connection goes on.
    Accept,
    /// It is refused.
    Reject,
}

/// `networkRuleSets`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkRuleSets {
    /// What happens to an address that no rule accepts; Azure's default is to deny it.
    #[serde(default)]
    pub default_action: AzureDefault,
    /// Whether all of this holds for the built-in endpoint too.
    #[serde(default)]
    pub apply_to_built_in_event_hub_endpoint: bool,
    /// Addresses that are accepted.
    #[serde(default)]
    pub ip_rules: Vec<NetworkRuleSetIpRule>,
}

/// The default of a rule set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AzureDefault {
    /// Refused.
    #[default]
    Deny,
    /// Let through.
    Allow,
}

/// An entry of `networkRuleSets.ipRules`; its action can only be `Allow`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkRuleSetIpRule {
    /// Its name.
    pub filter_name: String,
    /// `Allow`.
    #[serde(default)]
    pub action: Allowed,
    /// To whom.
    pub ip_mask: String,
}

/// The one action of a rule set's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Allowed {
    /// The connection goes on.
    #[default]
    Allow,
}

impl NetworkRules {
    /// The rules of a resource.
    ///
    /// # Errors
    /// `ArgumentInvalid` with the name of the entry that is wrong.
    pub fn from_azure(filters: &AzureFilters) -> Result<Self, Error> {
        let mut rules = Vec::new();
        for rule in &filters.ip_filter_rules {
            let action = match rule.action {
                AzureAction::Accept => Action::Allow,
                AzureAction::Reject => Action::Deny,
            };
            rules.push(rule_of(&rule.filter_name, action, &rule.ip_mask, Endpoints::HUB)?);
        }
        let mut denied_by_default = Endpoints::NONE;
        if let Some(sets) = &filters.network_rule_sets {
            let endpoints = if sets.apply_to_built_in_event_hub_endpoint {
                Endpoints::ALL
            } else {
                Endpoints::HUB
            };
            for rule in &sets.ip_rules {
                rules.push(rule_of(
                    &rule.filter_name,
                    Action::Allow,
                    &rule.ip_mask,
                    endpoints,
                )?);
            }
            if sets.default_action == AzureDefault::Deny {
                denied_by_default = endpoints;
            }
        }
        Self::new(rules, denied_by_default).map_err(|invalid| Error::argument(invalid.to_string()))
    }

    /// The rules of a resource that was read, changed perhaps, and is written back. What Azure's form cannot say stays as it is
    /// when the form is the one that was given out.
    ///
    /// # Errors
    /// As [`Self::from_azure`].
    pub fn with_azure(&self, filters: &AzureFilters) -> Result<Self, Error> {
        if *filters == self.to_azure() {
            return Ok(self.clone());
        }
        Self::from_azure(filters)
    }

    /// The form of the resource. Rules that only Ironhub knows come as near as it can say: a rule shows if it concerns devices or
    /// services, a default if it denies either.
    pub fn to_azure(&self) -> AzureFilters {
        if self.is_open() {
            return AzureFilters::default();
        }
        if let Some(sets) = self.to_rule_sets() {
            return AzureFilters {
                ip_filter_rules: Vec::new(),
                network_rule_sets: Some(sets),
            };
        }
        let of_hub = self
            .rules()
            .iter()
            .filter(|rule| rule.endpoints.intersects(Endpoints::HUB));
        let filter = |rule: &Rule| IpFilterRule {
            filter_name: rule.name.to_string(),
            action: match rule.action {
                Action::Allow => AzureAction::Accept,
                Action::Deny => AzureAction::Reject,
            },
            ip_mask: mask_of(rule.source),
        };
        let denied = self.denied_by_default();
        AzureFilters {
            ip_filter_rules: of_hub.map(filter).collect(),
            network_rule_sets: (!denied.is_empty()).then(|| NetworkRuleSets {
                default_action: if denied.intersects(Endpoints::HUB) {
                    AzureDefault::Deny
                } else {
                    AzureDefault::Allow
                },
                apply_to_built_in_event_hub_endpoint: denied.contains(Endpoint::Reader),
                ip_rules: Vec::new(),
            }),
        }
    }

    /// The rules as one rule set, if they are of that kind.
    fn to_rule_sets(&self) -> Option<NetworkRuleSets> {
        let denied = self.denied_by_default();
        let endpoints = self.rules().first().map_or(denied, |rule| rule.endpoints);
        let is_set = self
            .rules()
            .iter()
            .all(|rule| rule.action == Action::Allow && rule.endpoints == endpoints);
        let is_whole = endpoints == Endpoints::ALL || endpoints == Endpoints::HUB;
        // Without a default that denies, a list that only accepts is one of filter rules.
        if !is_set || !is_whole || denied != endpoints {
            return None;
        }
        let entry = |rule: &Rule| NetworkRuleSetIpRule {
            filter_name: rule.name.to_string(),
            action: Allowed::Allow,
            ip_mask: mask_of(rule.source),
        };
        Some(NetworkRuleSets {
            default_action: AzureDefault::Deny,
            apply_to_built_in_event_hub_endpoint: endpoints == Endpoints::ALL,
            ip_rules: self.rules().iter().map(entry).collect(),
        })
    }
}

fn rule_of(name: &str, action: Action, mask: &str, endpoints: Endpoints) -> Result<Rule, Error> {
    let invalid = |reason: &dyn std::fmt::Display| {
        let shown: String = name.chars().take(64).collect();
        Error::argument(format!("The IP rule '{shown}' is not valid: {reason}"))
    };
    let source = match mask.parse().map_err(|error| invalid(&error))? {
        Source::Range { first, prefix: 0 } if first.is_ipv4() => Source::Any,
        source => source,
    };
    Ok(Rule {
        name: RuleName::parse(name).map_err(|error| invalid(&error))?,
        action,
        source,
        endpoints,
    })
}

fn mask_of(source: Source) -> String {
    match source {
        Source::Any => EVERYBODY.to_owned(),
        Source::Range { .. } => source.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(json: &str) -> AzureFilters {
        serde_json::from_str(json).unwrap()
    }

    fn action(rules: &NetworkRules, endpoint: Endpoint, address: &str) -> Action {
        rules.decide(endpoint, address.parse().unwrap()).action
    }

    #[test]
    fn filter_rules_hold_for_the_hub_and_not_for_readers() {
        let given = filters(
            r#"{"ipFilterRules":[{"filterName":"one","action":"Accept","ipMask":"192.0.2.7"},
                {"filterName":"rest","action":"Reject","ipMask":"0.0.0.0/0"}]}"#,
        );
        let rules = NetworkRules::from_azure(&given).unwrap();
        for (endpoint, address, expected) in [
            (Endpoint::Device, "192.0.2.7", Action::Allow),
            (Endpoint::Service, "192.0.2.7", Action::Allow),
            (Endpoint::Device, "192.0.2.8", Action::Deny),
            (Endpoint::Service, "192.0.2.8", Action::Deny),
            (Endpoint::Device, "2001:db8::1", Action::Deny),
            (Endpoint::Reader, "192.0.2.8", Action::Allow),
        ] {
            assert_eq!(
                action(&rules, endpoint, address),
                expected,
                "{endpoint} {address}"
            );
        }
    }

    #[test]
    fn a_rule_set_denies_the_rest_and_readers_if_it_says_so() {
        for (applies, reader) in [(true, Action::Deny), (false, Action::Allow)] {
            let given = filters(&format!(
                r#"{{"networkRuleSets":{{"applyToBuiltInEventHubEndpoint":{applies},
                    "ipRules":[{{"filterName":"site","ipMask":"10.0.0.0/8"}}]}}}}"#
            ));
            let rules = NetworkRules::from_azure(&given).unwrap();
            assert_eq!(action(&rules, Endpoint::Device, "10.1.1.1"), Action::Allow);
            assert_eq!(action(&rules, Endpoint::Device, "192.0.2.1"), Action::Deny);
            assert_eq!(action(&rules, Endpoint::Service, "192.0.2.1"), Action::Deny);
            assert_eq!(action(&rules, Endpoint::Reader, "192.0.2.1"), reader);
            assert_eq!(rules.to_azure(), given);
        }
    }

    #[test]
    fn both_kinds_together_lose_no_rejection() {
        let given = filters(
            r#"{"ipFilterRules":[{"filterName":"bad","action":"Reject","ipMask":"10.6.6.0/24"}],
                "networkRuleSets":{"defaultAction":"Deny","applyToBuiltInEventHubEndpoint":false,
                    "ipRules":[{"filterName":"site","action":"Allow","ipMask":"10.0.0.0/8"}]}}"#,
        );
        let rules = NetworkRules::from_azure(&given).unwrap();
        assert_eq!(action(&rules, Endpoint::Device, "10.6.6.6"), Action::Deny);
        assert_eq!(action(&rules, Endpoint::Device, "10.6.7.6"), Action::Allow);
        assert_eq!(action(&rules, Endpoint::Device, "192.0.2.1"), Action::Deny);
    }

    #[test]
    fn what_azure_cannot_say_survives_a_resource_that_is_written_back() {
        let form = r#"{"deniedByDefault":["reader"],"rules":[
            {"name":"a","action":"deny","source":"2001:db8::/32","endpoints":["device"]},
            {"name":"b","action":"allow","source":"10.0.0.0/8","endpoints":["reader"]}]}"#;
        let rules: NetworkRules = serde_json::from_str(form).unwrap();
        let shown = rules.to_azure();
        assert_eq!(shown.ip_filter_rules.len(), 1);
        assert_eq!(rules.with_azure(&shown).unwrap(), rules);
        let mut changed = shown;
        changed.ip_filter_rules.clear();
        assert_ne!(rules.with_azure(&changed).unwrap(), rules);
        let open = NetworkRules::default();
        assert_eq!(open.with_azure(&open.to_azure()).unwrap(), open);
    }

    #[test]
    fn wrong_entries_are_named() {
        for (rules, word) in [
            (
                r#"[{"filterName":"x","action":"Accept","ipMask":"10.0.0.0/99"}]"#,
                "'x'",
            ),
            (
                r#"[{"filterName":"","action":"Accept","ipMask":"10.0.0.0/8"}]"#,
                "name",
            ),
            (
                r#"[{"filterName":"x","action":"Accept","ipMask":"::1"},{"filterName":"X","action":"Reject","ipMask":"::2"}]"#,
                "two network rules",
            ),
        ] {
            let given = filters(&format!(r#"{{"ipFilterRules":{rules}}}"#));
            let error = NetworkRules::from_azure(&given).unwrap_err();
            assert!(error.message().contains(word), "{}", error.message());
        }
        assert!(
            serde_json::from_str::<IpFilterRule>(r#"{"filterName":"x","action":"Allow","ipMask":"::1"}"#)
                .is_err()
        );
        assert!(
            serde_json::from_str::<NetworkRuleSetIpRule>(
                r#"{"filterName":"x","action":"Deny","ipMask":"::1"}"#
            )
            .is_err()
        );
    }
}
