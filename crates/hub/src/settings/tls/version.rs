//! Versions of TLS.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version of TLS that is served. Older ones are not, whatever a hub's settings say (device-mqtt-https.md 1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

/// The text is no version of TLS that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lowest version of TLS is \"1.2\" or \"1.3\"")]
pub struct UnknownTlsVersion;

impl TlsVersion {
    /// Every version, the lowest first.
    pub const ALL: [Self; 2] = [Self::V1_2, Self::V1_3];

    /// Its number.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }

    /// The number in the hub's resource, where clients may also write versions that are not served any more: they mean the lowest
    /// one that is.
    pub fn from_azure(text: &str) -> Result<Self, UnknownTlsVersion> {
        match text {
            "1.0" | "1.1" => Ok(Self::V1_2),
            text => text.parse(),
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TlsVersion {
    type Err = UnknownTlsVersion;

    fn from_str(text: &str) -> Result<Self, UnknownTlsVersion> {
        match text {
            "1.2" => Ok(Self::V1_2),
            "1.3" => Ok(Self::V1_3),
            _ => Err(UnknownTlsVersion),
        }
    }
}
