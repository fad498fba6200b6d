//! A range of addresses: IPv4 or IPv6 in CIDR notation, or any address at all.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bits of an IPv6 address in front of an IPv4 address that it holds.
const MAPPED_BITS: u8 = 96;

/// Where a connection may come from. As text `any`, an address, or an address with the length of its prefix.
///
/// An IPv4 address that comes, or is written, as an IPv6 one (`::ffff:10.0.0.1`) is the IPv4 address. Bits behind the prefix do not
/// count and are not kept.
///
/// ```
/// use hub::network::Source;
/// let source: Source = "10.1.2.3/8".parse()?;
/// assert_eq!(source.to_string(), "10.0.0.0/8");
/// assert!(source.contains("10.200.0.1".parse()?) && source.contains("::ffff:10.0.0.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// Every address of either family.
    Any,
    /// The addresses that begin like this one.
    Range {
        /// The first of them.
        first: IpAddr,
        /// How many bits are the same: up to 32 of IPv4, up to 128 of IPv6.
        prefix: u8,
    },
}

/// The text is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no range of addresses: write 'any', or an address as 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32"
)]
pub struct InvalidSource(String);

impl Source {
    /// Whether an address is in it.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Self::Any, _) => true,
            (Self::Range { first, prefix }, address) => masked(address, prefix) == Some(first),
        }
    }

    fn range(address: IpAddr, prefix: u8) -> Option<Self> {
        // A range of addresses that all hold IPv4 ones is a range of those.
        let (address, prefix) = match (address.to_canonical(), address) {
            (IpAddr::V4(inner), IpAddr::V6(_)) if prefix >= MAPPED_BITS => {
                (IpAddr::V4(inner), prefix - MAPPED_BITS)
            }
            _ => (address, prefix),
        };
        masked(address, prefix).map(|first| Self::Range { first, prefix })
    }
}

/// The address with the bits behind the prefix cleared; none for a prefix that is too long.
fn masked(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(address) => {
            let kept = u32::MAX.checked_shl(32_u32.checked_sub(prefix)?).unwrap_or(0);
            Some(IpAddr::V4((u32::from(address) & kept).into()))
        }
        IpAddr::V6(address) => {
            let kept = u128::MAX.checked_shl(128_u32.checked_sub(prefix)?).unwrap_or(0);
            Some(IpAddr::V6(Ipv6Addr::from(u128::from(address) & kept)))
        }
    }
}

impl FromStr for Source {
    type Err = InvalidSource;

    fn from_str(text: &str) -> Result<Self, InvalidSource> {
        let invalid = || InvalidSource(text.chars().take(64).collect());
        if text.eq_ignore_ascii_case("any") {
            return Ok(Self::Any);
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let prefix = match prefix {
            None if address.is_ipv4() => 32,
            None => 128,
            // A sign is no digit.
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                prefix.parse().map_err(|_| invalid())?
            }
            Some(_) => return Err(invalid()),
        };
        Self::range(address, prefix).ok_or_else(invalid)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Range { first, prefix } => write!(f, "{first}/{prefix}"),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = InvalidSource;

    fn try_from(text: String) -> Result<Self, InvalidSource> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_written_in_one_form() {
        for (text, expected) in [
            ("any", "any"),
            ("ANY", "any"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("192.0.2.7/32", "192.0.2.7/32"),
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("192.0.2.7/31", "192.0.2.6/31"),
            ("255.255.255.255/1", "128.0.0.0/1"),
            ("192.0.2.7/0", "0.0.0.0/0"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("2001:DB8:0:0::/33", "2001:db8::/33"),
            ("::/0", "::/0"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("::ffff:10.0.0.1/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1/96", "0.0.0.0/0"),
        ] {
            let source: Source = text.parse().unwrap();
            assert_eq!(source.to_string(), expected, "{text}");
            assert_eq!(source.to_string().parse(), Ok(source), "{text}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for bad in [
            "",
            "all",
            "*",
            "10",
            "10.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "10.0.0.0 /8",
            "10.0.0.0/ 8",
            "010.0.0.1",
            "::/129",
            "::1/256",
            "[::1]",
            "fe80::1%eth0",
            "10.0.0.0-10.0.0.9",
            "example.net",
            "10.0.0.0/255.0.0.0",
        ] {
            assert!(bad.parse::<Source>().is_err(), "{bad}");
        }
    }

    #[test]
    fn families_are_apart_but_for_any() {
        let contains = |source: &str, address: &str| {
            source
                .parse::<Source>()
                .unwrap()
                .contains(address.parse().unwrap())
        };
        for (source, address, expected) in [
            ("any", "192.0.2.1", true),
            ("any", "2001:db8::1", true),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("0.0.0.0/0", "::ffff:192.0.2.1", true),
            ("::/0", "2001:db8::1", true),
            ("::/0", "192.0.2.1", false),
            ("::/0", "::ffff:192.0.2.1", false),
            ("::1", "::1", true),
            ("::1", "127.0.0.1", false),
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.128/25", "10.0.0.127", false),
            ("2001:db8::/33", "2001:db8:8000::", false),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
        ] {
            assert_eq!(contains(source, address), expected, "{source} {address}");
        }
    }
}
