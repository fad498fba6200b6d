//! Generation ids: they tell an identity from a later one of the same name (service-rest.md 4.1).

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::clock::Timestamp;

/// When an identity was created, in .NET ticks; unique per creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenerationId(i64);

impl GenerationId {
    /// From ticks, as stored.
    pub const fn from_ticks(ticks: i64) -> Self {
        Self(ticks)
    }

    /// When the identity was created, to the microsecond; ids of creations within one tick lie a little later.
    pub const fn created(self) -> Timestamp {
        Timestamp::from_ticks(self.0)
    }

    /// The ticks.
    pub const fn as_ticks(self) -> i64 {
        self.0
    }
}

/// Decimal digits, as on the wire.
impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Gives out generation ids that only ever grow, also within one tick and when the clock is set back.
#[derive(Debug, Default)]
pub(crate) struct Generations {
    last: AtomicI64,
}

impl Generations {
    /// The id of a creation at `now`.
    pub(crate) fn next(&self, now: Timestamp) -> GenerationId {
        let ticks = now.as_ticks();
        let next = |last: i64| ticks.max(last.saturating_add(1));
        // The closure never declines, so both arms hold the value before.
        let last = match self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)))
        {
            Ok(last) | Err(last) => last,
        };
        GenerationId(next(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_within_a_tick_and_when_the_clock_goes_back() {
        let generations = Generations::default();
        let now = Timestamp::from_secs(1_700_000_000);
        let first = generations.next(now);
        let second = generations.next(now);
        let third = generations.next(Timestamp::from_secs(0));
        assert_eq!(first.as_ticks(), now.as_ticks());
        assert!(first < second && second < third);
        let later = Timestamp::from_secs(1_700_000_001);
        assert_eq!(generations.next(later).as_ticks(), later.as_ticks());
    }
}
