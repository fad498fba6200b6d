//! From which addresses a hub may be reached: ordered rules, the first that matches decides.
//!
//! A rule allows or denies a range of addresses at some or all of three endpoints: that of devices, that of services, and the
//! built-in one that readers use. What no rule matches is denied where the rules say so, else allowed. The question is asked
//! before any credential is looked at ([`crate::access::Gate::admit`]), and again by open connections when the rules change.
//!
//! The resource form of Azure's hubs, [`AzureFilters`], knows less: it maps onto these rules without loss, and back as well as it
//! can.

mod azure;
mod endpoint;
mod rule;
mod rules;
mod source;

pub use azure::{
    Allowed, AzureAction, AzureDefault, AzureFilters, IpFilterRule, NetworkRuleSetIpRule, NetworkRuleSets,
};
pub use endpoint::{Endpoint, Endpoints, UnknownEndpoint};
pub use rule::{Action, InvalidRuleName, Rule, RuleName};
pub use rules::{InvalidRules, NetworkRules, Verdict};
pub use source::{InvalidSource, Source};
