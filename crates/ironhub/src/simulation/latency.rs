//! Latencies in a fixed amount of memory: each power of two of microseconds is divided into equal parts.

use std::time::Duration;

use serde::Serialize;

/// Parts of a power of two: what is read back is at most 1/32 too high.
const PARTS: u64 = 32;
const PARTS_BITS: u32 = PARTS.trailing_zeros();

/// Counts of latencies.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: Duration,
}

/// Percentiles, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Histogram {
    /// Counts a latency.
    pub(super) fn record(&mut self, latency: Duration) {
        let place = place(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        // At most 60 powers of 32 parts.
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
        self.total += 1;
        self.max = self.max.max(latency);
    }

    /// The percentiles; zeros when nothing was counted.
    pub(super) fn summary(&self) -> Summary {
        let millis = |latency: Duration| latency.as_secs_f64() * 1_000.0;
        let percentile = |percent| millis(self.percentile(percent));
        Summary {
            p50: percentile(50),
            p90: percentile(90),
            p99: percentile(99),
            max: millis(self.max),
        }
    }

    /// The latency that so many percent do not exceed.
    fn percentile(&self, percent: u64) -> Duration {
        let wanted = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_micros(highest(place)).min(self.max);
            }
        }
        self.max
    }
}

/// Where a value is counted. Values below `PARTS` have places of their own.
fn place(micros: u64) -> usize {
    let power = micros.checked_ilog2().unwrap_or(0).saturating_sub(PARTS_BITS);
    let place = u64::from(power) * PARTS + (micros >> power);
    usize::try_from(place).unwrap_or(usize::MAX)
}

/// The highest value that is counted at a place.
fn highest(place: usize) -> u64 {
    let place = u64::try_from(place).unwrap_or(u64::MAX);
    let power = (place / PARTS).saturating_sub(1);
    let part = place - power * PARTS;
    ((part + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_one_another_and_are_tight() {
        let mut before = 0;
        for micros in (0..200_000).chain([1 << 40, u64::from(u32::MAX)]) {
            let here = place(micros);
            let high = highest(here);
            assert!(
                high >= micros && high - micros <= micros / PARTS,
                "{micros}: {high}"
            );
            if micros < 200_000 {
                assert!(here == before || here == before + 1, "{micros}");
                before = here;
            }
        }
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        for millis in 1..=100 {
            histogram.record(Duration::from_millis(millis));
        }
        let summary = histogram.summary();
        for (found, exact) in [(summary.p50, 50.0), (summary.p90, 90.0), (summary.p99, 99.0)] {
            assert!(found >= exact && found <= exact * 1.04, "{found} for {exact}");
        }
        assert!((summary.max - 100.0).abs() < f64::EPSILON);
        let empty = Histogram::default().summary();
        assert!(empty.p99.abs() < f64::EPSILON);
    }
}
