//! Sequence numbers of connection events: 64 hexadecimal digits of which a later one is greater as text (service-rest.md 13.2).

use std::sync::atomic::{AtomicI64, Ordering};

use crate::clock::Timestamp;

/// Gives out numbers that only ever grow, also when the clock stands still or is set back, and across restarts as the clock goes.
#[derive(Debug, Default)]
pub(super) struct SequenceNumbers {
    last: AtomicI64,
}

impl SequenceNumbers {
    /// The number of a change at `now`.
    pub(super) fn next(&self, now: Timestamp) -> String {
        let ticks = now.as_ticks();
        let next = |last: i64| ticks.max(last.saturating_add(1));
        // The closure never declines, so both arms hold the value before.
        let last = match self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)))
        {
            Ok(last) | Err(last) => last,
        };
        format!("{:016X}{:016X}{:032X}", 0, next(last), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grow_as_text_whatever_the_clock_does() {
        let numbers = SequenceNumbers::default();
        let times = [1_000, 1_000, 500, 1_001, 2_000_000];
        let given: Vec<String> = times
            .iter()
            .map(|secs| numbers.next(Timestamp::from_secs(*secs)))
            .collect();
        assert!(given.is_sorted_by(|a, b| a < b), "{given:?}");
        assert!(given.iter().all(|number| number.len() == 64));
    }
}
