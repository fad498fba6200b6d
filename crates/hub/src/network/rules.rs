//! The rules of a hub in their order.

use std::collections::HashSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::limits::{Exceeded, Limit, Limits};

use super::{Action, Endpoint, Endpoints, Rule};

/// The rules of a hub. Without any, everybody may come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct NetworkRules {
    rules: Vec<Rule>,
    denied_by_default: Endpoints,
}

/// What is wrong with a list of rules. The caller's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRules {
    /// Two rules have one name.
    #[error("two network rules are named '{0}'; names are compared without case")]
    NameTwice(String),
    /// A rule is for no endpoint.
    #[error("the network rule '{0}' is for no endpoint; leave the endpoints out to mean all")]
    NoEndpoint(String),
    /// There are too many.
    #[error("too many network rules: {0}")]
    TooMany(Exceeded),
}

/// What the rules say about an address at an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// What becomes of it.
    pub action: Action,
    /// The rule that decided; none when no rule matched.
    pub rule: Option<&'a Rule>,
}

impl NetworkRules {
    /// Rules in their order, and the endpoints at which an address is denied that none of them matches.
    pub fn new(rules: Vec<Rule>, denied_by_default: Endpoints) -> Result<Self, InvalidRules> {
        let mut names = HashSet::with_capacity(rules.len());
        for rule in &rules {
            if rule.endpoints.is_empty() {
                return Err(InvalidRules::NoEndpoint(rule.name.to_string()));
            }
            if !names.insert(rule.name.as_str().to_lowercase()) {
                return Err(InvalidRules::NameTwice(rule.name.to_string()));
            }
        }
        Ok(Self {
            rules,
            denied_by_default,
        })
    }

    /// The rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Where an address is denied that no rule matches.
    pub fn denied_by_default(&self) -> Endpoints {
        self.denied_by_default
    }

    /// Whether everybody may come.
    pub fn is_open(&self) -> bool {
        self.rules.is_empty() && self.denied_by_default.is_empty()
    }

    /// The first rule that matches decides.
    pub fn decide(&self, endpoint: Endpoint, address: IpAddr) -> Verdict<'_> {
        let address = address.to_canonical();
        let matching = self
            .rules
            .iter()
            .find(|rule| rule.endpoints.contains(endpoint) && rule.source.contains(address));
        let action = match matching {
            Some(rule) => rule.action,
            None if self.denied_by_default.contains(endpoint) => Action::Deny,
            None => Action::Allow,
        };
        Verdict {
            action,
            rule: matching,
        }
    }

    /// Refuses more rules than a hub may have.
    pub fn check(&self, limits: &Limits) -> Result<(), InvalidRules> {
        limits
            .check_len(Limit::NetworkRulesMax, self.rules.len())
            .map_err(InvalidRules::TooMany)
    }
}

/// The JSON form, on the wire and in the store.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Form {
    #[serde(default)]
    denied_by_default: Endpoints,
    #[serde(default)]
    rules: Vec<Rule>,
}

impl TryFrom<Form> for NetworkRules {
    type Error = InvalidRules;

    fn try_from(form: Form) -> Result<Self, InvalidRules> {
        Self::new(form.rules, form.denied_by_default)
    }
}

impl From<NetworkRules> for Form {
    fn from(rules: NetworkRules) -> Self {
        Self {
            denied_by_default: rules.denied_by_default,
            rules: rules.rules,
        }
    }
}
