//! Everything has a limit, with a name, a unit, a default and a count of the times it was hit.
//!
//! The limits are data ([`Limit::definition`]): configuration keys, documentation and metrics are generated from the table, and the hub
//! reads the values through [`Limits`]. Values can be changed while the server runs; all of them or none.
//! Refused: a struct with a field per limit, which needs the same list again for every output.

mod table;

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use table::Limit;

/// The value that switches a limit off.
pub const UNLIMITED: u64 = u64::MAX;

/// How closely quotas follow Azure's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fidelity {
    /// Azure's quotas are lifted where they hurt.
    #[default]
    Native,
    /// Azure's quotas, number for number.
    Azure,
}

impl FromStr for Fidelity {
    type Err = UnknownFidelity;

    fn from_str(text: &str) -> Result<Self, UnknownFidelity> {
        match text {
            "native" => Ok(Self::Native),
            "azure" => Ok(Self::Azure),
            _ => Err(UnknownFidelity),
        }
    }
}

impl fmt::Display for Fidelity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Azure => "azure",
        })
    }
}

/// The text names no profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the fidelity is \"native\" or \"azure\"")]
pub struct UnknownFidelity;

/// What a limit is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Things.
    Count,
}

impl Unit {
    /// The unit's name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Seconds => "seconds",
            Self::Count => "count",
        }
    }
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    /// Which limit.
    pub limit: Limit,
    /// Configuration key and metric label.
    pub name: &'static str,
    /// What it is measured in.
    pub unit: Unit,
    /// Default of [`Fidelity::Native`].
    pub native: u64,
    /// Default of [`Fidelity::Azure`], where it differs.
    pub azure: Option<u64>,
    /// What it bounds, in one sentence.
    pub meaning: &'static str,
}

impl Definition {
    /// The default under a profile.
    pub const fn default(&self, fidelity: Fidelity) -> u64 {
        match (fidelity, self.azure) {
            (Fidelity::Azure, Some(azure)) => azure,
            _ => self.native,
        }
    }
}

/// The values in force and the counts of hits. One instance for the whole server, shared.
#[derive(Debug)]
pub struct Limits {
    slots: Box<[Slot]>,
}

#[derive(Debug)]
struct Slot {
    value: AtomicU64,
    hits: AtomicU64,
}

impl Limits {
    /// The defaults of a profile.
    pub fn new(fidelity: Fidelity) -> Self {
        let slot = |limit: &Limit| Slot {
            value: AtomicU64::new(limit.definition().default(fidelity)),
            hits: AtomicU64::new(0),
        };
        Self {
            slots: Limit::ALL.iter().map(slot).collect(),
        }
    }

    /// Puts a profile and the operator's own values in force. The names have been checked by [`Limit::from_name`] before, so
    /// this cannot fail half way.
    pub fn configure(&self, fidelity: Fidelity, own: &[(Limit, u64)]) {
        for limit in Limit::ALL {
            let chosen = own.iter().rev().find(|(own, _)| own == limit);
            let value = chosen.map_or_else(|| limit.definition().default(fidelity), |(_, value)| *value);
            self.slot(*limit).value.store(value, Ordering::Relaxed);
        }
    }

    /// Changes one value.
    pub fn set(&self, limit: Limit, value: u64) {
        self.slot(limit).value.store(value, Ordering::Relaxed);
    }

    /// Counts a hit: somebody was refused, closed or slowed down because of this limit.
    pub fn hit(&self, limit: Limit) {
        self.slot(limit).hits.fetch_add(1, Ordering::Relaxed);
    }

    /// Refuses an amount over the limit, and counts the hit.
    ///
    /// ```
    /// use hub::limits::{Fidelity, Limit, Limits};
    /// let limits = Limits::new(Fidelity::Azure);
    /// assert!(limits.check(Limit::MessageBytesMax, 262_144).is_ok());
    /// assert!(limits.check(Limit::MessageBytesMax, 262_145).is_err());
    /// assert_eq!(limits.hits(Limit::MessageBytesMax), 1);
    /// ```
    pub fn check(&self, limit: Limit, found: u64) -> Result<(), Exceeded> {
        let max = self.get(limit);
        if found <= max {
            return Ok(());
        }
        self.hit(limit);
        Err(Exceeded { limit, max, found })
    }

    /// [`check`](Self::check) for a length in memory.
    pub fn check_len(&self, limit: Limit, found: usize) -> Result<(), Exceeded> {
        self.check(limit, u64::try_from(found).unwrap_or(u64::MAX))
    }

    /// The value in force.
    pub fn get(&self, limit: Limit) -> u64 {
        self.slot(limit).value.load(Ordering::Relaxed)
    }

    /// The value in force as a length in memory.
    pub fn size(&self, limit: Limit) -> usize {
        usize::try_from(self.get(limit)).unwrap_or(usize::MAX)
    }

    /// The value in force of a limit in seconds.
    pub fn time(&self, limit: Limit) -> Duration {
        Duration::from_secs(self.get(limit))
    }

    /// How often the limit was hit since the start.
    pub fn hits(&self, limit: Limit) -> u64 {
        self.slot(limit).hits.load(Ordering::Relaxed)
    }

    fn slot(&self, limit: Limit) -> &Slot {
        #[allow(
            clippy::indexing_slicing,
            reason = "there is a slot for every variant, in the order of the variants"
        )]
        &self.slots[limit as usize]
    }
}

/// An amount is over a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{found} is over the limit {} of {max}", .limit.name())]
pub struct Exceeded {
    /// Which limit.
    pub limit: Limit,
    /// The value in force.
    pub max: u64,
    /// The amount.
    pub found: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn azure_values_are_in_force_only_under_its_profile() {
        let limits = Limits::new(Fidelity::Native);
        assert_eq!(limits.get(Limit::DevicesPerHubMax), UNLIMITED);
        limits.configure(Fidelity::Azure, &[(Limit::BulkDevicesMax, 7)]);
        assert_eq!(limits.get(Limit::DevicesPerHubMax), 1_000_000);
        assert_eq!(limits.get(Limit::BulkDevicesMax), 7);
        limits.configure(Fidelity::Native, &[]);
        assert_eq!(
            limits.get(Limit::BulkDevicesMax),
            100,
            "a value taken away is gone"
        );
    }

    #[test]
    fn hits_are_counted_where_the_amount_is_refused() {
        let limits = Limits::new(Fidelity::Native);
        limits.set(Limit::TokenBytesMax, 3);
        assert!(limits.check_len(Limit::TokenBytesMax, 3).is_ok());
        let exceeded = limits.check_len(Limit::TokenBytesMax, 4).unwrap_err();
        assert_eq!(exceeded.to_string(), "4 is over the limit token_bytes_max of 3");
        assert_eq!(limits.hits(Limit::TokenBytesMax), 1);
    }

    #[test]
    fn profiles_read_back() {
        for fidelity in [Fidelity::Native, Fidelity::Azure] {
            assert_eq!(fidelity.to_string().parse(), Ok(fidelity));
        }
        assert_eq!("Azure".parse::<Fidelity>(), Err(UnknownFidelity));
    }
}
