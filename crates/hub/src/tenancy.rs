//! Which hub is meant: names of hubs and the host names under which they answer.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Name of a hub, the first part of every stored key. Lower case; 3 to 50 letters, digits and dashes (service-rest.md 16).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HubName(Arc<str>);

/// The text is not a hub name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a hub name: 3 to 50 letters, digits and inner dashes, not digits alone")]
pub struct InvalidHubName(String);

impl HubName {
    /// Checks and lower-cases a name.
    pub fn parse(text: &str) -> Result<Self, InvalidHubName> {
        let valid = (3..=50).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-')
            && !text.bytes().all(|byte| byte.is_ascii_digit());
        if valid {
            Ok(Self(text.to_ascii_lowercase().into()))
        } else {
            Err(InvalidHubName(text.to_owned()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host name as compared everywhere: lower case, without port and trailing dot (device-mqtt-https.md 1.1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostName(Arc<str>);

impl HostName {
    /// Normalises a host, with or without a port (`hub1.example:443`, `[::1]:443`).
    pub fn new(text: &str) -> Self {
        let host = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => match text.rsplit_once(':') {
                Some((host, port)) if !host.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => host,
                _ => text,
            },
        };
        Self(host.trim_end_matches('.').to_ascii_lowercase().into())
    }

    /// The normalised name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Equal names are equal texts, so a name is found by its text.
impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_names_are_checked_and_lower_cased() {
        assert_eq!(HubName::parse("Hub1").unwrap().as_str(), "hub1");
        for bad in ["", "ab", "123", "-ab", "ab-", "a_b", "a.b", &"x".repeat(51)] {
            assert!(HubName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn host_names_lose_case_port_and_trailing_dot() {
        for text in ["Hub1.Example:443", "hub1.example.", "HUB1.EXAMPLE"] {
            assert_eq!(HostName::new(text).as_str(), "hub1.example");
        }
        assert_eq!(HostName::new("[::1]:443").as_str(), "::1");
        assert_eq!(HostName::new("::1").as_str(), "::1");
    }
}
