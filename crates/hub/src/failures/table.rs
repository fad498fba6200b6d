//! Accounts of failures in a table of fixed size.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::{VOUCHED, WINDOW};

/// Accounts of which a key may take the place of one.
const WAYS: usize = 8;

/// How often one burst is told.
const TELL_PERIOD: Duration = Duration::from_secs(60);

/// The failures of one key. Times are those of the clock's `elapsed`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Account {
    key: u64,
    // When all of its failures will have drained.
    drained: Duration,
    // Until when a login vouches for it.
    vouched: Duration,
    // Until when nothing more of its burst is told.
    told: Duration,
    /// What was refused unread since the last time that the burst was told.
    pub(super) unheard: u32,
}

impl Account {
    /// Whether the failures fill the window, or so small a part of it.
    pub(super) fn is_over(&self, now: Duration, part: u32) -> bool {
        // The last failure that fits fills the window but for rounding.
        self.drained.saturating_sub(now) + Duration::from_millis(1) >= WINDOW / part.max(1)
    }

    /// Counts a failure that takes up so much of the window.
    pub(super) fn fail(&mut self, now: Duration, each: Duration) {
        let drained = self.drained.max(now) + each;
        self.drained = drained.min(now + WINDOW);
    }

    pub(super) fn is_vouched(&self, now: Duration) -> bool {
        now < self.vouched
    }

    pub(super) fn vouch(&mut self, now: Duration) {
        self.vouched = now + VOUCHED;
        self.drained = now;
    }

    /// Whether this one of a burst is told.
    pub(super) fn tell(&mut self, now: Duration) -> bool {
        if now < self.told {
            self.unheard = self.unheard.saturating_add(1);
            return false;
        }
        self.told = now + TELL_PERIOD;
        true
    }

    /// How much would be lost with it: one that vouches stays longest.
    fn worth(&self, now: Duration) -> (bool, Duration) {
        (self.is_vouched(now), self.drained.saturating_sub(now))
    }
}

/// The accounts. A key has its place in one set of them; where that is full, the account of least worth makes room.
#[derive(Debug)]
pub(super) struct Table {
    // Made when a key first falls into it: most servers see few failures, and the whole table is megabytes.
    sets: Box<[OnceLock<Box<Set>>]>,
}

type Set = Mutex<[Account; WAYS]>;

impl Table {
    pub(super) fn new(accounts: usize) -> Self {
        let sets = (accounts / WAYS).max(1);
        Self {
            sets: (0..sets).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Works on the account of a key, which is new when it is not there.
    pub(super) fn with<T>(&self, key: u64, now: Duration, work: impl FnOnce(&mut Account) -> T) -> T {
        let set = self.set(key).get_or_init(Box::default);
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        let place = set.iter().position(|account| account.key == key).or_else(|| {
            let least = set
                .iter()
                .enumerate()
                .min_by_key(|(_, account)| account.worth(now));
            least.map(|(place, _)| place)
        });
        match place.and_then(|place| set.get_mut(place)) {
            Some(account) if account.key == key => work(account),
            Some(account) => {
                *account = Account {
                    key,
                    ..Account::default()
                };
                work(account)
            }
            // A set is never empty.
            None => work(&mut Account::default()),
        }
    }

    /// Asks the account of a key, if there is one.
    pub(super) fn look(&self, key: u64, ask: impl FnOnce(&Account) -> bool) -> bool {
        let Some(set) = self.set(key).get() else {
            return false;
        };
        let set = set.lock().unwrap_or_else(PoisonError::into_inner);
        set.iter().find(|account| account.key == key).is_some_and(ask)
    }

    fn set(&self, key: u64) -> &OnceLock<Box<Set>> {
        let count = u64::try_from(self.sets.len()).unwrap_or(u64::MAX);
        let place = usize::try_from(key % count.max(1)).unwrap_or_default();
        #[allow(
            clippy::indexing_slicing,
            reason = "the place is below the number of sets, of which there is at least one"
        )]
        &self.sets[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Duration = Duration::from_secs(2);

    #[test]
    fn failures_fill_the_window_and_drain_from_it() {
        let (mut account, now) = (Account::default(), Duration::from_secs(1_000));
        for failed in 0..30 {
            assert!(!account.is_over(now, 1), "{failed}");
            assert_eq!(account.is_over(now, 10), failed >= 3, "{failed}");
            account.fail(now, EACH);
        }
        assert!(account.is_over(now, 1));
        account.fail(now, EACH);
        assert!(
            !account.is_over(now + EACH, 1),
            "a failure over the limit costs no more than one"
        );
        assert!(account.is_over(now + Duration::from_secs(53), 10));
        assert!(!account.is_over(now + Duration::from_secs(55), 10));
    }

    #[test]
    fn a_burst_is_told_once_a_minute_with_what_was_not_told() {
        let (mut account, now) = (Account::default(), Duration::from_secs(1_000));
        assert!(account.tell(now));
        for _ in 0..5 {
            assert!(!account.tell(now + Duration::from_secs(59)));
        }
        assert!(account.tell(now + TELL_PERIOD));
        assert_eq!(account.unheard, 5);
    }

    #[test]
    fn the_table_keeps_its_size_and_those_who_are_vouched_for() {
        let (table, now) = (Table::new(WAYS), Duration::from_secs(1_000));
        table.with(7, now, |account| account.vouch(now));
        for key in 100..1_000 {
            table.with(key, now, |account| account.fail(now, EACH));
        }
        assert!(table.look(7, |account| account.is_vouched(now)));
        assert!(!table.look(100, |_| true));
        // The one that failed more stays before those that failed once.
        table.with(5, now, |account| {
            account.fail(now, EACH);
            account.fail(now, EACH);
        });
        for key in 2_000..2_100 {
            table.with(key, now, |account| account.fail(now, EACH));
        }
        assert!(table.look(5, |_| true));
    }
}
