//! What of a hub an address may reach.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A way into a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Endpoint {
    /// Devices and modules: MQTT, AMQP, HTTPS, uploads of files.
    Device,
    /// Back ends: the registry, twins, methods, commands, and the hub's management.
    Service,
    /// Readers of the built-in endpoint.
    Reader,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Self; 3] = [Self::Device, Self::Service, Self::Reader];

    /// Its name in settings and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Service => "service",
            Self::Reader => "reader",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Device => 1,
            Self::Service => 2,
            Self::Reader => 4,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no endpoint: device, service or reader")]
pub struct UnknownEndpoint(String);

impl FromStr for Endpoint {
    type Err = UnknownEndpoint;

    fn from_str(text: &str) -> Result<Self, UnknownEndpoint> {
        Self::ALL
            .into_iter()
            .find(|endpoint| endpoint.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownEndpoint(text.chars().take(64).collect()))
    }
}

/// A set of endpoints. As JSON a list of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Endpoint>", into = "Vec<Endpoint>")]
pub struct Endpoints(u8);

impl Endpoints {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self(7);
    /// What the service calls the hub: all but the built-in endpoint.
    pub const HUB: Self = Self(3);

    /// The set of some.
    pub fn of(endpoints: &[Endpoint]) -> Self {
        endpoints.iter().copied().collect()
    }

    /// Whether one is in it.
    pub const fn contains(self, endpoint: Endpoint) -> bool {
        self.0 & endpoint.bit() != 0
    }

    /// Whether any of another set is in it.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether it is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in it.
    pub fn iter(self) -> impl Iterator<Item = Endpoint> {
        Endpoint::ALL
            .into_iter()
            .filter(move |endpoint| self.contains(*endpoint))
    }
}

impl FromIterator<Endpoint> for Endpoints {
    fn from_iter<T: IntoIterator<Item = Endpoint>>(endpoints: T) -> Self {
        Self(
            endpoints
                .into_iter()
                .fold(0, |bits, endpoint| bits | endpoint.bit()),
        )
    }
}

impl From<Vec<Endpoint>> for Endpoints {
    fn from(endpoints: Vec<Endpoint>) -> Self {
        endpoints.into_iter().collect()
    }
}

impl From<Endpoints> for Vec<Endpoint> {
    fn from(endpoints: Endpoints) -> Self {
        endpoints.iter().collect()
    }
}

/// `all`, `none`, or the names with commas.
impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ALL => f.write_str("all"),
            Self::NONE => f.write_str("none"),
            some => {
                let names: Vec<&str> = some.iter().map(Endpoint::name).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_lists_in_json_and_words_for_people() {
        for (endpoints, json, words) in [
            (Endpoints::ALL, r#"["device","service","reader"]"#, "all"),
            (Endpoints::HUB, r#"["device","service"]"#, "device,service"),
            (Endpoints::NONE, "[]", "none"),
        ] {
            assert_eq!(serde_json::to_string(&endpoints).unwrap(), json);
            assert_eq!(serde_json::from_str::<Endpoints>(json).unwrap(), endpoints);
            assert_eq!(endpoints.to_string(), words);
        }
        assert!(serde_json::from_str::<Endpoints>(r#"["portal"]"#).is_err());
        assert_eq!("Reader".parse(), Ok(Endpoint::Reader));
        assert!("all".parse::<Endpoint>().is_err());
    }
}
