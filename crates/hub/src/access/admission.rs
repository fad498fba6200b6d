//! Whether an address may use an endpoint: asked before any credential is looked at.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use crate::failures::Claim;
use crate::network::{Action, Endpoint, NetworkRules, Verdict};

use super::checks::parse_scope;
use super::gate::Gate;
use super::profile::{HubProfile, Rules};
use super::refusal::{Reason, Refusal, Subject};
use super::sas::Token;

/// Allowing rules that a refusal names.
const RULES_NAMED_MAX: usize = 4;

/// Proof that an address may use an endpoint of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    endpoint: Endpoint,
    address: IpAddr,
    rule: Option<Arc<str>>,
}

impl Admitted {
    /// Which endpoint.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// From where.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The rule that lets it in; none if none matched.
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }
}

impl Gate {
    /// Whom a token speaks for, before anything of it is checked.
    pub fn claim_of(&self, token: &str) -> Claim {
        let Ok(token) = Token::parse(token, &self.limits) else {
            return Claim::Nobody;
        };
        if let Some(policy) = token.policy() {
            return Claim::Policy(policy.to_owned());
        }
        let scope = parse_scope(&self.profile(), &token, &Subject::Peer);
        let identity = scope.ok().and_then(|scope| scope.identities().next());
        identity.map_or(Claim::Nobody, Claim::Identity)
    }

    /// Whether an address may use an endpoint.
    pub fn admit(&self, endpoint: Endpoint, address: IpAddr) -> Result<Admitted, Refusal> {
        let network = self.network();
        let verdict = network.decide(endpoint, address);
        match verdict.action {
            Action::Allow => Ok(Admitted {
                endpoint,
                address: address.to_canonical(),
                rule: verdict.rule.map(|rule| rule.name.shared()),
            }),
            Action::Deny => Err(denied(&network, endpoint, address, verdict)),
        }
    }

    /// Whether an address may use at least one of some endpoints, for a peer that has not said which one it wants. Without any, it
    /// may not.
    pub fn admit_any(&self, endpoints: &[Endpoint], address: IpAddr) -> Result<Admitted, Refusal> {
        let mut refusal = None;
        for endpoint in endpoints {
            match self.admit(*endpoint, address) {
                Ok(admitted) => return Ok(admitted),
                Err(refused) => _ = refusal.get_or_insert(refused),
            }
        }
        Err(refusal.unwrap_or_else(|| Refusal::new(Reason::NetworkDenied, Subject::Peer)))
    }

    /// The network rules in force.
    pub fn network(&self) -> Arc<NetworkRules> {
        let network = self.network.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&network)
    }

    /// Puts other network rules in force; send [`Mail::Recheck`](crate::bus::Mail::Recheck) to the hub afterwards.
    pub fn set_network(&self, network: NetworkRules) {
        *self.network.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(network);
    }

    /// Puts other switches in force; send [`Mail::Recheck`](crate::bus::Mail::Recheck) to the hub afterwards.
    pub fn set_rules(&self, rules: Rules) {
        let mut profile = self.profile.write().unwrap_or_else(PoisonError::into_inner);
        *profile = Arc::new(HubProfile {
            rules,
            ..HubProfile::clone(&profile)
        });
    }
}

fn denied(network: &NetworkRules, endpoint: Endpoint, address: IpAddr, verdict: Verdict<'_>) -> Refusal {
    let by = match verdict.rule {
        Some(rule) => format!("the rule {} denies {}", rule.name, rule.source),
        None => "no rule matches and the default denies".to_owned(),
    };
    let allowing = network
        .rules()
        .iter()
        .filter(|rule| rule.action == Action::Allow && rule.endpoints.contains(endpoint));
    let allowed: Vec<String> = allowing
        .take(RULES_NAMED_MAX)
        .map(|rule| format!("{} ({})", rule.source, rule.name))
        .collect();
    let expected = if allowed.is_empty() {
        by
    } else {
        format!("{by}; allowed are {}", allowed.join(", "))
    };
    Refusal::new(Reason::NetworkDenied, Subject::Peer)
        .finding(&format!("{} at the {endpoint} endpoint", address.to_canonical()))
        .expecting(&expected)
}
