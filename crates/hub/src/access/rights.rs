//! The rights of a shared access policy (service-rest.md 2.1).

use std::fmt;
use std::str::FromStr;

/// A set of rights. `RegistryWrite` includes `RegistryRead`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rights(u8);

const NAMES: [(Rights, &str); 4] = [
    (Rights::REGISTRY_WRITE, "RegistryWrite"),
    (Rights::REGISTRY_READ, "RegistryRead"),
    (Rights::SERVICE_CONNECT, "ServiceConnect"),
    (Rights::DEVICE_CONNECT, "DeviceConnect"),
];

impl Rights {
    /// No right.
    pub const NONE: Self = Self(0);
    /// Read identities.
    pub const REGISTRY_READ: Self = Self(1);
    /// Read and write identities.
    pub const REGISTRY_WRITE: Self = Self(1 | 2);
    /// Use the service's endpoints: twins, methods, commands, telemetry.
    pub const SERVICE_CONNECT: Self = Self(4);
    /// Act as any device.
    pub const DEVICE_CONNECT: Self = Self(8);
    /// Everything.
    pub const ALL: Self = Self(15);

    /// Both sets together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every right of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits, as stored.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// From stored bits; unknown bits and a write right without its read right are refused.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::ALL.0 != 0 || bits & 3 == 2 {
            return None;
        }
        Some(Self(bits))
    }
}

/// As on the wire: `RegistryWrite, ServiceConnect, DeviceConnect`.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = Self::NONE;
        for (right, name) in NAMES {
            if !self.contains(right) || shown.contains(right) {
                continue;
            }
            if shown != Self::NONE {
                f.write_str(", ")?;
            }
            f.write_str(name)?;
            shown = shown.with(right);
        }
        if shown == Self::NONE {
            f.write_str("no right")?;
        }
        Ok(())
    }
}

/// The text is no list of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("rights are a list of RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect, with commas")]
pub struct InvalidRights;

impl FromStr for Rights {
    type Err = InvalidRights;

    fn from_str(text: &str) -> Result<Self, InvalidRights> {
        let mut rights = Self::NONE;
        for part in text.split(',') {
            let (right, _) = NAMES
                .into_iter()
                .find(|(_, name)| name.eq_ignore_ascii_case(part.trim()))
                .ok_or(InvalidRights)?;
            rights = rights.with(right);
        }
        Ok(rights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_names_read_back() {
        for bits in 0..=u8::MAX {
            let Some(rights) = Rights::from_bits(bits) else {
                continue;
            };
            if rights != Rights::NONE {
                assert_eq!(rights.to_string().parse(), Ok(rights));
            }
        }
        assert_eq!(
            Rights::ALL.to_string(),
            "RegistryWrite, ServiceConnect, DeviceConnect"
        );
        assert_eq!("".parse::<Rights>(), Err(InvalidRights));
        assert_eq!("RegistryReadWrite".parse::<Rights>(), Err(InvalidRights));
    }

    #[test]
    fn write_includes_read_and_nothing_else() {
        assert!(Rights::REGISTRY_WRITE.contains(Rights::REGISTRY_READ));
        assert!(!Rights::REGISTRY_READ.contains(Rights::REGISTRY_WRITE));
        assert!(!Rights::REGISTRY_WRITE.contains(Rights::SERVICE_CONNECT));
        assert_eq!(Rights::from_bits(2), None);
        assert_eq!(Rights::from_bits(16), None);
    }
}
