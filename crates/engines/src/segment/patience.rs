//! How long a commit waits for company: what its write leaves of the time that an append may take, unless nobody comes.

use std::time::Duration;

/// One commit in about so many takes longer than expected. Rarer ones are what a machine does now and then; no delay makes up for them.
const LATE_PARTS: u32 = 20;
/// What one commit teaches, as a part of what is expected.
const STEP_PARTS: u32 = 8;
/// Less than this is not told apart.
const GRAIN: Duration = Duration::from_micros(64);
/// After so many commits of one append each, the next ones do not wait.
const ALONE_MAX: u32 = 4;
/// After so many that did not wait, one does, in case that company comes again.
const HASTY_COMMITS: u32 = 16;

/// What the writer has learned about its disk and its callers.
#[derive(Debug)]
pub(super) struct Patience {
    within: Duration,
    /// From when a commit is due to its answers; one commit in twenty takes longer.
    expected: Duration,
    /// Commits of one append since the last one of several.
    alone: u32,
}

impl Patience {
    /// For appends that are to be durable within this time.
    pub(super) fn new(within: Duration) -> Self {
        Self {
            within,
            expected: within / 4,
            alone: 0,
        }
    }

    /// How long the first append of the next commit waits for others.
    pub(super) fn delay(&self) -> Duration {
        if (ALONE_MAX..ALONE_MAX + HASTY_COMMITS).contains(&self.alone) {
            // One caller that waits for its answer before it appends again is never company for itself.
            return Duration::ZERO;
        }
        self.within.saturating_sub(self.expected)
    }

    /// Takes in a commit: how many appends it had, and how long it took from when it was due to its answers.
    pub(super) fn learn(&mut self, appends: usize, took: Duration) {
        self.alone = if appends > 1 {
            0
        } else if self.alone < ALONE_MAX + HASTY_COMMITS {
            self.alone + 1
        } else {
            ALONE_MAX
        };
        // A quantile, followed step by step: up by much when exceeded, down by little otherwise, so that both are in balance when one
        // commit in twenty exceeds it.
        let step = self.expected.max(GRAIN) / STEP_PARTS;
        self.expected = if took > self.expected {
            (self.expected + step).min(self.within)
        } else {
            self.expected.saturating_sub(step / LATE_PARTS)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_millis(3);
    const QUICK: Duration = Duration::from_micros(300);

    fn after(commits: usize, appends: usize, took: Duration) -> Patience {
        let mut patience = Patience::new(WITHIN);
        for _ in 0..commits {
            patience.learn(appends, took);
        }
        patience
    }

    #[test]
    fn one_commit_in_twenty_takes_longer_than_expected() {
        let mut patience = Patience::new(WITHIN);
        // 10 us to 1 ms, each as often, in an order that repeats only when all have come.
        for n in 0..20_000_u64 {
            patience.learn(10, Duration::from_micros(10 * (1 + n * 37 % 100)));
        }
        let range = Duration::from_micros(850)..Duration::from_micros(1_100);
        assert!(range.contains(&patience.expected), "{patience:?}");
        assert_eq!(patience.delay() + patience.expected, WITHIN);
    }

    #[test]
    fn a_slow_disk_is_not_waited_for_twice() {
        let mut patience = after(100, 10, Duration::from_millis(20));
        assert_eq!(patience.delay(), Duration::ZERO);
        // It is quick again.
        for _ in 0..2_000 {
            patience.learn(10, QUICK);
        }
        assert!(patience.delay() + 2 * QUICK > WITHIN, "{patience:?}");
    }

    #[test]
    fn nothing_waits_where_nobody_comes() {
        let mut patience = after(100, 1, QUICK);
        let waits: Vec<bool> = (0..34)
            .map(|_| {
                patience.learn(1, QUICK);
                !patience.delay().is_zero()
            })
            .collect();
        assert_eq!(waits.iter().filter(|waits| **waits).count(), 2, "{waits:?}");
        patience.learn(2, QUICK);
        assert!(!patience.delay().is_zero(), "company has come");
    }

    #[test]
    fn no_time_means_no_delay() {
        let mut patience = Patience::new(Duration::ZERO);
        assert_eq!(patience.delay(), Duration::ZERO);
        patience.learn(10, QUICK);
        assert_eq!(patience.delay(), Duration::ZERO);
    }
}
