//! User names of SASL PLAIN (amqp.md 2.3).

use crate::identity::{DeviceId, IdentityId, ModuleId};

/// Whom a user name speaks of, and of which hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlainUser<'a> {
    /// `{device}@sas.{hub}` or `{device}/{module}@sas.{hub}`.
    Identity {
        /// The identity.
        identity: IdentityId,
        /// The hub's short name.
        hub: &'a str,
    },
    /// `{policy}@sas.root.{hub}`.
    Policy {
        /// The policy.
        policy: &'a str,
        /// The hub's short name.
        hub: &'a str,
    },
}

impl<'a> PlainUser<'a> {
    /// Reads the field `authcid`. Ids may hold `@`, so the last one counts.
    pub fn parse(authcid: &'a str) -> Option<Self> {
        let (user, realm) = authcid.rsplit_once('@')?;
        let realm = strip_word(realm, "sas.")?;
        // A hub could be called "root"; then "sas.root" has no further part.
        if let Some(hub) = strip_word(realm, "root.").filter(|hub| !hub.is_empty()) {
            return (!user.is_empty()).then_some(Self::Policy { policy: user, hub });
        }
        let identity = match user.split_once('/') {
            None => IdentityId::device(DeviceId::parse(user).ok()?),
            Some((device, module)) => {
                IdentityId::module(DeviceId::parse(device).ok()?, ModuleId::parse(module).ok()?)
            }
        };
        (!realm.is_empty()).then_some(Self::Identity { identity, hub: realm })
    }

    /// The hub's short name: the first label of its host.
    pub fn hub(&self) -> &'a str {
        match self {
            Self::Identity { hub, .. } | Self::Policy { hub, .. } => hub,
        }
    }
}

fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_are_told_apart() {
        let device = |text: &str| IdentityId::device(DeviceId::parse(text).unwrap());
        for (text, expected) in [
            (
                "d1@sas.hub1",
                Some(PlainUser::Identity {
                    identity: device("d1"),
                    hub: "hub1",
                }),
            ),
            (
                "a@b@SAS.hub1",
                Some(PlainUser::Identity {
                    identity: device("a@b"),
                    hub: "hub1",
                }),
            ),
            (
                "d/m@sas.hub1",
                Some(PlainUser::Identity {
                    identity: IdentityId::module(device("d").device, ModuleId::parse("m").unwrap()),
                    hub: "hub1",
                }),
            ),
            (
                "owner@sas.root.hub1",
                Some(PlainUser::Policy {
                    policy: "owner",
                    hub: "hub1",
                }),
            ),
            (
                "d@sas.root",
                Some(PlainUser::Identity {
                    identity: device("d"),
                    hub: "root",
                }),
            ),
            ("@sas.root.hub1", None),
            ("@sas.hub1", None),
            ("d@sas.", None),
            ("d@hub1", None),
            ("d", None),
            ("d/m/x@sas.hub1", None),
            ("", None),
        ] {
            assert_eq!(PlainUser::parse(text), expected, "{text}");
        }
    }
}
